"""An X server without a screen, and somebody at its keyboard and mouse."""

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

from worldsim.envs.play.play import PlayWindow

Display = pytest.importorskip("Xlib.display").Display
DisplayConnectionError = pytest.importorskip("Xlib.error").DisplayConnectionError
needs_xvfb = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
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

    def to_corner(self) -> None:
        """Move the window to the upper left corner, as a window manager does with one that fills the screen."""
        [window, *_] = self.display.screen().root.query_tree().children
        window.configure(x=0, y=0)
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

    def window(self) -> pygame.Rect:
        """Where the only window is."""
        [window, *_] = self.display.screen().root.query_tree().children
        about = window.get_geometry()
        return pygame.Rect(about.x, about.y, about.width, about.height)

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
