"""Scores of a dream against the engine: perfect for the engine itself, and each notices what it is there to notice."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.learned.tasks import StepInformation
from worldsim.evaluation.counterfactuals.branch_scores import (
    effect_agreement,
    effect_ratio,
    engine_reward,
    pose_from,
    score_branches,
)
from worldsim.evaluation.counterfactuals.engine_branches import Truth
from worldsim.evaluation.counterfactuals.engine_replays import Film
from worldsim.simulation.branch_tree import nodes_of
from worldsim.simulation.branching import Tree, expand_tree, prefill_context


def dreamed() -> Tree:
    world = tiny_world()
    state, _ = prefill_context(world, (tiny_starts().frames[0], tiny_starts().actions[0]), 1)
    return expand_tree(world, state, nodes_of(["forward 4", "yaw +40 x 4", "back 4"], world.spec, 20))


def film(frames: np.ndarray, pose: np.ndarray | None = None) -> Film:
    nothing = np.zeros((len(frames), 1), np.float32)
    return Film(frames=frames, actions=nothing, rewards=nothing[:, 0], pose=pose)


def poses(branch: Any, yaw: float = 0.0) -> np.ndarray:
    """What an engine would tell of a dreamed branch whose past ended at (5, 6, 7), looking at ``yaw``."""
    reported = np.repeat(branch.pose.astype(np.float64), 2, 0)
    turn = np.deg2rad(yaw)
    x, z = reported[:, 0].copy(), reported[:, 2].copy()
    reported[:, 0], reported[:, 2] = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    reported[:, 3] = (reported[:, 3] + yaw + 180) % 360 - 180
    return reported + [5, 6, 7, 0, 0]


def truth_of(tree: Tree, yaw: float = 130.0) -> Truth:
    past = film(tiny_starts().frames[0], np.tile([5.0, 6, 7, yaw, 0], (5, 1)))
    films = [film(branch.frames, poses(branch, yaw)) for branch in tree.branches]
    return Truth(past=past, branches=films, again=films[:2], drift=[0.0] * 5)


def test_a_dream_that_is_the_engine_scores_perfectly_in_any_direction():
    tree = dreamed()
    scores = score_branches(tree, truth_of(tree), chunk=2)
    assert scores["psnr"] == 60 and scores["repeat"] < 60 and scores["retrieval"] == 1
    assert scores["effect_ratio"] == pytest.approx(1) and scores["effect_agreement"] == pytest.approx(1)
    assert scores["effect_ratio_by_chunk"] == pytest.approx([1, 1]) and scores["chance"] == pytest.approx(
        1 / 3, abs=1e-3
    )
    assert scores["floor"] == {"branches": 2, "psnr": 60.0, "metres": 0.0}
    for one in scores["branches"]:
        assert one["found"] and one["metres"] < 1e-3 and one["degrees"] < 1e-3


def test_branches_that_are_mixed_up_are_not_found():
    tree = dreamed()
    truth = truth_of(tree)
    mixed = replace(truth, branches=[truth.branches[i] for i in (1, 0, 2)])
    scores = score_branches(tree, mixed, chunk=2)
    assert [one["found"] for one in scores["branches"]] == [False, False, True]
    assert scores["retrieval"] == pytest.approx(1 / 3, abs=1e-3) and scores["psnr"] < 60
    assert scores["branches"][0]["metres"] > 1e-3
    # Two branches that the engine shows alike cannot be told apart: either is right.
    alike = replace(truth, branches=[truth.branches[0], truth.branches[0], truth.branches[2]])
    assert score_branches(tree, alike, chunk=2)["branches"][0]["found"]


def test_a_dream_that_ignores_actions_has_no_effect_and_an_engine_without_effect_gives_no_ratio():
    rng = np.random.default_rng(0)
    engine = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    ignored = np.repeat(engine[:1], 3, 0)
    assert effect_ratio(ignored, engine) == 0 and effect_agreement(ignored, engine) == 0
    assert np.isnan(effect_ratio(engine, ignored)) and np.isnan(effect_agreement(engine, ignored))
    half = (engine // 2).astype(np.uint8)
    assert effect_ratio(half, engine) == pytest.approx(0.5, abs=0.02) and effect_agreement(half, engine) > 0.99


def test_engines_without_poses_are_scored_by_pictures_alone():
    tree = dreamed()
    truth = truth_of(tree)
    blind = replace(
        truth,
        past=replace(truth.past, pose=None),
        branches=[replace(f, pose=None) for f in truth.branches],
        again=[],
    )
    assert pose_from(blind.past, blind.branches[0]) is None
    scores = score_branches(tree, blind, chunk=2)
    assert scores["floor"] is None and "metres" not in scores["branches"][0] and scores["psnr"] == 60


def test_the_engine_is_rewarded_by_what_it_tells_until_the_task_ends():
    def reported(x: float, wet: bool = False, dug: int = 0) -> dict[str, Any]:
        events = [{"kind": "dig", "node": "default:tree"}] * dug
        feet = "default:water_source" if wet else "air"
        return {"position": np.array([x, 0.0, 0.0]), "yaw": 0.0, "pitch": 0.0, "node_feet": feet, "events": events}

    def shown(infos: list[dict[str, Any]]) -> Film:
        poses = np.array([[*info["position"], 0, 0] for info in infos])
        return replace(film(np.zeros((len(infos), 2, 2, 3), np.uint8), poses), infos=tuple(infos))

    past = shown([reported(90.0, dug=1), reported(100.0, dug=1)])
    branch = shown(
        [
            reported(101),
            reported(102, dug=1),
            reported(101, wet=True),
            reported(99, wet=True, dug=2),
            reported(110),
            reported(110),
        ]
    )
    earned = {task: engine_reward(past, branch, 2, task=task, fps=20) for task in (None, "collect_wood", "survive")}
    assert earned == {None: pytest.approx(10), "collect_wood": 3, "survive": pytest.approx(0.1)}
    assert engine_reward(past, branch, 2, task="goal: a tree", fps=20) is None


def five_for_a_loss(step: StepInformation) -> tuple[float, bool]:
    """A task that ends at a point of the opponent's, where nothing is known of poses."""
    assert not step.pose.any() and step.frames.shape == (2, 2, 2, 3)
    return step.after["won"] - 5 * step.after["lost"] + float(step.action[0, 0]), step.after["lost"] > 0


def test_an_engine_that_tells_points_alone_is_judged_by_them_or_by_a_function():
    nothing = film(np.zeros((8, 2, 2, 3), np.uint8))
    actions = np.array([1, 1, 0, 0, 0, 0, 1, 1], np.float32)[:, None]
    played = replace(nothing, actions=actions, rewards=np.array([1, 0, 2, 0, 0, -1, 1, 0], np.float32))
    function = "tests.evaluation.counterfactuals.test_branch_scores:five_for_a_loss"
    tasks = (None, "points", "explore", "survive", function)
    assert [engine_reward(nothing, played, 2, task=task, fps=15) for task in tasks] == [3, 3, None, None, -2]
    assert engine_reward(nothing, replace(played, ended=4), 2, task=function, fps=15) == 3
