"""Batches that depth completion learns from, and which episodes they come from."""

from dataclasses import replace

import pytest
import torch

from tests.training.memory.walks import HEIGHT, ROWS, WIDTH, episode, walk, walks
from worldsim.datasets.governance.provenance import ALL
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError
from worldsim.simulation.memory.depth import encode_depth
from worldsim.training.memory.depth import evidence, moved
from worldsim.training.memory.depth_examples import Walks, choose_episodes, read_walks
from worldsim.training.memory.depth_losses import reprojection_error
from worldsim.training.memory.drawings import drawing_of

TRAIN = [seed for seed in range(200) if split_of(seed) == "train"]
TEST = next(seed for seed in range(200) if split_of(seed) == "test")
VALIDATION = next(seed for seed in range(200) if split_of(seed) == "validation")


def test_a_batch_follows_from_seed_and_step_alone():
    some = walks(count=1, frames=40)
    one, again, next_step, other = (some.batch(*key, 4) for key in ((3, 7), (3, 7), (3, 8), (4, 7)))
    assert torch.equal(one.pictures, again.pictures) and torch.equal(one.other_poses, again.other_poses)
    assert not torch.equal(one.pictures, next_step.pictures) and not torch.equal(one.pictures, other.pictures)


def test_pictures_others_and_depth_belong_together_mirrored_or_not():
    some = walks(count=1, frames=40)
    seen = set()
    for step in range(6):
        batch = some.batch(0, step, 4)
        seen.add(bool((batch.pictures[0] != some.walks[0].frames).flatten(1).any(1).all()))
        assert batch.inverse_depth is not None
        near = (batch.pictures, batch.poses, batch.others, batch.other_poses)
        error, inside = reprojection_error(some.lens, encode_depth(batch.inverse_depth), *near, ROWS)
        assert error[:, :, :ROWS][inside[:, :, :ROWS]].median() < 0.03
    # Both kinds were among them.
    assert seen == {False, True}


def test_sources_are_earlier_frames_the_newest_first():
    some = walks(count=1, frames=60)
    sources = some.sources([(0, 50), (0, 40)], [[30, 1, 7], [5]], 3)
    assert sources.taken.tolist() == [[49, 43, 20], [35, -1, -1]]
    assert torch.equal(sources.pictures[0, 1], some.walks[0].frames[43])
    assert not sources.confidence[:, :, ROWS:].any() and not sources.confidence[1, 1:].any()
    drawn = drawing_of(some.lens, sources, some.walks[0].poses[[50, 40]], some.fixed)
    true = some.depth([(0, 50), (0, 40)])
    assert true is not None and not drawn.covered[:, ROWS:].any() and drawn.covered.float().mean() > 0.3
    assert (encode_depth(drawn.inverse_depth) - encode_depth(true)).abs()[drawn.covered].median() < 0.03


def test_evidence_needs_a_camera_that_moves_and_is_against_the_overlay():
    some = walks(count=1, frames=40)
    batch = some.batch(0, 0, 4)
    assert batch.inverse_depth is not None
    code = encode_depth(batch.inverse_depth)
    error, known = evidence(some.lens, code, batch.pictures, batch.poses, batch.others, batch.other_poses, ROWS)
    assert known[:, 0, ROWS:].all() and torch.isinf(error[:, 0, ROWS:]).all()
    assert error[:, :, :ROWS][known[:, :, :ROWS]].median() < 0.03
    still = batch.poses[:, None].expand(-1, 2, -1)
    _, known = evidence(some.lens, code, batch.pictures, batch.poses, batch.others, still, ROWS)
    assert not known[:, 0, :ROWS].any()


def test_turning_past_the_end_of_the_circle_is_a_small_turn():
    here = torch.tensor([0.0, 0, 0, 359.8, 0])
    assert not moved(here, torch.tensor([0.0, 0, 0, 0.2, 0]))
    assert moved(here, torch.tensor([0.0, 0, 0, 2.0, 0])) and moved(here, here + torch.tensor([0, 0.2, 0, 0, 0]))


@pytest.fixture
def store(tmp_path) -> EpisodeStore:
    return EpisodeStore(tmp_path)


def test_held_out_maps_are_judged_by_and_episodes_without_depth_left_out(store):
    one = walk(3)
    store.append(episode(one, "train", TRAIN[0]), "a")
    store.append(episode(one, "train", TRAIN[1], depth=False), "b")
    store.append(episode(one, "train", TRAIN[2]), "c")
    assert choose_episodes(store, ALL) == (["a"], ["c"], True)
    store.append(episode(one, "test", TEST), "d")
    assert choose_episodes(store, ALL) == (["a", "c"], ["d"], True)
    store.append(episode(one, "validation", VALIDATION), "e")
    assert choose_episodes(store, ALL) == (["a", "c"], ["e"], True)


def test_a_store_without_depth_is_taken_as_it_is_and_one_map_is_too_few(store):
    store.append(episode(walk(3), "train", TRAIN[0], depth=False), "a")
    with pytest.raises(UserError, match="two maps or more"):
        choose_episodes(store, ALL)
    store.append(episode(walk(3), "train", TRAIN[1], depth=False), "b")
    assert choose_episodes(store, ALL) == (["a"], ["b"], False)


def test_memory_is_bounded(store):
    for number in range(4):
        store.append(episode(walk(10), "train", TRAIN[number]), f"w{number}")
    size = 10 * HEIGHT * WIDTH * 5
    taken = read_walks(store, store.names(), depth=True, megabytes=1.5 * size / 1e6)
    assert len(taken.walks) == 2 and len(taken) == 20
    everything = read_walks(store, store.names(), depth=True)
    assert sorted(everything.names) == store.names()
    assert everything.place(0) == (0, 0) and everything.place(39) == (3, 9) and everything.place(10) == (1, 0)


def test_walks_of_several_sizes_and_none_are_refused():
    one = walk(3)
    with pytest.raises(UserError, match="several cameras or sizes"):
        Walks([one, replace(one, frames=one.frames[:, :16])], ["a", "b"])
    with pytest.raises(UserError, match="no recorded walk"):
        Walks([], [])
