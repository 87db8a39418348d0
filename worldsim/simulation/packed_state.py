"""States that are kept for minutes: bytes in pages of their own, without a tensor.

Every tensor is some objects in the heap beside its numbers. Thousands of them, made between the arrays of steps and let
go in another order, keep the heap from being used again. So a state that waits is bytes, and becomes tensors when the
world goes back to it. What states of one world remember is there once, whichever of them remember it.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from worldsim.models.shield import shielded
from worldsim.own_pages import Blob, BlobPool, room
from worldsim.simulation.memory.keyframes import KeyFrame, KeyFrames, Memory
from worldsim.simulation.memory.memory_state import MemoryState
from worldsim.simulation.state import WorldState

# Bytes between the beginnings of tensors.
ALIGNED = 64
# Type and shape of a tensor.
Form = tuple[torch.dtype, torch.Size]


class PackedState:
    """A copy of a world state, as bytes.

    Args:
        state: stays as it is, and may be stepped in place.
        pool: of what is there once: the same one for all states of a game.
    """

    @shielded
    def __init__(self, state: WorldState, pool: BlobPool):
        memory = state.memory
        plain = [*state.network_tensors().items(), *({} if memory is None else memory.plain()).items()]
        self._device = state.device
        self._forms = {name: _form(tensor) for name, tensor in plain}
        self._begins = np.cumsum([0, *(-(-tensor.nbytes // ALIGNED) * ALIGNED for _, tensor in plain)]).tolist()
        self._plain = room(self._begins[-1])
        for (_, tensor), begin in zip(plain, self._begins, strict=False):
            self._plain[begin : begin + tensor.nbytes] = _bytes(tensor)
        frames = {} if memory is None else {frame: None for row in memory.frames.rows for frame in row.frames()}
        numbers = {frame: number for number, frame in enumerate(frames)}
        self._frame_forms = [_form(tensor) for tensor in next(iter(frames)).tensors()] if frames else []
        self._frames = [(tuple(pool.blob(_bytes(t)) for t in frame.tensors()), frame.taken) for frame in frames]
        self._rows = None if memory is None else [_numbered(row, numbers) for row in memory.frames.rows]

    @shielded
    def unpack(self) -> WorldState:
        """The state, on the device where it was; it may be stepped in place. Key frames are not copied."""
        plain = {
            name: _tensor(self._plain[begin:], form).to(self._device, copy=True)
            for (name, form), begin in zip(self._forms.items(), self._begins, strict=False)
        }
        state = WorldState.from_tensors({name: t for name, t in plain.items() if not MemoryState.holds(name)})
        if self._rows is None:
            return state
        frames = [self._frame(blobs, taken) for blobs, taken in self._frames]
        rows = (Memory(tuple(frames[k] for k in kept), None if last < 0 else frames[last]) for kept, last in self._rows)
        return replace(state, memory=MemoryState.from_plain(plain, KeyFrames(tuple(rows))))

    def _frame(self, blobs: tuple[Blob, ...], taken: int) -> KeyFrame:
        parts = zip(blobs, self._frame_forms, strict=True)
        return KeyFrame(*(_tensor(blob, form).to(self._device) for blob, form in parts), taken=taken)

    def pieces(self) -> dict[int, int]:
        """Bytes of each of its parts, by a name that packed states of one pool share."""
        return {id(blob): blob.nbytes for blob in (self._plain, *(b for blobs, _ in self._frames for b in blobs))}


def _numbered(row: Memory, numbers: dict[KeyFrame, int]) -> tuple[tuple[int, ...], int]:
    """Numbers of the key frames, and of the last observation, -1 where there is none."""
    return tuple(numbers[frame] for frame in row.kept), -1 if row.last is None else numbers[row.last]


def _form(tensor: Tensor) -> Form:
    return tensor.dtype, tensor.shape


def _bytes(tensor: Tensor) -> Blob:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _tensor(content: Blob, form: Form) -> Tensor:
    """A view of the first bytes."""
    dtype, shape = form
    return torch.from_numpy(content[: shape.numel() * dtype.itemsize]).view(dtype).view(shape)
