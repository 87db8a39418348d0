"""The window on screens of usual sizes: inside of the screen, all of the picture, and the same after full screen."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.fake_game import CHUNK, FakeGame
from tests.envs.play.virtual_screen import Screen, drive, needs_xvfb, screen
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.spec.actions import MINECRAFT, ActionSpec

pytestmark = needs_xvfb
__all__ = ["screen"]
CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
PONG = ActionSpec(keys=("noop", "up", "down"), camera=False)


class CorneredGame(FakeGame):
    """In pictures of a shipped world's size, each corner of a colour of its own."""

    def __init__(self, spec: ActionSpec, width: int, height: int):
        super().__init__(spec)
        self.width, self.height = width, height

    def _frames(self) -> np.ndarray:
        frames = np.full((CHUNK, self.height, self.width, 3), 90, np.uint8)
        for (y, x), colour in zip(((0, 0), (0, -1), (-1, 0), (-1, -1)), CORNERS, strict=True):
            frames[:, y, x] = colour
        return frames


def wait(seconds: float) -> Callable[[], bool]:
    since: list[float] = []

    def over() -> bool:
        since.append(time.monotonic())
        return since[-1] - since[0] > seconds

    return over


def corners(picture: np.ndarray, place: pygame.Rect) -> list[tuple[int, ...]]:
    """The colours just inside of a rectangle's corners."""
    edges = ((place.top + 1, place.bottom - 2), (place.left + 1, place.right - 2))
    return [tuple(int(value) for value in picture[y, x]) for y in edges[0] for x in edges[1]]


@pytest.mark.slow
@pytest.mark.parametrize("screen", [(1280, 800), (800, 600)], indirect=True)
@pytest.mark.parametrize(("spec", "width", "height"), [(PONG, 80, 80), (MINECRAFT, 144, 80)], ids=["pong", "minecraft"])
@pytest.mark.parametrize("smooth", [False, True])
def test_the_window_fits_the_screen_and_keeps_its_size(
    screen: Screen,
    spec: ActionSpec,
    width: int,
    height: int,
    smooth: bool,
):
    game, seen = CorneredGame(spec, width, height), {}
    window = PlayWindow(Opening(open_game=lambda tell: game, seed=3))
    window.window.smooth = smooth
    session, whole = window.session, pygame.Rect(0, 0, *screen.size)

    def ready() -> bool:
        return session.phase is Phase.READY and not session.moving and session._job is None

    def look(name: str) -> Callable[[], None]:
        def take() -> None:
            seen[name] = (
                screen.window(),
                screen.picture(),
                window.window.place(width, height),
                window.window.picture(),
            )

        return take

    def walk() -> Any:
        screen.key("w", release=False)

    drive(
        window,
        [
            (ready, screen.focus),
            # The words in the middle are gone as soon as it is played.
            (wait(0.3), walk),
            (lambda: session.shown > 2, lambda: screen.key("w", press=False)),
            (wait(0.3), look("first")),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: window.window.full_screen, lambda: None),
            (wait(0.5), look("full")),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: not window.window.full_screen, screen.focus),
            (wait(0.5), look("again")),
        ],
    )
    place, picture, frame, _ = seen["first"]
    # A title bar and a panel need their share of the screen.
    assert whole.contains(place) and place.height <= 0.85 * screen.size[1]
    # In whole pixels as large as it fits, up to about 960 across.
    factor = place.width // width
    larger = pygame.Rect(0, 0, width * (factor + 1), height * (factor + 1))
    assert place.size == (width * factor, height * factor) and frame == pygame.Rect(0, 0, *place.size)
    assert larger.width > 1008 or larger.height > 0.85 * screen.size[1] or larger.width > 0.95 * screen.size[0]
    # The upper left corner bears the frames per second.
    assert smooth or corners(picture, place)[1:] == list(CORNERS[1:])
    # Nobody moves the window to the screen's corner, where no window manager runs.
    full, _, frame, picture = seen["full"]
    assert full.size == screen.size and whole.contains(frame)
    assert (frame.height == whole.height or frame.width == whole.width) if smooth else frame.width % width == 0
    assert smooth or corners(picture, frame)[1:] == list(CORNERS[1:])
    again, picture, frame, _ = seen["again"]
    assert again == place and frame == pygame.Rect(0, 0, *place.size)
    assert smooth or corners(picture, place)[1:] == list(CORNERS[1:])
