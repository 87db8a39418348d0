"""The window on a virtual screen: real key and mouse events, and what the screen then shows."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from numpy.typing import NDArray

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.screenshots import keep
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase

Display = pytest.importorskip("Xlib.display").Display
DisplayConnectionError = pytest.importorskip("Xlib.error").DisplayConnectionError
pytestmark = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
SCREEN = (800, 600)


def connected(number: int, seconds: float = 20.0) -> Any:
    """A connection to an X server; one that took the place of another may refuse at first."""
    end = time.monotonic() + seconds
    while True:
        try:
            return Display(f":{number}")
        except DisplayConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class Screen:
    """An X server, and somebody at its keyboard and mouse."""

    def __init__(self, number: int, size: tuple[int, int] = SCREEN):
        from Xlib import XK, X
        from Xlib.ext import xtest

        self.display, self._x, self._xk, self._xtest = connected(number), X, XK, xtest
        self.size = size

    def key(self, name: str, press: bool = True, release: bool = True) -> None:
        code = self.display.keysym_to_keycode(self._xk.string_to_keysym(name))
        for wanted, kind in ((press, self._x.KeyPress), (release, self._x.KeyRelease)):
            if wanted:
                self._xtest.fake_input(self.display, kind, code)
        self.display.sync()

    def focus(self) -> None:
        [window, *_] = self.display.screen().root.query_tree().children
        self.display.set_input_focus(window, self._x.RevertToParent, self._x.CurrentTime)
        self.display.sync()

    def to(self, x: int, y: int) -> None:
        self._xtest.fake_input(self.display, self._x.MotionNotify, 0, x=x, y=y)
        self.display.sync()

    def move(self, x: int, y: int) -> None:
        self._xtest.fake_input(self.display, self._x.MotionNotify, 1, x=x, y=y)
        self.display.sync()

    def click(self) -> None:
        for kind in (self._x.ButtonPress, self._x.ButtonRelease):
            self._xtest.fake_input(self.display, kind, 1)
        self.display.sync()

    def place(self) -> pygame.Rect:
        """Where the window is on the screen."""
        [window, *_] = self.display.screen().root.query_tree().children
        geometry = window.get_geometry()
        return pygame.Rect(geometry.x, geometry.y, geometry.width, geometry.height)

    def picture(self) -> NDArray[np.uint8]:
        """What the screen shows, uint8 (H, W, 3)."""
        image = self.display.screen().root.get_image(0, 0, *self.size, self._x.ZPixmap, 0xFFFFFFFF)
        return np.frombuffer(image.data, np.uint8).reshape(self.size[1], self.size[0], 4)[..., 2::-1].copy()


@pytest.fixture
def screen(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Screen]:
    """Of 800 x 600 pixels, or as a test's parameter says."""
    across, down = getattr(request, "param", SCREEN)
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{across}x{down}x24", "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    # The server dies of a pipe that is closed before the whole line is written.
    with os.fdopen(read) as line:
        number = int(line.readline())
    pygame.display.quit()
    monkeypatch.setenv("DISPLAY", f":{number}")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    yield Screen(number, (across, down))
    pygame.display.quit()
    server.terminate()
    server.wait()


def drive(window: PlayWindow, acts: list[tuple[Callable[[], Any], Callable[[], Any]]], seconds: float = 60.0) -> None:
    """Once something holds, do the next thing; the window is closed at the end."""
    left, look, end = list(acts), window.window.events, time.monotonic() + seconds

    def events() -> list[Any]:
        assert time.monotonic() < end, f"waited in vain for act {len(acts) - len(left)}; {window.session.phase}"
        if not left:
            return [pygame.event.Event(pygame.QUIT)]
        if left[0][0]():
            left.pop(0)[1]()
        return look()

    window.window.events = events  # pyright: ignore[reportAttributeAccessIssue]
    window.run()


@pytest.mark.slow
def test_a_person_at_a_real_screen(screen: Screen):
    game = FakeGame()
    window = PlayWindow(Opening(open_game=lambda tell: game, seed=3))
    session, seen, pictures = window.session, {}, {}

    def look(name: str) -> Callable[[], None]:
        def take() -> None:
            pictures[name] = screen.picture()
            keep(pictures[name], name)

        return take

    def wait(seconds: float) -> Callable[[], bool]:
        since: list[float] = []

        def over() -> bool:
            since.append(time.monotonic())
            return since[-1] - since[0] > seconds

        return over

    def settled(phase: Phase) -> Callable[[], bool]:
        return lambda: session.phase is phase and not session.moving and session._job is None

    def turned() -> bool:
        return any(actions[0, -1] > 0.5 for actions in game.seen)

    drive(
        window,
        [
            (settled(Phase.READY), screen.focus),
            (wait(0.3), look("ready")),
            (lambda: True, lambda: screen.key("w", release=False)),
            (lambda: session.shown > 5, lambda: screen.key("w", press=False)),
            (lambda: not game.seen[-1].any(), lambda: screen.to(400, 300)),
            (wait(0.2), screen.click),
            (lambda: window.captured, lambda: screen.move(40, 0)),
            (turned, lambda: screen.key("BackSpace")),
            (settled(Phase.READY), lambda: screen.key("s", release=False)),
            (lambda: session.shown > 45, lambda: screen.key("s", press=False)),
            (lambda: True, lambda: screen.key("p")),
            (settled(Phase.PAUSED), lambda: seen.update(frame=window._frame)),
            (wait(0.3), look("paused")),
            (lambda: True, lambda: seen.update(size=window.window.screen.get_size())),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: window.window.full_screen, lambda: None),
            (wait(0.3), look("full screen")),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: not window.window.full_screen, screen.focus),
            (wait(0.3), lambda: seen.update(again=window.window.screen.get_size())),
            (lambda: True, lambda: screen.key("h")),
            (lambda: window.help, lambda: None),
            (wait(0.3), look("help")),
            (lambda: True, lambda: screen.key("h")),
            (lambda: not window.help, lambda: screen.key("Escape")),
            (lambda: bool(window.menu and window.menu.open), lambda: None),
            (wait(0.3), look("menu")),
        ],
    )
    assert game.seen[0][:, 0].all() and len(session.timeline.stretches) == 2  # pyright: ignore
    # The screen shows the frame itself in its middle, and the timeline over its lower edge.
    np.testing.assert_array_equal(pictures["paused"][300, 400], seen["frame"][20, 36])
    assert (pictures["paused"] == (120, 200, 255)).all(-1).any() and not (pictures["ready"] == (120, 200, 255)).all(
        -1
    ).any()
    # A third of the help's ground shows through, so that text stands out.
    assert (pictures["help"] == 255).all(-1).sum() > 500 < (pictures["menu"] == 255).all(-1).sum()
    full = pictures["full screen"]
    assert (full[300] == full[300, 400]).all(-1).mean() > 0.85
    assert seen["again"] == seen["size"]
