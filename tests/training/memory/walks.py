"""Walks through the textured room, with an opaque overlay in the lowest rows, as recordings would hold them."""

import math
from dataclasses import replace

import numpy as np
import torch

from tests.simulation.memory.room import BLOCK, CAMERA, pose, view
from worldsim.datasets.loading.walks import Walk
from worldsim.datasets.store.episode import Episode
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.spec.camera import INVERSE_DEPTH_STEPS
from worldsim.training.memory.depth_examples import Walks

CAMERA_WITH_OVERLAY = replace(CAMERA, world_rows=0.75)
HEIGHT, WIDTH, ROWS = 32, 48, 24
LENS = Intrinsics.of(CAMERA_WITH_OVERLAY, HEIGHT, WIDTH)


def walk(frames: int, phase: float = 0.0, depth: bool = True) -> Walk:
    """A round through the room, looking about; ``phase`` (radians) decides where it begins."""
    poses = []
    for t in range(frames):
        a = phase + 0.05 * t
        poses.append(
            pose(x=1.5 * math.sin(a), z=1.5 * math.cos(a) - 1, yaw=4 * t + 90 * phase, pitch=8 * math.sin(2 * a))
        )
    pictures, depths = zip(*(view(p, [BLOCK], lens=LENS) for p in poses), strict=True)
    shown = torch.stack(pictures)
    shown[:, ROWS:] = (torch.arange(WIDTH) % 7 * 36).to(torch.uint8)[:, None]
    return Walk(
        camera=CAMERA_WITH_OVERLAY,
        frames=shown,
        actions=torch.zeros(frames, 22),
        poses=torch.stack(poses),
        inverse_depth=torch.stack(depths).half() if depth else None,
        fps=20,
    )


def walks(depth: bool = True, count: int = 2, frames: int = 80) -> Walks:
    """Walks that differ in where they begin."""
    return Walks([walk(frames, phase=2.0 * i, depth=depth) for i in range(count)], [f"w{i}" for i in range(count)])


def episode(one: Walk, split: str, seed: int, depth: bool = True) -> Episode:
    """A walk as an episode of a store."""
    assert one.inverse_depth is not None
    poses = one.poses.numpy()
    state = {"position": poses[:, :3].copy(), "yaw": poses[:, 3].copy(), "pitch": poses[:, 4].copy()}
    if depth:
        state["depth"] = (one.inverse_depth.float() * INVERSE_DEPTH_STEPS).round().numpy().astype(np.uint16)
    return Episode(
        frames=one.frames.numpy(),
        actions=one.actions.numpy(),
        rewards=np.zeros(len(one), np.float32),
        terminated=np.zeros(len(one), bool),
        state=state,
        provenance={"camera": one.camera.to_json(), "fps": 20, "split": split, "seed": seed, "source": "room"},
    )
