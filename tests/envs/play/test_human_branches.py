"""A person's tries: each from the same moment, kept as it was played, and dreamed again bit for bit."""

import numpy as np
import pytest

from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.learned.initial_context import prefill
from worldsim.envs.rollouts.human_branches import TriedGame, played_by_a_person
from worldsim.envs.rollouts.prefix import find_prefix
from worldsim.errors import UserError
from worldsim.simulation.branch_tree import Node
from worldsim.simulation.branching import expand_tree
from worldsim.spec.actions import MINECRAFT

PAST = find_prefix("2", tiny_world(), tiny_starts(), frames=5, seed=9)


def turned(yaw: float) -> np.ndarray:
    return np.tile(MINECRAFT.vector({"camera": (0, yaw)}), (2, 1))


def test_every_try_is_a_branch_that_shows_what_the_person_saw():
    game = TriedGame(tiny_world(), tiny_starts(), PAST)
    seen = []
    for seed, yaws in enumerate([(1, 2), (), (3,)]):
        np.testing.assert_array_equal(game.reset(seed)[-1], PAST.frames[-1])
        seen.append([game.advance(turned(yaw)) for yaw in yaws])
    tries = game.tries()
    assert [actions[::2, -1].tolist() for actions in tries] == [[1, 2], [3]] and game.tries()[1] is tries[1]
    nodes = [Node(name="try", actions=actions) for actions in tries]
    tree = expand_tree(tiny_world(), prefill(tiny_world(), [PAST]), nodes)
    for branch, shown in zip(tree.branches, [seen[0], seen[2]], strict=True):
        np.testing.assert_array_equal(branch.frames[: 2 * len(shown)], np.concatenate(shown))


def test_without_a_display_nobody_plays(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="needs a display"):
        played_by_a_person(tiny_world(), tiny_starts(), PAST, sensitivity=0.15)
