"""The null test itself: it finds no difference where there is none, and finds one where there is."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.tiny_world import ROUNDING, save_tiny_world
from worldsim.agents.null_test import compare, dream, null_test


def test_same_seed_and_actions_diverge_nowhere(tmp_path: Path):
    world = str(save_tiny_world(tmp_path / "tiny"))
    results = null_test(world, 6, 3)
    assert list(results) == ["again", "in another process", "as a row of 3"]
    for name in ("again", "in another process"):
        assert results[name]["first_different_step"] is None and results[name]["latents"] == 0
    beside = results["as a row of 3"]
    assert beside["latents"] <= ROUNDING and beside["pose"] <= ROUNDING and beside["grey_levels"] <= (ROUNDING > 0)
    once = dream(world, 6)
    latents = once.latents.copy()
    latents[3] += 0.5
    found = compare(once, replace(once, latents=latents))
    assert found["first_different_step"] == 4 and np.isclose(found["latents"], 0.5)


def test_a_game_of_keys_alone_is_dreamt_too():
    results = null_test("pong", 3, 2)
    assert [found["steps"] for found in results.values()] == [3, 3, 3]
    assert results["again"]["first_different_step"] is results["in another process"]["first_different_step"] is None
    assert results["as a row of 2"]["latents"] < 0.1
