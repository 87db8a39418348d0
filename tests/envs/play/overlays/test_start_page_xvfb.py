"""The page of starts on a virtual screen: real keys type a text, a real mouse chooses a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.screenshots import keep
from tests.envs.play.virtual_screen import Screen, drive, needs_xvfb, screen
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase

__all__ = ["screen"]
pytestmark = needs_xvfb


@pytest.mark.slow
def test_a_text_is_typed_and_a_picture_clicked_at_a_real_screen(screen: Screen):
    game = FakeGame()
    game.prompts = ("walking by the sea", "digging at noon")
    window = PlayWindow(Opening(open_game=lambda tell: game, seed=3, start_page=True))
    pictures: dict[str, Any] = {}

    def page() -> Any:
        return window.starts

    def ready() -> bool:
        return window.session.phase is Phase.READY and not window.session.moving

    def look(name: str) -> Callable[[], None]:
        def take() -> None:
            pictures[name] = screen.picture()
            keep(pictures[name], name)

        return take

    def keys(*names: str) -> Callable[[], None]:
        def type_them() -> None:
            for name in names:
                screen.key(name)

        return type_them

    def to_third() -> None:
        place = page().places[2]
        across, down = window.window.screen.get_size()
        screen.to(place.centerx + (800 - across) // 2, place.centery + (600 - down) // 2)

    drive(
        window,
        [
            (lambda: ready() and page() is not None and page().open and bool(page().places), screen.focus),
            (lambda: True, look("start page")),
            (lambda: True, keys("s", "e", "a")),
            (lambda: page().field.text == "sea", lambda: window._draw()),
            (lambda: True, look("start page with a text")),
            (lambda: True, keys("Return")),
            (lambda: bool(game.text) and ready() and not page().open, keys("b")),
            (lambda: page().open, to_third),
            (lambda: page().chosen == 2, screen.click),
            (lambda: game.start == 2 and ready() and not page().open, lambda: None),
        ],
    )
    assert game.text == "walking by the sea" and page().field.text == ""
    before, after = pictures["start page"], pictures["start page with a text"]
    assert (before[250:350] != after[250:350]).any() and np.ptp(before) > 0
