import json
import shutil

import numpy as np
import pytest
import torch

from tests.tiny_world import tiny_tokenizer
from worldsim.datasets.governance.withdrawal import withdraw
from worldsim.datasets.loading.latent_build import body_motion, build_latents, episode_rows, is_current
from worldsim.datasets.loading.latent_cache import STILL_EVERY, LatentCache
from worldsim.datasets.loading.latents import LatentClips
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.spec.pose import advance_pose


def episode(frames=41, seed=0, **about):
    rng = np.random.default_rng(seed)
    position = np.cumsum(rng.normal(size=(frames, 3)), 0).astype(np.float32)
    yaw = np.cumsum(rng.normal(size=frames) * 20).astype(np.float32)
    actions = rng.normal(size=(frames, 22)).astype(np.float32)
    actions[:, 0] = np.arange(frames)  # tells which action it is
    return Episode(
        frames=rng.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8),
        actions=actions,
        rewards=np.zeros(frames, np.float32),
        terminated=np.arange(frames) == frames - 1,
        state={"position": position, "yaw": yaw, "pitch": np.zeros(frames, np.float32)},
        provenance={"seed": 0, "split": split_of(0), **about},
    )


def test_motion_inverts_the_pose_integration():
    e = episode()
    motion = torch.from_numpy(body_motion(e.state["position"], e.state["yaw"], e.state["pitch"]))
    pose = torch.tensor([[*e.state["position"][0], e.state["yaw"][0], 0.0]])
    for step in motion:
        pose = advance_pose(pose, step[None])
    torch.testing.assert_close(pose[0, :3], torch.from_numpy(e.state["position"][-1]), atol=1e-3, rtol=0)


def test_latent_k_is_caused_by_its_own_actions():
    rows = episode_rows(episode(), chunk=2)
    assert rows["actions"][0].sum() == 0
    for k in range(1, 21):
        assert rows["actions"][k, :, 0].tolist() == [2 * k - 2, 2 * k - 1]
    assert rows["terminated"][-1] == 1 and rows["terminated"][:-1].sum() == 0


def test_clips_are_the_encoded_frames_and_begin_with_a_still(tmp_path):
    store, tokenizer = EpisodeStore(tmp_path / "store"), tiny_tokenizer()
    for i in range(3):
        store.append(episode(seed=i), f"e{i}")

    def encode(chunks):
        return tokenizer.encode_chunks(chunks.permute(0, 1, 2, 5, 3, 4).float() / 255)

    build_latents(store, "train", tmp_path / "latents", encode, 2)
    index = json.loads((tmp_path / "latents" / "index.json").read_text())
    assert index["names"] == ["e0", "e1", "e2"] and index["lengths"] == [21, 21, 21]
    clips = LatentClips(tmp_path / "latents", frames=8, batch=4, seed=1)
    first, again = clips(5), LatentClips(tmp_path / "latents", frames=8, batch=4, seed=1)(5)
    assert torch.equal(first.latents, again.latents) and torch.equal(first.actions, again.actions)
    # Every start is a still, and no clip crosses an episode.
    assert all(s % 21 % STILL_EVERY == 0 and s // 21 == (s + 7) // 21 for s in clips.starts)
    batch = clips.at(np.array([25]))
    e = store.read("e1")
    with torch.no_grad():
        frames = torch.from_numpy(e.frames[8:23]).permute(0, 3, 1, 2)[None].float() / 255
        expected = tokenizer.encode(frames)
    torch.testing.assert_close(batch.latents, expected, atol=2e-2, rtol=1e-2)
    assert batch.actions[0, 1, :, 0].tolist() == [8, 9]


def encode(chunks):
    """Stands for a tokenizer: the mean of each 8x8 cell."""
    return chunks.float().mean((2, 5)).unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).mean((-1, -3))[:, :, None]


def test_a_grown_store_encodes_only_what_is_new(tmp_path):
    store, seen = EpisodeStore(tmp_path / "store"), []

    def watched(chunks):
        seen.append(chunks.shape[1])
        return encode(chunks)

    store.append(episode(seed=1), "b")
    build_latents(store, "train", tmp_path / "l", watched, 2, tokenizer="x")
    before, once = LatentCache(tmp_path / "l").episode(0), len(seen)
    store.append(episode(seed=2), "a")
    build_latents(store, "train", tmp_path / "l", watched, 2, tokenizer="x")
    cache = LatentCache(tmp_path / "l")
    assert len(seen) == 2 * once and cache.index["names"] == ["a", "b"]
    assert all(np.array_equal(before[name], value) for name, value in cache.episode(1).items())
    build_latents(store, "train", tmp_path / "l", watched, 2, tokenizer="another")
    assert len(seen) == 4 * once


def test_the_cache_follows_the_store(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for i, name in enumerate("abc"):
        store.append(episode(seed=i), name)
    folder = tmp_path / "l"
    build_latents(store, "train", folder, encode, 2, tokenizer="x", wanted=["a", "b"])
    assert is_current(folder, store, ["a", "b"], "x") and not is_current(folder, store, ["a", "b"], "y")
    assert not is_current(folder, store, ["a"], "x") and not is_current(folder, store, ["a", "b", "c"], "x")
    build_latents(store, "train", folder, encode, 2, tokenizer="x")
    assert LatentClips(folder, frames=4, batch=1).names == ["a", "b", "c"]
    # An episode that was withdrawn goes, one that was replaced is encoded anew.
    withdraw(store, "a", "the player asked for it")
    shutil.rmtree(store.path / "episodes" / "b")
    store = EpisodeStore(store.path)
    store.append(episode(seed=9), "b")
    assert not is_current(folder, store, ["b", "c"], "x")
    before = LatentCache(folder).episode(1)["latents"].copy()
    build_latents(store, "train", folder, encode, 2, tokenizer="x")
    cache = LatentCache(folder)
    assert cache.index["names"] == ["b", "c"] and not np.array_equal(cache.episode(0)["latents"], before)


def test_pictures_are_clips_of_one_latent(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for i in range(3):
        store.append(episode(frames=1, seed=i), f"e{i}")
    build_latents(store, "train", tmp_path / "l", encode, 2)
    clips = LatentClips(tmp_path / "l", frames=1, batch=2)
    for i in range(3):
        picture = torch.from_numpy(store.read(f"e{i}").frames)[None].expand(1, 2, -1, -1, -1)[None].float()
        torch.testing.assert_close(clips.at(np.array([i])).latents, encode(picture[0][:, None]), atol=0.1, rtol=1e-2)


def test_clips_know_what_was_not_recorded(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    store.append(episode(), "a")
    store.append(episode(actions="unknown"), "b")
    plain = episode()
    store.append(Episode(**{**vars(plain), "state": {}}), "c")
    build_latents(store, "train", tmp_path / "l", encode, 2)
    batch = LatentClips(tmp_path / "l", frames=4, batch=1).at(np.array([0, 21, 42]))
    assert batch.known is not None and batch.known.tolist() == [True, False, True]
    assert batch.posed is not None and batch.posed.tolist() == [True, True, False]


def test_drawings_go_with_their_latents_and_limit_where_clips_begin(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for i, name in enumerate("abc"):
        store.append(episode(seed=i), name)
    build_latents(store, "train", tmp_path / "l", encode, 2)
    cache = LatentCache(tmp_path / "l")
    channels = cache.arrays["latents"].shape[1]
    # Of a all 21 latent frames, of b the first 13, of c none: each says which row of the cache it is, what is shown as
    # far behind zero.
    sign = np.array([1] * (channels + 1) + [-1] * channels, np.float16)[:, None, None]
    drawn = {
        n: (first + np.arange(rows, dtype=np.float16))[:, None, None, None] * sign
        for n, first, rows in (("a", 0, 21), ("b", 21, 13))
    }
    clips = LatentClips(tmp_path / "l", frames=8, batch=4, drawn=drawn)
    assert clips.names == ["a", "b"] and clips.starts.tolist() == [0, 4, 8, 12, 21, 25]
    batch = clips.at(np.array([4, 25]))
    assert batch.drawn is not None and batch.shown is not None
    assert batch.drawn.shape[2] == channels + 1 and batch.shown.shape[2] == channels
    for of, factor in ((batch.drawn, 1), (batch.shown, -1)):
        numbers = factor * of.flatten(2)
        assert numbers[..., 0].tolist() == [list(range(4, 12)), list(range(25, 33))]
        assert torch.equal(numbers, numbers[..., :1].expand_as(numbers))
    assert torch.equal(
        batch.latents[:, 1:], torch.from_numpy(cache.arrays["latents"][[range(5, 12), range(26, 33)]]).float()
    )


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="no train episodes"):
        build_latents(EpisodeStore(tmp_path / "s"), "train", tmp_path / "l", lambda x: x, 2)
    with pytest.raises(FileNotFoundError):
        LatentClips(tmp_path / "l", frames=4, batch=1)
