"""Recorded episodes as what a spatial memory learns from: pictures, actions, poses and depth, whole and in memory.

F frames, H W pixels, A action vector.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.spec.camera import INVERSE_DEPTH_STEPS, Camera

_POSE = ("position", "yaw", "pitch")


@dataclass(frozen=True)
class Walk:
    """One episode.

    Attributes:
        camera: what took the pictures.
        frames: uint8 (F, H, W, 3).
        actions: float32 (F, A); row t leads from frame t to frame t + 1.
        poses: x, y, z (m), yaw, pitch (degrees) (F, 5) float32.
        inverse_depth: 1/m (F, H, W) float16, 0 is the sky; None where it was not asked for.
        fps: frames a second.
    """

    camera: Camera
    frames: Tensor
    actions: Tensor
    poses: Tensor
    inverse_depth: Tensor | None
    fps: float

    def __len__(self) -> int:
        return len(self.frames)


def read_walk(store: EpisodeStore, name: str, *, depth: bool = True) -> Walk:
    """Read a whole episode of a store.

    Raises:
        UserError: it was recorded without poses, without a camera, or without depth where depth is asked for.
    """
    episode = store.read(name, depth=depth)
    state, provenance = episode.state, episode.provenance
    missing = [key for key in (*_POSE, *([DEPTH] if depth else [])) if key not in state]
    if missing or not provenance.get("camera"):
        raise UserError(f"episode {name} was recorded without {', '.join(missing) or 'a camera'}: a memory needs it")
    angles = np.stack([state["yaw"], state["pitch"]], 1)
    inverse_depth = None
    if depth:
        metres = state[DEPTH].astype(np.float32) / INVERSE_DEPTH_STEPS
        inverse_depth = torch.from_numpy(metres.astype(np.float16))
    return Walk(
        camera=Camera.from_json(provenance["camera"]),
        frames=torch.from_numpy(np.ascontiguousarray(episode.frames)),
        actions=torch.from_numpy(episode.actions.copy()),
        poses=torch.from_numpy(np.concatenate([state["position"], angles], 1).astype(np.float32)),
        inverse_depth=inverse_depth,
        fps=float(provenance.get("fps", 20)),
    )
