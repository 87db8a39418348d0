"""Depth, pose and camera against pictures of a room whose geometry is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.checks.test_check import ABOUT, check, kinds
from worldsim.datasets.checks.reprojection import measure_reprojection, reproject
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import INVERSE_DEPTH_STEPS, Camera

CAMERA = Camera(vertical_fov=70.0, eye_height=1.5, near=0.1, far=100.0)
HEIGHT, WIDTH, ROOM = 36, 64, 6.0


def see(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and inverse depth in steps, from inside a box of 12 m whose walls have a smooth pattern."""
    yaw, pitch = np.radians(pose[3:])
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    ahead = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    down = np.cross(ahead, right) * -1
    focal = CAMERA.focal_pixels(HEIGHT)
    across = (np.arange(WIDTH) - (WIDTH - 1) / 2) / focal
    below = (np.arange(HEIGHT) - (HEIGHT - 1) / 2) / focal
    rays = across[:, None] * right + below[:, None, None] * down + ahead
    eye = pose[:3]
    walls = (np.sign(rays) * ROOM - eye) / np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    distance = walls.min(-1)
    points = eye + distance[..., None] * rays
    colour = 127 + 60 * np.sin(points @ np.array([[1.7, 0.3, 0.9], [0.4, 1.9, 0.7], [1.1, 0.8, 1.3]]))
    return colour.astype(np.uint8), np.rint(INVERSE_DEPTH_STEPS / distance).astype(np.uint16)


def walk(frames: int, seed: int = 0) -> np.ndarray:
    """Poses (F, 5) of somebody who strolls and looks about by jerks."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((frames, 5))
    for t in range(1, frames):
        step = rng.normal(0, (0.25, 0.05, 0.25, 2.0, 1.0)) * np.array([1, 1, 1, t % 3 == 0, t % 3 == 0])
        poses[t] = poses[t - 1] * np.array([0.98, 0.98, 0.98, 1, 0.95]) + step
    return poses


def room_episode(seed: int, frames: int = 280, *, stride: float = 1.0) -> Episode:
    poses = walk(frames, seed) * np.array([stride, stride, stride, 1, 1])
    pictures, depths = map(np.stack, zip(*map(see, poses), strict=True))
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:-1, -2:] = np.diff(poses[:, [4, 3]], axis=0)
    state = {"position": poses[:, :3], "yaw": poses[:, 3], "pitch": poses[:, 4]}
    return Episode(
        frames=pictures,
        actions=actions,
        rewards=np.zeros(frames, np.float32),
        terminated=np.zeros(frames, bool),
        state={**{k: v.astype(np.float32) for k, v in state.items()}, "depth": depths},
        provenance={**ABOUT, "seed": seed, "split": split_of(seed), "camera": CAMERA.to_json()},
    )


def test_a_view_drawn_from_another_pose_is_what_is_seen_there():
    before, after = np.array([0.0, 0, 0, 10, 0]), np.array([0.6, 0.1, -0.4, 22, -6])
    (frame, _), (expected, depth) = see(before), see(after)
    drawn, covered = reproject(frame, depth, before, after, CAMERA)
    assert 0.5 < covered.mean() < 1
    assert np.abs(drawn - expected)[covered].mean() < 2 < np.abs(frame.astype(float) - expected)[covered].mean() / 5


def test_rotation_alone_needs_no_depth():
    before, after = np.array([1.0, 0, 2, 170, 5]), np.array([1.0, 0, 2, -178, -3])
    (frame, _), (expected, _) = see(before), see(after)
    drawn, covered = reproject(frame, np.zeros((HEIGHT, WIDTH), np.uint16), before, after, CAMERA)
    assert np.abs(drawn - expected)[covered].mean() < 2


def test_nothing_is_measured_where_nothing_moves():
    frame, depth = see(np.zeros(5))
    still = measure_reprojection(np.stack([frame] * 5), np.stack([depth] * 5), np.zeros((5, 5)), CAMERA)
    assert still.pairs == 0 and still.mistake() == ""


def test_the_store_of_a_true_recording_passes_and_says_by_how_much(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(room_episode(0, 64), "a")
    report = check(store)
    assert "depth" not in kinds(report)
    [note] = [f.message for f in report.findings if f.kind == "depth"]
    assert "nearer to the next than repeated ones" in note


@pytest.mark.slow
@pytest.mark.parametrize(("lag", "word"), [(1, "late"), (-1, "early")])
def test_depth_of_the_frame_before_or_after_is_noticed(tmp_path: Path, lag: int, word: str):
    store = EpisodeStore(tmp_path)
    for seed in range(4):
        episode = room_episode(seed)
        depth = np.roll(episode.state["depth"], lag, 0)
        store.append(dataclasses.replace(episode, state={**episode.state, "depth": depth}), f"e{seed}")
    [message] = [f.message for f in check(store).findings if f.kind == "depth" and f.severity == "failure"]
    assert f"one frame {word}" in message


def test_a_turned_sign_of_yaw_makes_reprojection_worse_than_repeating(tmp_path: Path):
    store, episode = EpisodeStore(tmp_path), room_episode(0, 64, stride=0.1)
    store.append(dataclasses.replace(episode, state={**episode.state, "yaw": -episode.state["yaw"]}), "a")
    assert "depth" in kinds(check(store))


def test_damaged_depth_and_an_impossible_camera_are_told(tmp_path: Path):
    store, episode = EpisodeStore(tmp_path), room_episode(0, 64)
    bad = {**episode.provenance, "camera": {**CAMERA.to_json(), "vertical_fov": 200}}
    store.append(dataclasses.replace(episode, provenance=bad), "camera")
    store.append(episode, "damaged")
    shard = next((tmp_path / "episodes" / "damaged" / "arrays" / "state" / "depth" / "c").rglob("0/0/0"))
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    report = check(store)
    assert kinds(report) >= {"impossible values", "damage"}
    assert any("vertical_fov" in f.message for f in report.findings)
