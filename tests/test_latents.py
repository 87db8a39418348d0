import json

import numpy as np
import pytest
import torch

from tests.worlds import tiny_tokenizer
from worldsim.datasets.episode import Episode
from worldsim.datasets.latents import STILL_EVERY, LatentClips, body_motion, build_latents, episode_rows
from worldsim.datasets.store import EpisodeStore, split_of
from worldsim.world import advance_pose


def episode(frames=41, seed=0):
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
        provenance={"seed": 0, "split": split_of(0)},
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
    assert index["names"] == ["e0", "e1", "e2"] and index["lengths"] == [20, 20, 20]
    clips = LatentClips(tmp_path / "latents", frames=8, batch=4, seed=1)
    first, again = clips(5), LatentClips(tmp_path / "latents", frames=8, batch=4, seed=1)(5)
    assert torch.equal(first.latents, again.latents) and torch.equal(first.actions, again.actions)
    # Every start is a still, and no clip crosses an episode.
    assert all(s % STILL_EVERY == 0 and s // 20 == (s + 7) // 20 for s in clips.starts)
    batch = clips.at(np.array([24]))
    e = store.read("e1")
    with torch.no_grad():
        frames = torch.from_numpy(e.frames[8:23]).permute(0, 3, 1, 2)[None].float() / 255
        expected = tokenizer.encode(frames)
    torch.testing.assert_close(batch.latents, expected, atol=2e-2, rtol=1e-2)
    assert batch.actions[0, 1, :, 0].tolist() == [8, 9]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="no train episodes"):
        build_latents(EpisodeStore(tmp_path / "s"), "train", tmp_path / "l", lambda x: x, 2)
    with pytest.raises(FileNotFoundError):
        LatentClips(tmp_path / "l", frames=4, batch=1)
