"""The camera's path: a world that strays by a known amount, one that stays, and poses as a real memory counts them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_memory import remembering_world
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.part import Evaluation
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.parts.camera import CameraPath, camera_paths, camera_report, recorded_path, walked
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.pose import advance_pose

PART, PAST, CHUNKS, R = CameraPath(), 5, 10, 2
STEP = 0.1


def picture(z: Any) -> Any:
    """A picture (..., 16, 16, 3) that is told apart by where it was taken."""
    x = np.arange(16)[:, None] + np.arange(16)
    waves = np.sin(x[..., None] / 3 + np.asarray(z)[..., None, None, None] * 2)
    return (128 + 100 * waves).astype(np.uint8).repeat(3, -1)


class Straying:
    """Walks ``share`` of the way that the recorded player walks; shows what is seen from where its camera is."""

    chunk, spec, device = R, MINECRAFT, torch.device("cpu")

    def __init__(self, share: float):
        self.share, self.memory, self.config = share, object(), SimpleNamespace(fps=20)
        self.told: list[Any] = []

    def prefill(self, frames: Any, actions: Any, seeds: Any, **known: Any) -> Any:
        self.first = known["poses"][:, -1, 2]
        return SimpleNamespace(memory=SimpleNamespace(pose=torch.zeros(len(frames), 5)))

    def step(self, state: Any, actions: Any, inplace: bool = False, poses: Any = None) -> Any:
        self.told.append(poses)
        ahead = torch.zeros(len(actions), R, 5)
        ahead[..., 2] = state.memory.pose[:, None, 2] + self.share * STEP * torch.arange(1, R + 1)
        where = ahead if poses is None else poses
        frames = picture(self.first[:, None] + where[..., 2].numpy())
        return SimpleNamespace(memory=SimpleNamespace(pose=where[:, -1])), SimpleNamespace(frames=frames)


def clips(count: int = 4) -> Clips:
    """Players who walk ahead from different places."""
    frames = PAST + CHUNKS * R
    poses = np.zeros((count, frames, 5), np.float32)
    poses[..., 2] = STEP * np.arange(frames) + np.arange(count)[:, None]
    actions = np.zeros((count, frames - 1, MINECRAFT.size), np.float32)
    pitch = np.zeros((count, frames), np.float32)
    return Clips(frames=picture(poses[..., 2]), actions=actions, maps=np.arange(count), pitch=pitch, poses=poses)


def test_the_distance_is_what_the_world_strays_and_the_recorded_camera_gains_all_of_it():
    world: Any = Straying(0.5)
    found = camera_paths(world, clips(), PAST, CHUNKS, rows=3)
    gone = STEP * R * np.arange(1, CHUNKS + 1)
    np.testing.assert_allclose(found["gone"], np.tile(gone, (4, 1)), atol=1e-5)
    np.testing.assert_allclose(found["off"], found["gone"] / 2, atol=1e-5)
    assert (found["psnr/recorded"] > 45).all() and (found["psnr/own"] < 40).all()
    report = camera_report(found, np.arange(4))
    lost, gain = report["lost"]["10"]["value"], report["gain"]
    assert lost == pytest.approx(gain["recorded"]["10"]["value"] - gain["own"]["10"]["value"]) and lost > 10
    names = [entry.name for entry in PART.summary(report, EvalThresholds().goals)]
    assert "camera off the recorded one at chunk 10" in names and "PSNR lost by the camera's path at chunk 5" in names
    assert next(iter(PART.charts(report, 0.1))).unit == "m"
    # Its own camera first, then the recorded one, batch by batch.
    assert [told is None for told in world.told] == ([True] * CHUNKS + [False] * CHUNKS) * 2


def test_a_camera_that_goes_where_it_was_recorded_loses_nothing():
    world: Any = Straying(1.0)
    found = camera_paths(world, clips(), PAST, CHUNKS)
    assert found["off"].max() < 1e-5
    np.testing.assert_array_equal(found["psnr/own"], found["psnr/recorded"])


def test_recorded_poses_are_counted_from_the_end_of_the_past_as_a_memory_counts_them():
    generator = torch.Generator().manual_seed(0)
    motion = torch.randn(PAST + CHUNKS * R - 1, 3, 5, generator=generator) * torch.tensor([0.2, 0.1, 0.1, 30, 5])
    world = remembering_world()
    places = [torch.tensor([[5.0, 1, -3, 170, 10], [0, 0, 0, -179, -20], [9, 9, 9, 0, 0]])]
    for step in motion:
        places.append(advance_pose(places[-1], step))
    recorded = torch.stack(places, 1)
    recorded[..., 3] = (recorded[..., 3] + 180) % 360 - 180
    part = replace(clips(3), poses=recorded.numpy())
    path = recorded_path(part, PAST, CHUNKS, R)
    # The same motions, walked from the memory's origin.
    here = torch.cat([torch.zeros(3, 4), recorded[:, PAST - 1, 4:]], 1)
    for t, step in enumerate(motion[PAST - 1 :]):
        here = advance_pose(here, step)
        got = torch.from_numpy(path[:, t // R, t % R])
        torch.testing.assert_close(got[:, [0, 1, 2, 4]], here[:, [0, 1, 2, 4]], atol=1e-4, rtol=0)
        assert ((got[:, 3] - here[:, 3] + 180) % 360 - 180).abs().max() < 1e-3
    # And a world that is given them stands there.
    frames = np.random.default_rng(0).integers(0, 256, (3, PAST, world.config.height, world.config.width, 3), np.uint8)
    actions = np.zeros((3, PAST - 1, world.spec.size), np.float32)
    state = world.prefill(frames, actions, seeds=[1, 2, 3], poses=part.poses[:, :PAST])  # pyright: ignore
    future = np.zeros((3, 4, R, world.spec.size), np.float32)
    shown, stood = walked(world, state, future, path[:, :4])
    np.testing.assert_allclose(stood, path[:, :4, -1], atol=1e-4)
    own, _ = walked(world, state, future)
    assert shown.shape == own.shape and (shown != own).any()


@pytest.mark.parametrize("lacks", ["memory", "poses"])
def test_it_says_what_it_lacks(lacks: str, monkeypatch: pytest.MonkeyPatch):
    world: Any = Straying(1.0)
    world.memory = None if lacks == "memory" else world.memory
    monkeypatch.setattr(Evaluation, "clips", lambda *_: replace(clips(), poses=None))
    store: Any = None
    preset = replace(PRESETS["quick"], clips=4, prefix=PAST, chunks=CHUNKS)
    run = Evaluation(
        world=world, store=store, split="test", preset=preset, thresholds=EvalThresholds(), seed=0, folder=Path("x"),
        branches=Path("x"),
    )  # fmt: skip
    found, _ = PART.run(run)
    assert "skipped" in found and ("memory" in found["skipped"]) == (lacks == "memory")
