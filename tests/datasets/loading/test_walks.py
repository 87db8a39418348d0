"""An episode as pictures, poses and depth."""

import numpy as np
import pytest

from worldsim.datasets.loading.walks import read_walk
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.spec.camera import MINECRAFT_CAMERA


def _episode(**without: None) -> Episode:
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    state = {
        "position": np.arange(15, dtype=np.float32).reshape(5, 3),
        "yaw": np.arange(5, dtype=np.float32),
        "pitch": -np.arange(5, dtype=np.float32),
        "depth": np.full((5, 32, 48), 2048, np.uint16),
    }
    return Episode(
        frames=frames,
        actions=np.arange(5 * 22, dtype=np.float32).reshape(5, 22),
        rewards=np.zeros(5, np.float32),
        terminated=np.zeros(5, bool),
        state={key: value for key, value in state.items() if key not in without},
        provenance={"camera": MINECRAFT_CAMERA.to_json(), "fps": 20, "split": "train"},
    )


def test_a_walk_has_poses_in_order_and_depth_in_inverse_metres(tmp_path):
    store = EpisodeStore(tmp_path)
    store.append(_episode(), "a")
    walk = read_walk(store, "a")
    assert walk.poses[3].tolist() == [9, 10, 11, 3, -3]
    assert bool((walk.inverse_depth == 0.5).all())
    assert np.array_equal(walk.frames.numpy(), _episode().frames)
    assert walk.actions[2, 5] == 2 * 22 + 5
    assert walk.camera == MINECRAFT_CAMERA and len(walk) == 5


def test_depth_is_left_out_where_nobody_asks(tmp_path):
    store = EpisodeStore(tmp_path)
    store.append(_episode(depth=None), "a")
    assert read_walk(store, "a", depth=False).inverse_depth is None
    with pytest.raises(UserError, match="without depth"):
        read_walk(store, "a")


def test_an_episode_without_poses_is_refused(tmp_path):
    store = EpisodeStore(tmp_path)
    store.append(_episode(yaw=None), "a")
    with pytest.raises(UserError, match="without yaw"):
        read_walk(store, "a")
