"""Counterfactual trees: equal actions part by nothing, branches do not know of each other, a tree is its branches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_world import HEIGHT, WIDTH, tiny_starts, tiny_world
from worldsim.datasets.store.episode import Episode
from worldsim.scripting.tokens import ScriptError
from worldsim.simulation.branch_tree import Node, nodes_of
from worldsim.simulation.branching import Tree, expand_tree, prefill_context
from worldsim.spec.actions import MINECRAFT

PAST = (tiny_starts().frames[0], tiny_starts().actions[0])


def held(frames: int, yaw: float) -> np.ndarray:
    return np.tile(MINECRAFT.vector({"forward": 1, "camera": (0, yaw)}), (frames, 1))


def grown(*items: Any, seed: int = 3) -> Tree:
    world = tiny_world()
    state, frame = prefill_context(world, PAST, seed)
    return expand_tree(world, state, nodes_of(items, world.spec, world.config.fps), frame=frame)


@pytest.mark.parametrize("trunk", [4, 3])
def test_equal_actions_never_part_at_any_depth_and_others_part_where_they_differ(trunk: int):
    tree = grown(
        (held(trunk, 1), [(held(5, 2), [held(3, 4), held(3, 4), held(3, -4)]), (held(5, 2), [held(3, 4)])]),
        (held(trunk, 1), [(held(5, 2), [held(3, 4)])]),
    )
    first, equal, other, cousin, stranger = tree.branches
    for same in (equal, cousin, stranger):
        np.testing.assert_array_equal(first.frames, same.frames)
        np.testing.assert_array_equal(first.rewards, same.rewards)
        np.testing.assert_array_equal(first.pose, same.pose)
        for name, tensor in first.state.tensors().items():
            assert tensor.equal(same.state.tensors()[name]), name
    parted = np.abs(first.frames.astype(int) - other.frames).max((1, 2, 3))
    # Chunks of two frames: what is common to all chunks before the first different action.
    common = (trunk + 5) // 2 * 2
    assert not parted[:common].any() and (parted[common:] > 0).all()


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_tree_is_its_branches_one_by_one(data: st.DataObject):
    def entry(depth: int) -> st.SearchStrategy[Any]:
        piece = st.builds(held, st.integers(1, 4), st.sampled_from([-3.0, 0.0, 3.0]))
        if depth == 0:
            return piece
        return piece | st.tuples(piece, st.lists(entry(depth - 1), min_size=1, max_size=2))

    def paths(item: Any, before: list[np.ndarray]) -> list[np.ndarray]:
        here, follow = item if isinstance(item, tuple) else (item, [])
        done = [*before, here]
        return [p for below in follow for p in paths(below, done)] if follow else [np.concatenate(done)]

    items = data.draw(st.lists(entry(2), min_size=1, max_size=2))
    tree = grown(*items)
    flat = [path for item in items for path in paths(item, [])]
    assert len(flat) == len(tree.branches)
    for path, branch in zip(flat, tree.branches, strict=True):
        alone = grown(path).branches[0]
        np.testing.assert_array_equal(branch.actions[: len(path)], path)
        assert not branch.actions[len(path) :].any()
        np.testing.assert_array_equal(branch.frames[: len(alone.frames)], alone.frames)
        np.testing.assert_array_equal(branch.rewards[: len(alone.rewards)], alone.rewards)


def test_a_sibling_changes_nothing():
    one = grown((held(4, 1), [held(4, 2)]))
    two = grown((held(4, 1), [held(2, -3), held(4, 2), held(6, 5)]))
    np.testing.assert_array_equal(one.branches[0].frames, two.branches[1].frames[:8])
    np.testing.assert_array_equal(one.branches[0].pose, two.branches[1].pose[:4])


def test_stretches_tell_who_follows_whom_and_which_frames_are_theirs():
    tree = grown(("forward 3", ["yaw +10 x 5", ("back 2", ["jump 2"])]), "wait 4")
    assert [(s.name, s.parent, s.first, s.last) for s in tree.segments] == [
        ("forward 3", -1, 0, 3),
        ("yaw +10 x 5", 0, 3, 8),
        ("back 2", 0, 3, 5),
        ("jump 2", 2, 5, 7),
        ("wait 4", -1, 0, 4),
    ]
    assert [branch.segments for branch in tree.branches] == [(0, 1), (0, 2, 3), (4,)]
    assert [branch.name for branch in tree.branches] == [
        "forward 3, yaw +10 x 5",
        "forward 3, back 2, jump 2",
        "wait 4",
    ]
    assert {branch.frames.shape for branch in tree.branches} == {(8, HEIGHT, WIDTH, 3)}


def test_the_api_is_short_and_a_branch_is_a_past_for_others():
    world = tiny_world()
    a, b = world.branch(PAST, ["forward 4", ("forward 2", ["yaw +20 x 4"])], seed=5)
    assert a.frames.shape == b.frames.shape == (6, HEIGHT, WIDTH, 3) and a.rewards.shape == (3,)
    on, again = world.branch(a.state, ["back 2", "back 2"])
    np.testing.assert_array_equal(on.frames, again.frames)
    through = world.branch(PAST, ["forward 4; wait 2; back 2"], seed=5)[0]
    np.testing.assert_array_equal(through.frames[6:], on.frames)
    # The same past from an episode, whose last action leads beyond it, and without the actions.
    frames, actions = PAST
    episode = Episode(
        frames=frames,
        actions=np.concatenate([actions, actions[:1]]),
        rewards=np.zeros(len(frames), np.float32),
        terminated=np.zeros(len(frames), bool),
    )
    np.testing.assert_array_equal(world.branch(episode, ["forward 4"], seed=5)[0].frames, a.frames[:4])
    assert not np.array_equal(world.branch(frames, ["forward 4"], seed=5)[0].frames, a.frames[:4])
    assert not np.array_equal(world.branch(PAST, ["forward 4"], seed=6)[0].frames, a.frames[:4])


class Countdown:
    """Turns by how many frames it has played; stops after ``stop`` of them."""

    def __init__(self, stop: int):
        self.played, self.stop = 0, stop

    def choose(self, state, frame, count):
        assert frame is not None and frame.shape == (HEIGHT, WIDTH, 3)
        some = [held(1, self.played + i)[0] for i in range(min(count, self.stop - self.played))]
        self.played += len(some)
        return np.array(some).reshape(-1, MINECRAFT.size)


@pytest.mark.parametrize(("stop", "frames"), [(99, 5), (3, 99), (4, 99)])
def test_players_play_until_they_finish_or_their_time_is_over(stop: int, frames: int):
    node = Node(name="count", player=lambda: Countdown(stop), frames=frames)
    tree = grown((held(1, 9), [(node, [held(2, -1)]), node]))
    played = min(stop, frames)
    wanted = np.concatenate([held(1, 9), *(held(1, i) for i in range(played)), held(2, -1)])
    np.testing.assert_array_equal(tree.branches[0].actions[: len(wanted)], wanted)
    np.testing.assert_array_equal(tree.branches[1].actions[: 1 + played], wanted[: 1 + played])
    alone = grown(wanted)
    np.testing.assert_array_equal(tree.branches[0].frames, alone.branches[0].frames)


def test_a_judge_gives_rewards_until_the_end():
    class Judge:
        def facts(self, state):
            return int(state.steps[0])

        def judge(self, before, state, out, actions):
            assert int(state.steps[0]) == before + 1 and actions.shape == (1, 2, MINECRAFT.size)
            return np.array([before + 1.0], np.float32), np.array([before == 2])

    one, two = tiny_world().branch(PAST, [("wait 2", ["wait 8", "forward 2"])], judge=Judge())
    assert one.rewards.tolist() == two.rewards.tolist() == [1, 2, 3, 0, 0] and one.ended == 6


def test_mistakes_are_told():
    world = tiny_world()
    with pytest.raises(ScriptError, match="line 1, column 1: unknown key 'fly'"):
        world.branch(PAST, [("forward 2", ["fly 2"])])
    for wrong, message in [
        ([], "at least one entry"),
        ("forward 2", "a list of scripts"),
        ([3], "got int"),
        ([np.zeros((2, 3), np.float32)], r"\(F, 22\)"),
        ([np.full((2, 22), np.nan, np.float32)], "finite"),
        ([("forward 2", ["back 1"], 3)], "got 3 parts"),
    ]:
        with pytest.raises(ValueError, match=message):
            world.branch(PAST, wrong)
    with pytest.raises(ValueError, match="a past is uint8 frames"):
        world.branch(PAST[0].astype(float), ["wait 2"])
    with pytest.raises(ValueError, match="need 4 actions"):
        world.branch((PAST[0], PAST[1][:2]), ["wait 2"])
