"""Copies in pages of their own: for what lives for minutes among arrays that live for milliseconds.

In the heap, such copies end up between the arrays of the step that made them, and keep the pages around them from being
used again: the process grows, though it holds no more than before. A copy made here goes back to the system when it is
let go.
"""

import hashlib
import mmap
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

Blob = NDArray[np.uint8]
# Bytes from which on pages of its own pay: below, half of them would be empty.
LEAST = 8192
# Not shared with processes that are forked. Other systems know of no flags.
_PRIVATE: dict[str, Any] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}


def apart(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array, of the same shape and type."""
    copy = room(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def room(size: int) -> Blob:
    """Bytes (size,) to be written to, of whatever content."""
    if size < LEAST:
        return np.empty(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.uint8)


class BlobPool:
    """Bytes that nobody writes to, by their content: what is equal is there once, as long as anybody holds it."""

    def __init__(self) -> None:
        self._blobs: WeakValueDictionary[bytes, Blob] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._blobs)

    def blob(self, content: Blob) -> Blob:
        """A copy (N,) of bytes (N,), or the one that is there already."""
        digest = hashlib.blake2b(content.data, digest_size=16).digest()
        if (blob := self._blobs.get(digest)) is None:
            self._blobs[digest] = blob = apart(content)
        return blob
