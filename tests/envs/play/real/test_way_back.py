"""From the real game beside a dream back to the dream alone, as it was left."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.test_window import (
    FakeTwin,
    always,
    dummy,  # noqa: F401  (a fixture that each test here uses)
    hold,
    opened,
    outlets,
    phase,
    press,
    run,
    shown,
)
from worldsim.envs.play.opening import Opening, WorldTile
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase


def look(seen: dict[str, Any], name: str) -> Callable[[PlayWindow], bool]:
    """Note all that a player would miss."""

    def take(window: PlayWindow) -> bool:
        session, timeline = window.session, window.session.timeline
        assert timeline is not None and window.menu is not None
        window._draw()
        seen[name] = {
            "session": session, "moments": list(timeline.moments), "stretches": len(timeline.stretches),
            "shown": session.shown, "mark": session.mark, "view": window.views.name, "frame": window._frame,
            "entries": [entry.text() for entry in window.menu.entries],
        }  # fmt: skip
        return True

    return take


def closing(game: FakeGame, seen: dict[str, Any], name: str) -> FakeGame:
    """A game that tells that it was closed."""
    game.close = lambda: seen.update({name: True})  # pyright: ignore[reportAttributeAccessIssue]
    return game


def beside(twins: list[FakeGame], seen: dict[str, Any]) -> Callable[[Any, Any], Opening]:
    def real(game: Any, inputs: Any) -> Opening:
        twins.append(closing(FakeTwin(len(inputs)), seen, "twin closed"))
        return Opening(open_game=lambda tell: twins[-1], seed=99, view="both")

    return real


def is_there(twins: list[FakeGame]) -> Callable[[PlayWindow], bool]:
    return lambda window: bool(twins) and window.session.game is twins[-1] and phase(Phase.READY)(window)


def test_the_same_key_goes_back_to_the_moment_the_timeline_the_mark_and_the_view_that_were_left(tmp_path: Path):
    seen: dict[str, Any] = {}
    twins: list[FakeGame] = []
    dream = closing(FakeGame(), seen, "dream closed")
    window = opened(dream, outlets=outlets(tmp_path), real=beside(twins, seen))
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(8), press(pygame.K_F5)),
            (shown(12), press(pygame.K_v)),
            (always, press(pygame.K_p)),
            (phase(Phase.PAUSED), [*press(pygame.K_COMMA), *press(pygame.K_COMMA)]),
            (phase(Phase.PAUSED), []),
            (look(seen, "left"), press(pygame.K_g)),
            (is_there(twins), hold(pygame.K_s)),
            (shown(3), press(pygame.K_p)),
            (phase(Phase.PAUSED), []),
            (look(seen, "beside"), press(pygame.K_g)),
            (lambda w: w.session.game is dream and phase(Phase.PAUSED)(w), []),
            (lambda w: w.menu is not None and look(seen, "again")(w), press(pygame.K_p)),
            (lambda w: w.session.shown > max(1, len(seen["left"]["moments"])), []),
        ],
    )
    left, again = seen["left"], seen["again"]
    assert left["session"] is again["session"] and left["shown"] == again["shown"] and left["mark"] == again["mark"]
    assert left["moments"] == again["moments"] and left["view"] == again["view"] == "negative"
    np.testing.assert_array_equal(left["frame"], again["frame"])
    # Playing on from a moment before the end began a branch there.
    assert left["stretches"] == 1 and len(left["session"].timeline.stretches) == 2
    assert seen["twin closed"] and "dream closed" not in seen
    assert "The real game beside the dream" in left["entries"] == again["entries"]
    assert "Back to the dream alone" in seen["beside"]["entries"]
    # Kept as it was left, and again with what was played after coming back.
    assert [path.name for path in window.kept] == ["play-1.playthrough.json", "play-2.playthrough.json"]


def test_a_real_game_that_takes_long_to_start_is_left_by_the_same_key():
    gate, seen = threading.Event(), {}
    twin = closing(FakeTwin(), seen, "twin closed")

    def slow(tell: Any) -> FakeGame:
        tell("starting the real game", None)
        gate.wait()
        return twin

    dream = FakeGame()
    window = opened(dream, real=lambda game, inputs: Opening(open_game=slow, seed=0))

    def open_gate(w: PlayWindow) -> bool:
        gate.set()
        return True

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(pygame.K_g)),
            (lambda w: w.session.loading[0] == "starting the real game", press(pygame.K_g)),
            (lambda w: w.session.game is dream and w.session.phase is Phase.PAUSED, press(pygame.K_p)),
            (lambda w: w.session.shown > 8, []),
            (open_gate, []),
            # It is stopped as soon as it is there.
            (lambda w: "twin closed" in seen, []),
        ],
    )
    assert window.session.game is dream


def test_from_beside_a_dream_another_world_closes_both(tmp_path: Path):
    seen: dict[str, Any] = {}
    twins: list[FakeGame] = []
    other = FakeGame()
    tile = WorldTile(
        name="other", picture=np.zeros((40, 72, 3), np.uint8),
        opening=lambda: Opening(open_game=lambda tell: other, seed=5),
    )  # fmt: skip
    window = opened(closing(FakeGame(), seen, "dream closed"), real=beside(twins, seen))
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(pygame.K_g)),
            (is_there(twins), []),
            (lambda w: w.open(tile.opening()) is None, []),
            (lambda w: w.session.game is other and phase(Phase.READY)(w), []),
            (lambda w: "dream closed" in seen and "twin closed" in seen, press(pygame.K_g)),
            (always, []),
        ],
    )
    assert window.session.game is other and window._before is None and "cannot be opened" in window.message


def test_another_world_that_does_not_open_leaves_the_real_game_beside_the_dream_and_the_way_back():
    seen: dict[str, Any] = {}
    twins: list[FakeGame] = []
    dream = closing(FakeGame(), seen, "dream closed")

    def dies(tell: Any) -> FakeGame:
        raise RuntimeError("no such world")

    window = opened(dream, real=beside(twins, seen))
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(pygame.K_g)),
            (is_there(twins), []),
            (lambda w: w.open(Opening(open_game=dies, seed=0)) is None, []),
            (lambda w: "no such world" in w.message and is_there(twins)(w), press(pygame.K_g)),
            (lambda w: w.session.game is dream, []),
        ],
    )
    assert "twin closed" in seen


@pytest.mark.parametrize("error", [RuntimeError("Luanti died: no display"), FileNotFoundError("minetest not found")])
def test_failing_to_open_leaves_the_dream_its_branches_and_its_mark(error: Exception):
    def dies(tell: Any) -> FakeGame:
        raise error

    seen: dict[str, Any] = {}
    window = opened(FakeGame(), real=lambda game, inputs: Opening(open_game=dies, seed=0))
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(8), press(pygame.K_F5)),
            (shown(9), press(pygame.K_p)),
            (phase(Phase.PAUSED), []),
            (look(seen, "left"), press(pygame.K_g)),
            (lambda w: str(error) in w.message and w.menu is not None, []),
            (look(seen, "again"), []),
        ],
    )
    for what in ("session", "moments", "shown", "mark", "view", "entries"):
        assert seen["left"][what] == seen["again"][what]
    np.testing.assert_array_equal(seen["left"]["frame"], seen["again"]["frame"])
