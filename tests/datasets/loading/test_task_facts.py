"""Facts of recorded episodes and of live play: which action they belong to, and that both ways tell the same."""

from dataclasses import fields

import numpy as np
import pytest

from tests.fake_engine import FakeEngine
from worldsim.datasets.loading.task_facts import FactsFollower, episode_facts, is_trunk, pieces_of_wood
from worldsim.datasets.store.episode import Episode
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.tasks import TASKS, find_task

FRAMES = 33


def infos(seed: int = 0) -> list[dict]:
    """A walk on which the player swims, looks at a tree and digs some trunk at frames 5, 6 and 20."""
    env = FakeEngine(0)
    _, info = env.reset(seed=seed)
    out = [info]
    for t in range(1, FRAMES):
        action = MINECRAFT.vector({"forward": t < 20, "back": t >= 20, "camera": (0.0, 1.0)})
        *_, info = env.step(action)
        node = {5: "default:tree", 6: "default:pine_tree", 7: "default:leaves", 20: "default:jungletree"}.get(t)
        out.append(
            info | {
                "events": [{"kind": "dig", "node": node}] if node else [{"kind": "place", "node": "default:tree"}],
                "node_feet": "default:water_source" if 10 <= t < 14 else "air",
                "tree_angle": 3.0 if t == 16 else 40.0,
            }
        )  # fmt: skip
    return [{"tree_angle": 180.0} | info for info in out]


def recorded(reported: list[dict]) -> Episode:
    return Episode(
        frames=np.zeros((len(reported), 8, 8, 3), np.uint8),
        actions=np.zeros((len(reported), MINECRAFT.size), np.float32),
        rewards=np.zeros(len(reported), np.float32),
        terminated=np.zeros(len(reported), bool),
        state={
            "position": np.array([i["position"] for i in reported], np.float32),
            "in_water": np.array(["water" in i["node_feet"] for i in reported]),
            "tree_angle": np.array([i["tree_angle"] for i in reported], np.float32),
        },
        events=[{**e, "frame": t} for t, i in enumerate(reported) for e in i["events"]],
        provenance={"engine": "luanti"},
    )  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_recorded_and_live_facts_are_the_same(chunk: int):
    reported = infos()
    facts, known = episode_facts(recorded(reported), chunk)
    assert known == {"position", "furthest", "sees_tree", "wood", "wet"}
    follower = FactsFollower(reported[0])
    live = [
        follower.facts,
        *(follower.advance(reported[t + 1 : t + 1 + chunk]) for t in range(0, FRAMES - chunk, chunk)),
    ]
    assert len(facts) == len(live) == (FRAMES - 1) // chunk + 1
    for f in fields(facts):
        together = np.concatenate([getattr(moment, f.name) for moment in live])
        np.testing.assert_allclose(getattr(facts, f.name), together, atol=1e-5, err_msg=f.name)


def test_what_happens_on_the_way_to_a_frame_belongs_to_the_chunk_that_leads_there():
    facts, _ = episode_facts(recorded(infos()), 2)
    # Chunk k leads from frame 2 (k - 1) to frame 2 k: frame 5 is inside chunk 3, frame 6 ends it.
    assert {k: n for k, n in enumerate(facts.wood.tolist()) if n} == {3: 2.0, 10: 1.0}
    assert np.flatnonzero(facts.wet).tolist() == [5, 6] and np.flatnonzero(facts.sees_tree).tolist() == [8]


def test_a_task_rewards_the_step_that_did_it():
    facts, _ = episode_facts(recorded(infos()), 2)
    before, after = facts.rows(slice(None, -1)), facts.rows(slice(1, None))
    verdicts = {name: task.judge(before, after, 0.1) for name, task in TASKS.items()}
    rewards, ends = verdicts["collect_wood"]
    assert {k: n for k, n in enumerate(rewards.tolist()) if n} == {2: 2.0, 9: 1.0} and not ends.any()
    rewards, ends = verdicts["look_at_tree"]
    assert np.flatnonzero(rewards).tolist() == np.flatnonzero(ends).tolist() == [7]
    rewards, ends = verdicts["survive"]
    assert np.flatnonzero(ends).tolist() == np.flatnonzero(rewards == 0).tolist() == [4, 5]
    rewards, _ = verdicts["explore"]
    # It walks away for 19 frames at 4 m/s, then back: what is walked twice earns nothing.
    assert rewards.sum() == pytest.approx(facts.furthest.max()) and (rewards[11:] == 0).all()
    rewards, _ = verdicts["climb_high"]
    assert rewards.sum() == facts.position[-1, 1] - facts.position[0, 1]


def test_points_of_a_game_belong_to_the_chunk_that_won_or_lost_them():
    rewards = np.zeros(FRAMES, np.float32)
    rewards[[4, 5, 19]] = 1, -1, -1  # on the ways to frames 5, 6 and 20
    episode = Episode(**{**vars(recorded(infos())), "rewards": rewards, "provenance": {"engine": "gymnasium"}})
    facts, known = episode_facts(episode, 1)
    assert known >= {"won", "lost"}
    assert np.flatnonzero(facts.won).tolist() == [5] and np.flatnonzero(facts.lost).tolist() == [6, 20]
    points, ends = TASKS["points"].judge(facts.rows(slice(None, -1)), facts.rows(slice(1, None)), 0.1)
    np.testing.assert_array_equal(points, rewards[:-1])
    assert not ends.any()
    in_pairs, _ = episode_facts(episode, 2)
    assert np.flatnonzero(in_pairs.won).tolist() == [3] and np.flatnonzero(in_pairs.lost).tolist() == [3, 10]


def test_unknown_truth_is_said_to_be_unknown():
    whole = recorded(infos())
    bare = Episode(**{**vars(whole), "state": {}, "provenance": {}})
    facts, known = episode_facts(bare, 2)
    assert not known and not facts.wet.any()


def test_trunks_are_told_from_leaves_and_planks():
    assert all(map(is_trunk, ("default:tree", "default:jungletree", "default:aspen_tree")))
    assert not any(map(is_trunk, ("default:leaves", "default:pine_wood", "default:acacia_bush_stem")))
    assert pieces_of_wood([{"kind": "place", "node": "default:tree"}, {"kind": "dig", "node": "default:tree"}]) == 1


def test_unknown_tasks_are_told():
    with pytest.raises(ValueError, match="unknown task 'fly'; known: explore"):
        find_task("fly")
