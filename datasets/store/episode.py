"""An episode: frames, the actions between them, and everything else that was known about each frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The optional array of depth, and all arrays that hold a picture a frame: kept in small chunks, read in part.
DEPTH = "depth"
PICTURES = ("frames", f"state/{DEPTH}")


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One unbroken stretch of play. F frames, A action vector.

    Alignment: ``actions[t]`` and ``rewards[t]`` belong to the transition from ``frames[t]`` to ``frames[t + 1]``, so
    the last row of both is unused (zeros). ``terminated[t]`` and ``state[...][t]`` describe ``frames[t]``.

    Attributes:
        frames: uint8 (F, H, W, 3), RGB.
        actions: float32 (F, A).
        rewards: float32 (F,).
        terminated: bool (F,).
        state: privileged arrays with leading axis F. Engines that know their pose give ``position`` (F, 3) in metres
            with y up, ``velocity`` (F, 3) in metres a second, ``yaw`` and ``pitch`` (F,) in degrees (Minecraft signs).
            Engines that know it give ``depth``, uint16 (F, H, W): inverse depth along the camera's axis,
            ``worldsim.spec.camera.INVERSE_DEPTH_STEPS`` for 1 / metre, 0 in the sky.
        events: one mapping per event, each with at least ``frame`` and ``kind``.
        text: caption of the whole episode.
        provenance: where it comes from: engine, engine_version, game, seed (of the map), start_seed, policy, split,
            licence, created, keys (names of the action vector), fps, camera (``Camera.to_json``).
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    text: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and types.

        Raises:
            ValueError: an array has the wrong rank, type or length.
        """
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 (F, H, W, 3), got {self.frames.dtype} {self.frames.shape}")
        if len(self) == 0:
            raise ValueError("an episode needs at least one frame")
        expected = {"actions": (2, np.float32), "rewards": (1, np.float32), "terminated": (1, np.bool_)}
        for name, (rank, dtype) in expected.items():
            array = getattr(self, name)
            if array.ndim != rank or array.dtype != dtype:
                raise ValueError(f"{name} must be {np.dtype(dtype)} of rank {rank}, got {array.dtype} {array.shape}")
        for name, array in [*((name, getattr(self, name)) for name in expected), *self.state.items()]:
            if len(array) != len(self):
                raise ValueError(f"{name} has {len(array)} rows for {len(self)} frames")
        depth = self.state.get(DEPTH)
        if depth is not None and (depth.dtype != np.uint16 or depth.shape != self.frames.shape[:3]):
            raise ValueError(f"depth must be uint16 {self.frames.shape[:3]}, got {depth.dtype} {depth.shape}")
        for event in self.events:
            if "kind" not in event or not 0 <= int(event.get("frame", -1)) < len(self):
                raise ValueError(f"an event needs a kind and a frame from 0 to {len(self) - 1}, got {dict(event)}")

    def __len__(self) -> int:
        return len(self.frames)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name; those of ``state`` are prefixed with ``state/``."""
        out: dict[str, NDArray[Any]] = {
            "frames": self.frames,
            "actions": self.actions,
            "rewards": self.rewards,
            "terminated": self.terminated,
        }
        return out | {f"state/{name}": array for name, array in self.state.items()}
