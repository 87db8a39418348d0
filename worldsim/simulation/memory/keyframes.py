"""Key frames of B worlds as an immutable value: forks share every picture, and an update makes new tuples only.

B worlds, S key frames of the world that has most, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.simulation.memory.render import Sources


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """One observation, equal to itself only. Its tensors are never written to.

    Attributes:
        picture: uint8 (H, W, 3).
        inverse_depth: 1/m (H, W) float16, 0 is infinitely far.
        confidence: uint8 (H, W); 0 is not part of the world, or no longer there.
        pose: x, y, z (m), yaw, pitch (degrees) (5,) float32.
        taken: step at which it was seen.
    """

    picture: Tensor
    inverse_depth: Tensor
    confidence: Tensor
    pose: Tensor
    taken: int

    def tensors(self) -> tuple[Tensor, ...]:
        """In the order of the fields."""
        return self.picture, self.inverse_depth, self.confidence, self.pose


@dataclass(frozen=True)
class Memory:
    """What one world remembers: key frames, the oldest first, and the last observation, which may not become one."""

    kept: tuple[KeyFrame, ...] = ()
    last: KeyFrame | None = None

    def frames(self) -> tuple[KeyFrame, ...]:
        """All that can be drawn, the oldest first."""
        return self.kept if self.last is None or self.last in self.kept[-1:] else (*self.kept, self.last)

    def fleeting(self) -> int:
        """Number of the step of an observation that is no key frame; -1 where there is none."""
        return -1 if self.last is None or self.last in self.kept[-1:] else self.last.taken


@dataclass(frozen=True)
class KeyFrames:
    """Memories of B worlds side by side."""

    rows: tuple[Memory, ...]

    @staticmethod
    def empty(batch: int) -> "KeyFrames":
        """Worlds that have seen nothing."""
        return KeyFrames((Memory(),) * batch)

    @property
    def batch(self) -> int:
        """Number of worlds B."""
        return len(self.rows)

    def select(self, rows: Sequence[int] | Tensor) -> "KeyFrames":
        """The given worlds, in order, without a copy; rows may repeat, which forks a world.

        Raises:
            IndexError: a row does not exist.
        """
        wanted = [int(row) for row in rows]
        if any(not 0 <= row < self.batch for row in wanted):
            raise IndexError(f"rows must be between 0 and {self.batch - 1}, got {wanted}")
        return KeyFrames(tuple(self.rows[row] for row in wanted))

    def to(self, device: torch.device | str) -> "KeyFrames":
        """The same memories on a device; what frames and worlds share stays shared."""
        made: dict[KeyFrame, KeyFrame] = {}

        def there(frame: KeyFrame) -> KeyFrame:
            if frame not in made:
                made[frame] = KeyFrame(*(t.to(device) for t in frame.tensors()), taken=frame.taken)
            return made[frame]

        return KeyFrames(tuple(Memory(tuple(map(there, row.kept)), row.last and there(row.last)) for row in self.rows))

    @staticmethod
    def concatenate(memories: Sequence["KeyFrames"]) -> "KeyFrames":
        """Worlds of several memories as the rows of one, without a copy."""
        return KeyFrames(tuple(row for memory in memories for row in memory.rows))

    def nbytes(self) -> int:
        """Bytes of all its tensors; what is shared between frames or worlds counts once."""
        tensors = (t for row in self.rows for frame in row.frames() for t in frame.tensors())
        return sum({t.data_ptr(): t.nbytes for t in tensors}.values())

    def tensors(self) -> dict[str, Tensor]:
        """All of it as plain tensors, batch first, short worlds filled up: what is saved.

        ``memory.pictures`` (B, S, H, W, 3), ``memory.inverse_depth`` and ``memory.confidence`` (B, S, H, W),
        ``memory.poses`` (B, S, 5), ``memory.taken`` (B, S), -1 where filled up, ``memory.kept`` (B, S): whether it is a
        key frame. A memory without any frame gives tensors of no pixels.
        """
        sources = stack([row.frames() for row in self.rows])
        kept = torch.zeros_like(sources.taken, dtype=torch.bool)
        for number, row in enumerate(self.rows):
            kept[number, : len(row.kept)] = True
        named = {name: getattr(sources, name).contiguous() for name in _FIELDS}
        return {f"{PREFIX}{name}": tensor for name, tensor in (named | {"kept": kept}).items()}

    @staticmethod
    def from_tensors(named: dict[str, Tensor]) -> "KeyFrames":
        """The inverse of ``tensors``; other names are passed over.

        Raises:
            ValueError: a tensor is missing, or shapes or types are not those of a memory.
        """
        missing = [name for name in (*_FIELDS, "kept") if PREFIX + name not in named]
        if missing:
            raise ValueError(f"not a spatial memory: {', '.join(missing)} missing")
        t = {name: named[PREFIX + name] for name in (*_FIELDS, "kept")}
        lead, size = t["taken"].shape, t["pictures"].shape[2:4]
        shapes = {
            "pictures": (*size, 3),
            "inverse_depth": size,
            "confidence": size,
            "poses": (5,),
            "taken": (),
            "kept": (),
        }
        for name, shape in shapes.items():
            if tuple(t[name].shape) != (*lead, *shape) or t[name].dtype != _TYPES[name]:
                raise ValueError(f"not a spatial memory: {name} is {tuple(t[name].shape)} of {t[name].dtype}")
        rows = []
        for b, (taken, kept) in enumerate(zip(t["taken"].tolist(), t["kept"].tolist(), strict=True)):
            frames = [
                KeyFrame(*(t[name][b, s].clone() for name in _FIELDS if name != "taken"), taken=step)
                for s, step in enumerate(taken)
                if step >= 0
            ]
            rows.append(Memory(tuple(frames[: sum(kept)]), frames[-1] if frames else None))
        return KeyFrames(tuple(rows))


PREFIX = "memory."
_FIELDS = ("pictures", "inverse_depth", "confidence", "poses", "taken")
_TYPES = {
    "pictures": torch.uint8,
    "inverse_depth": torch.float16,
    "confidence": torch.uint8,
    "poses": torch.float32,
    "taken": torch.int64,
    "kept": torch.bool,
}


def stack(rows: Sequence[Sequence[KeyFrame]]) -> Sources:
    """Frames of each world side by side, in the order given; short worlds are filled up with frames of confidence 0."""
    some = next((frame for row in rows for frame in row), None)
    if some is None:
        # Whatever the program's own defaults are.
        nothing = torch.zeros(0, 0, 3, dtype=torch.uint8, device="cpu")
        nowhere = torch.zeros(5, dtype=torch.float32, device="cpu")
        some = KeyFrame(nothing, nothing[..., 0].half(), nothing[..., 0], nowhere, -1)
    blank = replace(
        some,
        picture=torch.zeros_like(some.picture),
        inverse_depth=torch.zeros_like(some.inverse_depth),
        confidence=torch.zeros_like(some.confidence),
        pose=torch.zeros_like(some.pose),
        taken=-1,
    )
    most = max([1, *map(len, rows)])
    full = [frame for row in rows for frame in (*row, *(blank,) * (most - len(row)))]

    def together(tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors).unflatten(0, (len(rows), most))

    return Sources(
        pictures=together([f.picture for f in full]),
        inverse_depth=together([f.inverse_depth for f in full]),
        confidence=together([f.confidence for f in full]),
        poses=together([f.pose for f in full]),
        taken=torch.tensor([f.taken for f in full], device=some.pose.device).unflatten(0, (len(rows), most)),
    )
