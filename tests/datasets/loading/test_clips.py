import os
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.store.test_store import make_deep, make_episode
from tests.timing import wait_until
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """Three train episodes (one of them too short for clips of 20 frames), and one for validation."""
    out = EpisodeStore(tmp_path)
    for name, seed, frames in (("a", 0, 50), ("b", 12, 33), ("c", 24, 9), ("v", 1, 40)):
        out.append(marked(frames, seed), name)
    return out


def marked(frames: int, seed: int) -> Episode:
    """Every array tells the seed of its episode and its own frame number."""
    base, time = make_episode(frames, seed=seed), np.arange(frames)
    base.frames[:] = time[:, None, None, None]
    base.frames[..., 2] = seed
    base.actions[:] = 100 * seed + time[:, None]
    base.state["position"][:] = 100 * seed + time[:, None]
    return base


def test_no_clip_crosses_an_episode_and_alignment_holds(store: EpisodeStore):
    sampler = ClipSampler(store, "train", frames=20)
    for clip in range(len(sampler)):
        part = sampler.read(clip)
        time, seed = part.frames[:, 0, 0, 0].astype(int), part.frames[:, 0, 0, 2].astype(int)
        assert len(set(seed)) == 1 and (np.diff(time) == 1).all()
        np.testing.assert_array_equal(part.actions[:, 0], 100 * seed + time)
        np.testing.assert_array_equal(part.state["position"][:, 0], 100 * seed + time)


def test_every_position_of_every_long_enough_episode_of_the_split_is_a_clip_once(store: EpisodeStore):
    sampler = ClipSampler(store, "train", frames=20)
    places = [sampler.locate(clip) for clip in range(len(sampler))]
    assert places == [("a", start) for start in range(31)] + [("b", start) for start in range(14)]


def test_only_episodes_that_fit_are_drawn(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    for name, seed, licence in (("a", 0, "CC0-1.0"), ("b", 12, "CC-BY-4.0"), ("c", 24, "CC0-1.0"), ("v", 1, "MIT")):
        store.append(make_episode(30, seed=seed, licence=licence), name)
    sampler = ClipSampler(store, "train", frames=20, batch=40, only=EpisodeFilter(licence="CC0*"))
    assert sampler.names == ["a", "c"] and len(sampler) == 22
    assert {sampler.locate(int(clip))[0] for clip in sampler.draw(0)} == {"a", "c"}
    with pytest.raises(UserError, match=r"no validation episode .* fits licence=CC0"):
        ClipSampler(store, "validation", frames=20, only=EpisodeFilter(licence="CC0*"))


def test_draws_are_uniform_over_positions(store: EpisodeStore):
    sampler = ClipSampler(store, "train", frames=20, batch=100, seed=3)
    counts = np.bincount(np.concatenate([sampler.draw(i) for i in range(90)]), minlength=len(sampler))
    assert len(counts) == 45 and counts.min() > 140 and counts.max() < 260


def test_batches_are_a_function_of_seed_and_index(store: EpisodeStore):
    a, b = (ClipSampler(EpisodeStore(store.path), "train", frames=20, batch=3, seed=5) for _ in range(2))
    stream = iter(a)
    first, second = next(stream), next(stream)
    np.testing.assert_array_equal(second["frames"], b[1]["frames"])
    np.testing.assert_array_equal(next(b.batches(start=1))["actions"], second["actions"])
    other = ClipSampler(store, "train", frames=20, batch=3, seed=6)[0]
    assert not np.array_equal(other["frames"], first["frames"])


def test_a_growing_store_does_not_change_a_sampler(store: EpisodeStore):
    sampler = ClipSampler(store, "train", frames=20, batch=8)
    before = sampler[0]["actions"]
    store.append(marked(60, 36), "aa")
    np.testing.assert_array_equal(sampler[0]["actions"], before)


def test_batches_have_the_promised_shapes(store: EpisodeStore):
    batch = ClipSampler(store, None, frames=20, batch=4)[0]
    assert batch["frames"].shape == (4, 20, 8, 12, 3) and batch["frames"].dtype == np.uint8
    assert batch["actions"].shape == (4, 20, 22) and batch["actions"].dtype == np.float32
    assert batch["state"]["position"].shape == (4, 20, 3) and len(batch["text"]) == 4


def test_splits_stay_apart(store: EpisodeStore):
    validation = ClipSampler(store, "validation", frames=20)
    assert validation.names == ["v"]
    assert not set(ClipSampler(store, "train", frames=5).names) & set(validation.names)


def test_too_long_clips_are_refused(store: EpisodeStore):
    with pytest.raises(ValueError, match="51 frames"):
        ClipSampler(store, "train", frames=51)
    with pytest.raises(ValueError, match="test"):
        ClipSampler(store, "test", frames=5)


def test_depth_is_read_where_it_is_asked_for(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_deep(40), "a")
    assert "depth" not in ClipSampler(store, None, frames=20, batch=2)[0]["state"]
    sampler = ClipSampler(store, None, frames=20, batch=2, depth=True)
    name, start = sampler.locate(int(sampler.draw(0)[1]))
    np.testing.assert_array_equal(sampler[0]["state"]["depth"][1], store.read(name, start, start + 20).state["depth"])


def test_a_process_forked_after_use_draws_the_same_clips(store: EpisodeStore):
    """Its parent's threads are not there: as in a DataLoader with workers, which forks after the first batch."""
    sampler = ClipSampler(store, "train", frames=20, batch=4, threads=2)
    expected = sampler[3]["frames"]
    child = os.fork()
    if child == 0:
        os._exit(0 if (sampler[3]["frames"] == expected).all() else 1)
    ended: list[tuple[int, int]] = []
    wait_until(lambda: ended or ((found := os.waitpid(child, os.WNOHANG))[0] and not ended.append(found)), "its end")
    assert ended == [(child, 0)]
