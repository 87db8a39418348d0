"""Videos and GIFs whose files take long to write: play goes on meanwhile, and closing waits for them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from PIL import Image

from tests.envs.play.dummy_screen import dummy
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.test_window import always, hold, opened, outlets, phase, press, run, shown
from worldsim.envs.play import recordings
from worldsim.envs.play.opening import Opening, WorldTile
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.recordings import Films, Gif, Recording
from worldsim.envs.play.session import Phase

# A fixture for every test here.
__all__ = ["dummy"]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No GIF is written before it is set."""
    event, write = threading.Event(), Gif.close

    def slowly(gif: Gif) -> None:
        event.wait(30)
        write(gif)

    monkeypatch.setattr(Gif, "close", slowly)
    yield event
    event.set()


def frame(value: int) -> np.ndarray:
    return np.full((40, 72, 3), value, np.uint8)


def film(films: Films, folder: Path, suffix: str = ".gif", count: int = 9) -> None:
    films.begin(folder, suffix, 20.0, 1)
    for value in range(count):
        films.show(frame(20 * value))
    films.end()


def test_play_goes_on_while_a_film_is_written_and_closing_waits_for_it(tmp_path: Path, gate: threading.Event):
    window, seen = opened(FakeGame(), outlets=outlets(tmp_path)), {}

    def writes(w: PlayWindow) -> bool:
        seen["at"], seen["said"], seen["status"] = w.session.shown, w.message, w.films.status
        return "writing" in w.message

    def played_on(w: PlayWindow) -> bool:
        seen["there"] = (tmp_path / "recording-1.gif").exists()
        return w.session.shown >= seen["at"] + 10

    run(
        window,
        [
            (phase(Phase.READY), press(pygame.K_F8)),
            (always, hold(pygame.K_w)),
            (shown(6), press(pygame.K_F8)),
            (writes, []),
            (played_on, []),
            (lambda w: not threading.Timer(0.5, gate.set).start(), []),
        ],
    )
    assert seen["said"] == "writing recording-1.gif ..." and seen["status"] == "writing recording-1.gif"
    assert not seen["there"] and window.message == f"kept {tmp_path / 'recording-1.gif'}"
    assert tmp_path / "recording-1.gif" in window.kept and window.films.status == ""
    with Image.open(tmp_path / "recording-1.gif") as gif:
        assert getattr(gif, "n_frames", 1) >= 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_kept_is_told_once_it_is_written(tmp_path: Path, gate: threading.Event):
    said: list[str] = []
    films = Films(said.append, [])
    film(films, tmp_path)
    films.look()
    assert said[-1] == "writing recording-1.gif ..." and films.kept == []
    # A second one does not take the name of the first, of which no file is there yet.
    film(films, tmp_path)
    gate.set()
    end = time.monotonic() + 20
    while len(films.kept) < 2 and time.monotonic() < end:
        films.look()
        time.sleep(0.001)
    names = sorted(path.name for path in films.kept)
    assert names == ["recording-1.gif", "recording-2.gif"] and films.failures == []
    assert said[-2:] == [f"kept {path}" for path in films.kept]


def test_another_game_is_opened_while_a_film_is_written(tmp_path: Path, gate: threading.Event):
    other = FakeGame()
    tile = WorldTile(name="b", picture=frame(9), opening=lambda: Opening(open_game=lambda tell: other, seed=5))
    window = opened(FakeGame(), outlets=outlets(tmp_path), worlds=lambda: [tile])

    def chosen(w: PlayWindow) -> bool:
        if w.starts is None or len(w.starts.tiles) < 6:
            return False
        w.starts.tiles[5].choose()
        return True

    run(
        window,
        [
            (phase(Phase.READY), press(pygame.K_F8)),
            (always, hold(pygame.K_w)),
            (shown(6), []),
            (chosen, []),
            (lambda w: w.session.game is other and phase(Phase.READY)(w), hold(pygame.K_w)),
            (lambda w: w.session.shown > 3 and w.films.status == "writing recording-1.gif", []),
            (lambda w: not gate.set(), []),
            (lambda w: tmp_path / "recording-1.gif" in w.kept, []),
        ],
    )
    assert other.steps > 3


@pytest.mark.parametrize("error", [OSError("No space left on device"), RuntimeError("codec"), MemoryError("GIF")])
def test_a_film_that_cannot_be_written_is_one_line(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(gif: Gif) -> None:
        raise error

    monkeypatch.setattr(Gif, "close", fails)
    said: list[str] = []
    films = Films(said.append, [])
    film(films, tmp_path)
    films.close()
    assert said[-1] == f"recording-1.gif was not kept: {error}" and films.failures == said[-1:] and films.kept == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_never_finished_is_not_told_as_kept(tmp_path: Path, gate: threading.Event):
    films = Films(lambda words: None, [])
    film(films, tmp_path)
    films.close(0.05)
    [failure] = films.failures
    assert films.kept == [] and "recording-1.gif was not kept: writing it took longer" in failure


def test_a_recording_without_frames_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    films = Films(said.append, [])
    film(films, tmp_path, count=0)
    films.close()
    assert said == ["recording recording-1.gif"] and list(tmp_path.iterdir()) == []


def test_frames_that_the_encoder_has_no_time_for_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recordings, "MOST_WAITING", 3)
    go, said = threading.Event(), []
    encode: Any = Recording._encode
    monkeypatch.setattr(Recording, "_encode", lambda self, one: (go.wait(20), encode(self, one)))
    films = Films(said.append, [])
    film(films, tmp_path, count=8)
    go.set()
    films.close()
    assert said[-1] == "recording-1.gif: 5 frames were left out, encoding was too slow"
