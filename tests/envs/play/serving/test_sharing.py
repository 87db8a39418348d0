"""One world for many sessions: loaded once, and each session's play is its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.serving.sharing import SharedWorld
from worldsim.spec.actions import MINECRAFT, hold


def test_the_world_is_loaded_once_and_games_are_apart():
    loads, everybody = [], threading.Barrier(4)

    def load(tell: Any) -> WorldGame:
        loads.append(1)
        return WorldGame(tiny_world(), tiny_starts(), {"prefix": 1}, learned=("forward",))

    shared = SharedWorld(load)

    def open_it(number: int) -> WorldGame:
        everybody.wait()
        return shared(lambda what, share: None)

    with ThreadPoolExecutor(4) as pool:
        games = list(pool.map(open_it, range(4)))
    assert len(loads) == 1 and len({id(game) for game in games}) == 4
    assert len({id(game.world) for game in games}) == 1
    one, two, three, four = games
    walk, rest = hold(MINECRAFT.vector({"forward": 1}), one.chunk), hold(MINECRAFT.noop(), one.chunk)
    for game in (one, two, three):
        game.reset(seed=5)
    # In turns, and each as if it were alone.
    first = [(one.advance(walk), two.advance(rest)) for _ in range(3)]
    alone = [three.advance(walk) for _ in range(3)]
    np.testing.assert_array_equal([walked for walked, _ in first], alone)
    assert any((walked != rested).any() for walked, rested in first)
    # Where one of them begins is nobody else's business, nor is it what the world knows.
    one.begin_at(3)
    np.testing.assert_array_equal(two.reset(seed=9), four.reset(seed=9))
    assert (one.reset(seed=9) != two.reset(seed=9)).any()
    assert [controls for controls, _ in four.hands.meanings] == [("forward",)]
