"""What B worlds remember and where they are, as one value: forked by row, saved and loaded.

B worlds, H W pixels, S size of the motion's hidden state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.simulation.memory.keyframes import PREFIX as FRAMES_PREFIX
from worldsim.simulation.memory.keyframes import KeyFrames
from worldsim.spec.camera import INVERSE_DEPTH_STEPS


@dataclass(frozen=True)
class MemoryState:
    """What B worlds remember, and where they are.

    Attributes:
        frames: key frames and the last observation, as far as it was new.
        pose: of the camera: x, y, z (m) and yaw from the start, absolute pitch (degrees) (B, 5).
        motion: hidden state of the ego-motion (B, S).
        screen: the picture shown last, uint8 (B, H, W, 3).
        inverse_depth: its depth, 1/m (B, H, W) float16.
        confidence: of that depth, uint8 (B, H, W), 0 where it does not show the world.
    """

    frames: KeyFrames
    pose: Tensor
    motion: Tensor
    screen: Tensor
    inverse_depth: Tensor
    confidence: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """As plain tensors, batch first."""
        return self.plain() | self.frames.tensors()

    @staticmethod
    def from_tensors(named: dict[str, Tensor]) -> "MemoryState | None":
        """The inverse of ``tensors``; None where there is no such thing among them.

        Raises:
            ValueError: it is there in part.
        """
        if not any(map(MemoryState.holds, named)):
            return None
        if missing := [name for name in _PLAIN if PREFIX + name not in named]:
            raise ValueError(f"not a spatial memory: {', '.join(missing)} missing")
        batch, size = len(named[PREFIX + "screen"]), tuple(named[PREFIX + "screen"].shape[1:3])
        for name, (shape, kind) in _KINDS.items():
            tensor = named[PREFIX + name]
            fits = shape is None or tuple(tensor.shape) == (batch, *(size if shape[0] == "HW" else ()), *shape[1:])
            if tensor.dtype != kind or not fits:
                raise ValueError(f"not a spatial memory: {name} is {tensor.dtype} of {tuple(tensor.shape)}")
        return MemoryState.from_plain(named, KeyFrames.from_tensors(named))

    def check_fits(self, height: int, width: int, motion: int) -> None:
        """Whether it is of worlds with pictures of that size and a motion's state of that length.

        Raises:
            ValueError: it is not.
        """
        shown = [self.screen[0], *(frame.picture for row in self.frames.rows for frame in row.frames())]
        if wrong := [tuple(picture.shape) for picture in shown if picture.shape[:2] != (height, width)]:
            raise ValueError(f"its spatial memory has pictures of {wrong[0]}, not of {(height, width)}")
        if tuple(self.motion.shape[1:]) != (motion,):
            found = tuple(self.motion.shape[1:])
            raise ValueError(f"the motion of its spatial memory has {found} values, not {motion}")

    def rows(self, rows: Sequence[int], of: Callable[[Tensor], Tensor]) -> "MemoryState":
        """The given worlds; ``of`` takes the same rows of a tensor, with or without a copy."""
        return MemoryState(self.frames.select(rows), *(of(getattr(self, name)) for name in _PLAIN))

    def to(self, device: torch.device | str) -> "MemoryState":
        """The same memory on a device."""
        return MemoryState(self.frames.to(device), *(getattr(self, name).to(device) for name in _PLAIN))

    @staticmethod
    def concatenate(states: Sequence["MemoryState"]) -> "MemoryState":
        """Worlds of several memories as the rows of one."""
        plain = (torch.cat([getattr(s, name) for s in states]) for name in _PLAIN)
        return MemoryState(KeyFrames.concatenate([s.frames for s in states]), *plain)

    def plain(self) -> dict[str, Tensor]:
        """All but the key frames, by name."""
        return {f"{PREFIX}{name}": getattr(self, name) for name in _PLAIN}

    @staticmethod
    def from_plain(named: dict[str, Tensor], frames: KeyFrames) -> "MemoryState":
        """The inverse of ``plain``; other names are passed over."""
        return MemoryState(frames, *(named[PREFIX + name] for name in _PLAIN))

    @staticmethod
    def holds(name: str) -> bool:
        """Whether a tensor of that name belongs to a memory."""
        return name.startswith((PREFIX, FRAMES_PREFIX))

    def nbytes(self) -> int:
        """Bytes of all its tensors; key frames that rows share count once."""
        return self.frames.nbytes() + sum(t.nbytes for t in self.plain().values())


PREFIX = "camera."
# Type of all but the key frames, and shape behind the rows: "HW" is the picture's size; None where it is any.
_KINDS: dict[str, tuple[tuple[int | str, ...] | None, torch.dtype]] = {
    "pose": (("", 5), torch.float32),
    "motion": (None, torch.float32),
    "screen": (("HW", 3), torch.uint8),
    "inverse_depth": (("HW",), torch.float16),
    "confidence": (("HW",), torch.uint8),
}
_PLAIN = tuple(_KINDS)


def told_of_past(
    frames_BFHWC: Tensor,
    poses_BF5: NDArray[np.float32] | Tensor | None,
    depth_BHW: NDArray[np.uint16] | Tensor | None,
) -> tuple[Tensor | None, Tensor | None]:
    """Poses (B, F, 5) of a past and inverse depth in 1/m (B, H, W) of its last frame, where they are known.

    ``depth_BHW``: as recorded, ``INVERSE_DEPTH_STEPS`` for 1 / metre.

    Raises:
        ValueError: they do not go with the frames.
    """
    batch, count, height, width = frames_BFHWC.shape[:4]
    told = []
    for name, values, wanted in (
        ("poses", poses_BF5, (batch, count, 5)),
        ("depth", depth_BHW, (batch, height, width)),
    ):
        if values is not None and tuple(values.shape) != wanted:
            raise ValueError(f"{name} must be {wanted}, got {tuple(values.shape)}")
        # Tensors of uint16 can do little.
        values = values.astype(np.int32) if isinstance(values, np.ndarray) and name == "depth" else values
        told.append(None if values is None else torch.as_tensor(values, device=frames_BFHWC.device).float())
    poses, depth = told
    return poses, None if depth is None else depth / INVERSE_DEPTH_STEPS
