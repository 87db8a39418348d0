"""The window on a virtual screen: real key and mouse events, and what the screen then shows."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.envs.play.fake_game import timeline_of
from tests.envs.play.pictured_game import Picture, PicturedGame, box, enlarged
from tests.envs.play.screenshots import keep
from tests.envs.play.shipped import shipped
from tests.envs.play.virtual_screen import SCREEN, Screen, drive, needs_xvfb, screen
from tests.timing import PATIENCE
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase

pytestmark = needs_xvfb
# Of the shipped world: grass, a bank of straw, a far shore.
START = 11
# Fixtures that tests ask for by name.
__all__ = ["screen"]


class Shot:
    """A screenshot of the window, and the frame that the session says is shown."""

    def __init__(self, screen: Screen, window: PlayWindow):
        place = screen.window()
        self.picture = screen.picture()[place.top : place.bottom, place.left : place.right]
        session, self.frame = window.session, window._frame
        assert self.frame is not None
        # One of the moment's; the last one where it was gone to.
        frames = timeline_of(session).picture(session.shown)
        assert any(np.array_equal(self.frame, frame) for frame in frames[-1 if session.moved else 0 :])
        self.height, self.width = self.picture.shape[:2]
        self.apart = self.differs(self.frame)

    def differs(self, frame: Picture) -> NDArray[np.bool_]:
        """Where the window does not show this frame, as large as fits in whole pixels, and black around it."""
        factor = min(self.width // frame.shape[1], self.height // frame.shape[0])
        large, expected = enlarged(frame, factor), np.zeros_like(self.picture)
        top, left = (self.height - large.shape[0]) // 2, (self.width - large.shape[1]) // 2
        expected[top : top + large.shape[0], left : left + large.shape[1]] = large
        return (self.picture != expected).any(-1)

    def has_corner_and_strip(self) -> None:
        """Text in the upper left corner, the timeline along the lower edge, and the frame itself between.

        Their dark grounds do not show where they lie on black.
        """
        corner, strip = 80, self.height - 60
        left, top, right, bottom = box(self.apart[:corner])
        assert max(left, top) < 20 and right < 0.6 * self.width and 20 < bottom < corner
        left, top, right, bottom = box(self.apart[strip:])
        assert left < 20 and right > self.width - 20 and 5 < top < bottom
        assert not self.apart[corner:strip].any()

    def has_middle_only(self, least: int) -> None:
        """A block of text in the very middle, of so many white pixels, and the frame itself around it."""
        left, top, right, bottom = box(self.apart)
        assert abs(left + right - self.width) <= 2 and abs(top + bottom - self.height) <= 2
        assert (right - left) * (bottom - top) < 0.95 * self.width * self.height
        assert (self.picture[top:bottom, left:right] == 255).all(-1).sum() > least


def settled(window: PlayWindow, phase: Phase) -> Callable[[], bool]:
    """Play stands, and nothing is computed any more."""
    session = window.session
    return lambda: session.phase is phase and not session.moving and session._job is None


def drawn(window: PlayWindow) -> Callable[[], bool]:
    """What is on the screen was drawn after now."""
    seen: list[float] = []

    def over() -> bool:
        seen.append(window.painter.drawn)
        return len(set(seen)) > 3

    return over


@pytest.mark.slow
def test_a_person_at_a_real_screen(screen: Screen):
    game = PicturedGame()
    window = PlayWindow(Opening(open_game=lambda tell: game, seed=3))
    session, seen = window.session, {}
    shots: dict[str, Shot] = {}

    def look(name: str) -> Callable[[], None]:
        def take() -> None:
            shots[name] = Shot(screen, window)
            keep(shots[name].picture, name)

        return take

    def turned() -> bool:
        return any(actions[0, -1] > 0.5 for actions in game.seen)

    drive(
        window,
        [
            (settled(window, Phase.READY), screen.focus),
            (drawn(window), look("ready")),
            (lambda: True, lambda: screen.key("w", release=False)),
            (lambda: session.shown > 5, lambda: screen.key("w", press=False)),
            (lambda: not game.seen[-1].any(), lambda: screen.to(400, 300)),
            (drawn(window), screen.click),
            (lambda: window.captured, lambda: screen.move(40, 0)),
            (turned, lambda: screen.key("BackSpace")),
            (settled(window, Phase.READY), lambda: screen.key("s", release=False)),
            (lambda: session.shown > 45, lambda: screen.key("s", press=False)),
            (lambda: True, lambda: screen.key("p")),
            (settled(window, Phase.PAUSED), lambda: None),
            (drawn(window), look("paused")),
            (lambda: True, lambda: seen.update(size=window.window.screen.get_size())),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: window.window.full_screen, screen.to_corner),
            (drawn(window), look("full screen")),
            (lambda: True, lambda: screen.key("F11")),
            (lambda: not window.window.full_screen, screen.focus),
            (drawn(window), lambda: seen.update(again=window.window.screen.get_size())),
            (lambda: True, lambda: screen.key("h")),
            (lambda: window.help, lambda: None),
            (drawn(window), look("help")),
            (lambda: True, lambda: screen.key("h")),
            (lambda: not window.help, lambda: None),
            (drawn(window), look("after")),
            (lambda: True, lambda: screen.key("comma")),
            (settled(window, Phase.PAUSED), lambda: None),
            (drawn(window), look("earlier")),
            (lambda: True, lambda: screen.key("Escape")),
            (lambda: bool(window.menu and window.menu.open), lambda: None),
            (drawn(window), look("menu")),
        ],
    )
    assert game.seen[0][:, 0].all() and len(session.timeline.stretches) == 2  # pyright: ignore
    shots["ready"].has_middle_only(100)
    for name in ("paused", "full screen", "earlier"):
        shots[name].has_corner_and_strip()
    full = shots["full screen"]
    assert (full.width, full.height) == SCREEN and seen["again"] == seen["size"]
    for name in ("help", "menu"):
        shots[name].has_middle_only(500)
    assert not np.array_equal(shots["help"].picture, shots["menu"].picture)
    # Nothing is left of the help; and another moment's frame is told from this one's.
    np.testing.assert_array_equal(shots["after"].picture, shots["paused"].picture)
    now = shots["earlier"].frame
    assert now is not None and shots["paused"].differs(now)[80:-60].mean() > 0.3


@pytest.mark.slow
def test_the_shipped_world_in_the_window(screen: Screen):
    """A picture for people with ``WORLDSIM_SCREENSHOTS=FOLDER``: paused on a branch."""
    window = PlayWindow(Opening(open_game=shipped(START), seed=0))
    session, shots = window.session, []

    def walked(steps: int) -> Callable[[], bool]:
        return lambda: session.shown >= steps

    drive(
        window,
        [
            (settled(window, Phase.READY), screen.focus),
            (drawn(window), lambda: screen.key("w", release=False)),
            (walked(8), lambda: screen.key("w", press=False)),
            (lambda: True, lambda: screen.key("p")),
            *((settled(window, Phase.PAUSED), lambda: screen.key("comma")) for _ in range(4)),
            (settled(window, Phase.PAUSED), lambda: screen.key("d", release=False)),
            (drawn(window), lambda: screen.key("p")),
            (walked(16), lambda: screen.key("p")),
            (settled(window, Phase.PAUSED), lambda: screen.key("d", press=False)),
            (drawn(window), lambda: shots.append(Shot(screen, window))),
        ],
        seconds=PATIENCE,
    )
    [shot] = shots
    shot.has_corner_and_strip()
    assert len(timeline_of(session).stretches) == 2 and len(np.unique(shot.frame.reshape(-1, 3), axis=0)) > 500
    keep(shot.picture, "window")
