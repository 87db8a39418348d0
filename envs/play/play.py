"""Play a game: in a window by a person, or into a video by a script.

While the window shows one chunk, a worker thread already makes the next.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.datasets.store.video import VideoWriter
from worldsim.envs.play.controls import HELP, Controls
from worldsim.envs.play.games import Frames, Game, StepTimes
from worldsim.envs.play.scripted_player import ScriptedPlayer
from worldsim.plotting.pictures import enlarge
from worldsim.plotting.window import Window
from worldsim.progress import display

# Tells the next actions (r, A), given the last frame.
Choose = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
# Seconds between two looks at keyboard, mouse and clock.
TICK = 0.004
WHITE, GREY = (255, 255, 255), (190, 190, 190)


def play_headless(
    game: Game, out: Path, *, seconds: float, seed: int, scale: int = 4, choose: Choose | None = None
) -> StepTimes:
    """A scripted player, or whoever ``choose`` asks, plays; writes an mp4 that begins with the start's real frames.

    Args:
        game: what is played.
        out: the video.
        seconds: its length.
        seed: of the start and the scripted player.
        scale: pixels per pixel of the game.
        choose: told the last frame shown, gives the next actions (r, A).
    """
    player = ScriptedPlayer(game.spec, game.fps, seed)
    ask = choose or (lambda frame: player.chunk(game.chunk))
    times = StepTimes(game.chunk)
    chunks = max(1, round(seconds * game.fps / game.chunk))
    with VideoWriter(out, game.fps) as video, display() as show:
        shown = game.reset(seed)
        for frame in shown:
            video.append(enlarge(frame, scale))
        for number in range(chunks):
            shown = times.measure(game, ask(shown[-1]))
            for frame in shown:
                video.append(enlarge(frame, scale))
            show("playing", number + 1, chunks, "chunks")
    return times


class PlayWindow:
    """The window, and the loop that keeps it at the game's pace.

    Args:
        game: what is played.
        seed: of the first episode; each restart takes the next one.
        sensitivity: degrees per pixel of mouse movement.
    """

    def __init__(self, game: Game, *, seed: int, sensitivity: float):
        self.game, self.seed = game, seed
        self.window = Window(game.width, game.height, f"{game.title} - H: help")
        self.controls = Controls(game.spec, sensitivity)
        self.times = StepTimes(game.chunk, keep=200)
        self.shown: deque[float] = deque(maxlen=int(4 * game.fps))
        self.captured = self.help = self.restart = self.quit = False
        self.full_screen = False
        # The worker's, read for display only.
        self.status = ""

    def run(self) -> StepTimes:
        """Play until the window is closed."""
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="world") as worker:
                self._loop(worker)
        finally:
            self._capture(False)
            self.window.close()
        return self.times

    def _loop(self, worker: ThreadPoolExecutor) -> None:
        waiting = self._begin(worker)
        coming: Future[Frames] | None = None
        due = time.perf_counter()
        frame = waiting[0]
        self.help = True
        while not self.quit:
            self._events()
            if self.restart:
                if coming is not None:
                    coming.result()
                self.restart, self.seed, coming = False, self.seed + 1, None
                waiting = self._begin(worker)
            now = time.perf_counter()
            if coming is None and now >= due + len(waiting) / self.game.fps - self._lead():
                coming = worker.submit(self.times.measure, self.game, self.controls.take(self.game.chunk))
            if not waiting and coming is not None and coming.done():
                waiting.extend(coming.result())
                coming, self.status = None, self.game.status()
            if waiting and now >= due:
                frame = waiting.popleft()
                self.shown.append(now)
                # After a stall, go on from now instead of rushing after it.
                due = max(due + 1 / self.game.fps, now - 1 / self.game.fps)
                self._draw(frame)
            time.sleep(TICK)
        if coming is not None:
            coming.result()

    def _begin(self, worker: ThreadPoolExecutor) -> deque[Any]:
        """Start an episode; the real game may take a while to load its land."""
        beginning = worker.submit(self.game.reset, self.seed)
        self.window.text(["loading ..."], size=24, colour=WHITE, middle=True)
        pygame.display.flip()
        while not beginning.done() and not self.quit:
            self._events()
            time.sleep(TICK)
        self.restart = False
        self.shown.clear()
        return deque(beginning.result())

    def _lead(self) -> float:
        """Seconds before it is shown that a chunk must be begun: as late as is safe, so that input counts soon."""
        return max(0.02, 1.5 * self.times.percentile(90) / 1000 + 0.01) if len(self.times.seconds) > 5 else 1.0

    def _events(self) -> None:
        for event in self.window.events():
            if event.type == pygame.QUIT:
                self.quit = True
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE:
                self.quit = not self.captured
                self._capture(False)
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._capture(False)
            elif event.type == pygame.MOUSEBUTTONDOWN and not self.captured:
                self._capture(True)
                self.help = False
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_r:
                self.restart = True
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_h:
                self.help = not self.help
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_f:
                self.full_screen = not self.full_screen
                self.window.resize(self.full_screen)
            else:
                self.controls.feed(event, self.captured)

    def _capture(self, captured: bool) -> None:
        self.captured = captured
        self.controls.release()
        if pygame.display.get_init():
            pygame.event.set_grab(captured)
            pygame.mouse.set_visible(not captured)

    def _draw(self, frame: Any) -> None:
        self.window.draw(frame)
        rate = (len(self.shown) - 1) / (self.shown[-1] - self.shown[0]) if len(self.shown) > 1 else 0.0
        latency = f"step p50 {self.times.percentile(50):.0f} ms, p95 {self.times.percentile(95):.0f} ms"
        self.window.text([f"{rate:.0f} frames/s   {latency}   {self.status}"], size=20, colour=WHITE)
        if self.help:
            self.window.text(getattr(self.game, "help", HELP), size=24, colour=WHITE, middle=True)
        elif not self.captured:
            self.window.text(["Click to look around with the mouse. H: help"], size=22, colour=GREY, line=1)
        pygame.display.flip()
