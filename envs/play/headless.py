"""Play without a window: a scripted player, or whoever was named, plays into a video."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.video import VideoWriter
from worldsim.envs.play.games import Game
from worldsim.envs.play.scripted_player import ScriptedPlayer
from worldsim.envs.play.worker import StepTimes
from worldsim.plotting.pictures import enlarge
from worldsim.progress import display

# Tells the next actions (r, A) of the game, given the last frame.
Choose = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Film = Callable[[Game, NDArray[np.uint8]], Iterable[NDArray[np.uint8]]]


def play_headless(
    game: Game,
    out: Path,
    *,
    seconds: float,
    seed: int,
    scale: int = 4,
    choose: Choose | None = None,
    film: Film = lambda game, frames: frames,
) -> StepTimes:
    """A scripted player, or whoever ``choose`` asks, plays; writes an mp4 that begins with the start's real frames.

    Ctrl-C ends it early: the video then holds what was played so far, and ``KeyboardInterrupt`` is raised.

    Args:
        game: what is played.
        out: the video.
        seconds: its length.
        seed: of the start and the scripted player.
        scale: pixels per pixel of the game.
        choose: told the last frame shown, gives the next actions (r, A).
        film: told the game and its frames (r, H, W, 3), gives the pictures that the video has of them.
    """
    hands = game.hands
    player = ScriptedPlayer(hands.spec, game.fps, seed)
    ask = choose or (lambda frame: np.stack([hands(one) for one in player.chunk(game.chunk)]))
    times = StepTimes(game.chunk)
    chunks = max(1, round(seconds * game.fps / game.chunk))
    with _interruptible() as interrupted, VideoWriter(out, game.fps) as video, display() as show:
        shown = game.reset(seed)
        for frame in film(game, shown):
            video.append(enlarge(frame, scale))
        for number in range(chunks):
            if interrupted():
                break
            last = shown[-1]
            shown = times.measure(lambda last=last: game.advance(ask(last)))
            for frame in film(game, shown):
                video.append(enlarge(frame, scale))
            show("playing", number + 1, chunks, "chunks")
    if interrupted():
        raise KeyboardInterrupt
    return times


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Whether somebody wants it to end: a signal within a frame would tear the video. A second one ends all."""
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pressed)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
