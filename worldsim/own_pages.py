"""Copies in pages of their own: for what lives for minutes among arrays that live for milliseconds.

In the heap, such copies end up between the arrays of the step that made them, and keep the pages around them from being
used again: the process grows, though it holds no more than before. A copy made here goes back to the system when it is
let go.
"""

import mmap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# Bytes from which on pages of its own pay: below, half of them would be empty.
LEAST = 8192
# Bytes between the beginnings of tensors.
ALIGNED = 64
# Not shared with processes that are forked. Other systems know of no flags.
_PRIVATE: dict[str, Any] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}


def apart(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array, of the same shape and type."""
    copy = _room(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _room(size: int) -> NDArray[np.uint8]:
    if size < LEAST:
        return np.empty(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.uint8)


def tensors_apart(tensors: "Sequence[Tensor]") -> "list[Tensor]":
    """Copies of tensors, side by side; on another device than the CPU ordinary ones."""
    # A window opens before PyTorch is there.
    import torch

    if any(tensor.device.type != "cpu" for tensor in tensors):
        return [tensor.clone() for tensor in tensors]
    ends = np.cumsum([-(-tensor.nbytes // ALIGNED) * ALIGNED for tensor in tensors]).tolist()
    room = torch.from_numpy(_room(ends[-1] if ends else 0))
    copies = []
    for tensor, begin in zip(tensors, [0, *ends], strict=False):
        copy = room[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copies.append(copy.copy_(tensor))
    return copies


def is_apart(tensor: "Tensor") -> bool:
    """Whether a tensor's memory is none of PyTorch's own, which could be made larger."""
    return not tensor.untyped_storage().resizable()
