"""``worldsim play`` with the real game beside the dream, and what the window then shows.

With ``WORLDSIM_SCREENSHOTS=FOLDER`` the pictures of the documentation are kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from numpy.typing import NDArray

from tests.envs.play.screenshots import keep
from tests.envs.play.test_window import Act, always, hold, phase, press, run, shown
from tests.real_game import needs_game
from worldsim import ASSETS, cli
from worldsim.datasets.loading.starts import load_starts
from worldsim.datasets.store.video import read_video
from worldsim.envs.play.pace import Phase
from worldsim.envs.play.play import PlayWindow
from worldsim.evaluation.measures.metrics import psnr

# Processor time is scarce beside other programs; a failure waits this long.
LONG = 400.0


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PlayWindow]:
    """Runs the command, at the window a script of acts; returns the window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    original = PlayWindow.run

    def played(acts: list[Act], *words: str) -> PlayWindow:
        windows: list[PlayWindow] = []

        def sit(window: PlayWindow) -> Any:
            windows.append(window)
            monkeypatch.setattr(PlayWindow, "run", original)
            return run(window, acts, seconds=LONG)

        monkeypatch.setattr(PlayWindow, "run", sit)
        assert cli.main(["play", "folder=run", "start_page=false", "sampling_steps=1", *words]) == 0
        pygame.display.quit()
        return windows[0]

    return played


def take(name: str, into: dict[str, Any]) -> Callable[[PlayWindow], bool]:
    """Keep what the window shows, drawn anew, without messages."""

    def look(window: PlayWindow) -> bool:
        window.message = ""
        window._draw()
        into[name] = window.window.picture()
        into[f"{name} of"] = (window._frame, dict(window.session.insight))
        keep(into[name], name)
        return True

    return look


def cell(picture: NDArray[np.uint8], row: int, column: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The middle pixel of each square of a panel, of 2 x 2 in the middle of a window."""
    height, width = shape[:2]
    scale = min(picture.shape[0] // (2 * height), picture.shape[1] // (2 * width))
    top, left = (picture.shape[0] - 2 * height * scale) // 2, (picture.shape[1] - 2 * width * scale) // 2
    rows = top + (row * height + np.arange(height)) * scale + scale // 2
    columns = left + (column * width + np.arange(width)) * scale + scale // 2
    return picture[rows][:, columns]


def moved(window: PlayWindow) -> bool:
    return phase(Phase.PAUSED)(window) and window.session._job is None


@pytest.mark.slow
def test_pong_and_its_console_on_the_same_keys(play: Callable[..., PlayWindow]):
    pytest.importorskip("ale_py")
    seen: dict[str, Any] = {}

    def beside(window: PlayWindow) -> bool:
        game = window.session.game
        return game is not None and "real" in game.views and phase(Phase.READY)(window)

    window = play(
        [
            (phase(Phase.READY), press(pygame.K_g)),
            (beside, []),
            (lambda w: "console's own" in w.message, hold(pygame.K_UP)),
            (shown(6), [(pygame.KEYUP, {"key": pygame.K_UP, "mod": 0})]),
            (shown(12), press(pygame.K_p)),
            (moved, []),
            (take("pong-both", seen), press(pygame.K_COMMA)),
            (moved, []),
            (take("back", seen), press(pygame.K_PERIOD)),
            (moved, []),
            (take("again", seen), []),
        ],
        "--world",
        "pong",
    )
    dream, insight = seen["pong-both of"]
    # Below the status line and above the names, the window shows the very pixels of both.
    for name, column, frame in (("pong-both", 0, dream), ("pong-both", 1, insight["real"])):
        got = cell(seen[name], 0, column, frame.shape)
        np.testing.assert_array_equal(got[20:50], frame[20:50])
    # The console goes back with the dream, to the bit.
    assert (seen["back of"][1]["real"] != seen["again of"][1]["real"]).any()
    timeline = window.session.timeline
    assert timeline is not None and len(timeline.moments) > 10 and window.session.game is not None
    assert window.session.seats.names == ("you", "random", "planner")


@pytest.mark.slow
def test_a_video_of_both(tmp_path: Path, play: Callable[..., PlayWindow]):
    pytest.importorskip("ale_py")
    words = ["play", "--headless", "--world", "pong", "--engine", "both", "--seconds", "1", "scale=1", "folder=run"]
    assert cli.main([*words, "sampling_steps=1"]) == 0
    film = read_video(tmp_path / "run" / "play.mp4")
    assert film.shape[1:] == (160, 160, 3)

    # Both begin from the console's pictures: there is no difference yet, later there is some.
    def difference(i: int) -> float:
        return float(np.abs(film[i, :80, :80].astype(int) - film[i, :80, 80:]).mean())

    assert difference(0) < 2 and film[-1, 80:, :80].max() > 60
    assert cli.main([*words, "--load", "a.json"]) == 2


@pytest.mark.slow
def test_depth_and_whose_the_pixels_are(play: Callable[..., PlayWindow]):
    seen: dict[str, Any] = {}
    window = play(
        [
            (phase(Phase.READY), press(pygame.K_F3)),
            (always, press(pygame.K_v)),
            (phase(Phase.READY), []),
            (take("depth-start", seen), hold(pygame.K_w)),
            (shown(3), [(pygame.KEYUP, {"key": pygame.K_w, "mod": 0}), *press(pygame.K_p)]),
            (moved, []),
            (take("depth", seen), press(pygame.K_v)),
            (moved, []),
            (lambda w: w.views.name == "memory", press(pygame.K_n)),
            (moved, press(pygame.K_n)),
            (moved, press(pygame.K_n)),
            (lambda w: moved(w) and "memory" in w.session.insight, []),
            (take("memory", seen), []),
        ],
        "--prefix",
        "0",
    )
    for name in ("depth", "memory"):
        frame, insight = seen[f"{name} of"]
        assert (insight[name] != frame).any()
    assert "depth" in seen["depth-start of"][1]
    game = window.session.game
    assert game is not None and "pixels of memory" in game.status() and "reward" in game.status()


@needs_game
def test_luanti_stands_where_the_start_was_recorded(play: Callable[..., PlayWindow]):
    starts = load_starts(ASSETS / "minecraft" / "starts")
    seen: dict[str, Any] = {}

    def beside(window: PlayWindow) -> bool:
        game = window.session.game
        return game is not None and "real" in game.views and phase(Phase.READY)(window)

    window = play(
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), [(pygame.KEYUP, {"key": pygame.K_w, "mod": 0}), *press(pygame.K_p)]),
            (moved, press(pygame.K_g)),
            (beside, []),
            (lambda w: seen.update(words=w.message) is None, []),
            (take("luanti-start", seen), hold(pygame.K_d)),
            (lambda w: len(w.views.differences) > 12, press(pygame.K_p)),
            (moved, []),
            (take("luanti-both", seen), []),
        ],
        "--prefix",
        "0",
    )
    game: Any = window.session.game
    past = game.past
    assert past.same_start and "where this start was recorded" in seen["words"]
    assert starts.poses is not None
    turned = (past.poses[-1, 3:] - starts.poses[0, -1, 3:] + 180) % 360 - 180
    assert np.abs(turned).max() < 0.1
    # The recorded view, but for a fall to the ground and leaves that grew otherwise; not another start's.
    alike, other = (float(psnr(past.frames[-1], starts.frames[i, -1])) for i in (0, 1))
    assert alike > other + 2
    # What was played in the dream was played again in both.
    assert window.session.times.seconds and game.dream.begun.frames.shape == past.frames.shape
    np.testing.assert_array_equal(game.dream.begun.frames, past.frames)
    frame, insight = seen["luanti-both of"]
    assert insight["real"].shape == frame.shape and (insight["real"] != past.frames[-1]).any()
