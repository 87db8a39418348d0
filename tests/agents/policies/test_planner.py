"""The planner: it earns what it says, more than random players do, and leaves the world it looks into alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_world import tiny_starts, tiny_world
from worldsim.agents.policies.branch_players import players
from worldsim.agents.policies.planner import Planner, PlannerConfig
from worldsim.agents.policies.random import sample_minecraft
from worldsim.errors import UserError
from worldsim.simulation.branch_tree import Node
from worldsim.simulation.branching import expand_tree, prefill_context
from worldsim.simulation.state import WorldState
from worldsim.spec.actions import ActionSpec

SMALL = PlannerConfig(candidates=8, rounds=2, elite=3, horizon=6, hold=2, replan=3)


def state_at(start: int, seed: int = 1) -> WorldState:
    return prefill_context(tiny_world(), (tiny_starts().frames[start], tiny_starts().actions[start]), seed)[0]


def planner(seed: int = 0, config: PlannerConfig = SMALL) -> Planner:
    world = tiny_world()
    return Planner(world, lambda rng: sample_minecraft(world.spec, rng), seed=seed, config=config)


@pytest.mark.slow
def test_it_beats_random_players_on_the_learned_reward_from_the_same_starts():
    world = tiny_world()
    looking = PlannerConfig(candidates=16, rounds=3, elite=4, horizon=8, hold=4, replan=4)
    nodes = [Node(name="planner", player=lambda: planner(config=looking), frames=16)]
    nodes += [Node(name=f"random {i}", player=players(world, seed=i)("random"), frames=16) for i in range(4)]
    earned = np.array(
        [[b.rewards.sum() for b in expand_tree(world, state_at(start), nodes).branches] for start in range(2)]
    )
    assert (earned[:, 0] > 1.1 * earned[:, 1:].mean(1)).all(), earned


def test_a_plan_earns_what_it_promised_and_planning_changes_nothing():
    world, state = tiny_world(), state_at(0)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    best, promised = planner().plan(state)
    for name, tensor in state.tensors().items():
        assert tensor.equal(before[name]), name
    assert best.shape == (SMALL.horizon * world.chunk, world.spec.size)
    [branch] = expand_tree(world, state, [Node(name="plan", actions=best)]).branches
    assert branch.rewards.sum() == pytest.approx(promised, abs=1e-4)


@pytest.mark.slow
def test_more_rounds_never_make_the_best_worse_and_the_same_seed_plans_the_same():
    state = state_at(1)
    one, two = [planner(config=PlannerConfig(candidates=8, rounds=n, horizon=6)).plan(state)[1] for n in (1, 3)]
    assert two >= one
    np.testing.assert_array_equal(planner(3).plan(state)[0], planner(3).plan(state)[0])
    assert not np.array_equal(planner(3).plan(state)[0], planner(4).plan(state)[0])


def test_rewards_after_the_end_do_not_count():
    class Judge:
        def facts(self, state):
            return None

        def judge(self, before, state, out, actions):
            steps = state.steps.numpy()
            # Whoever walks forward first is over at the second step.
            return np.ones(len(steps), np.float32), (actions[:, 0, 0] > 0) & (steps == 2)

    world = tiny_world()
    chooser = Planner(world, lambda rng: world.spec.noop(), judge=Judge(), config=SMALL)
    plans = np.zeros((2, 3, world.spec.size), np.float32)
    plans[0, :, 0] = 1
    assert chooser.score(state_at(0), plans).tolist() == [2, 6]


def test_games_with_one_key_at_a_time_are_drawn_one_key_at_a_time():
    chooser = planner()
    chooser._exclusive = True
    elite = np.zeros((3, 4, chooser.world.spec.size), np.float32)
    elite[:, :, 1] = 1
    drawn = chooser._around(elite)
    assert (drawn[..., : len(chooser.world.spec.keys)].sum(-1) == 1).all()
    assert isinstance(chooser.world.spec, ActionSpec)


def test_in_games_of_one_key_at_a_time_players_always_press_one():
    spec = ActionSpec(keys=("up", "noop", "down"), camera=False)
    world: Any = SimpleNamespace(spec=spec, chunk=1, config=SimpleNamespace(fps=15, height=16, width=16))
    state: Any = SimpleNamespace(pose=torch.zeros(1, 5))
    assert players(world)("noop")().choose(state, None, 2).tolist() == [[0, 1, 0]] * 2
    played = players(world)("random")().choose(state, None, 300)
    assert (played.sum(1) == 1).all() and played.any(0).all()


def test_impossible_planners_and_players_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        PlannerConfig(rounds=0)
    with pytest.raises(ValueError, match="at most candidates"):
        PlannerConfig(candidates=2, elite=3)
    with pytest.raises(UserError, match="unknown policy 'nobody'"):
        players(tiny_world())("nobody")


def test_policies_act_alike_in_branches_of_the_same_past():
    nodes = [
        Node(name=name, player=players(tiny_world(), seed=2)(name), frames=9) for name in ("walk", "walk", "random")
    ]
    walk, again, other = expand_tree(tiny_world(), state_at(2), nodes, frame=tiny_starts().frames[2][-1]).branches
    np.testing.assert_array_equal(walk.frames, again.frames)
    assert not np.array_equal(walk.actions, other.actions)
