"""Reads zarr v3 arrays of the layout that episodes are written in, many times faster than zarr itself.

The layout: rows in chunks, chunks in shards (the ``sharding_indexed`` codec, index at the end), each chunk compressed
with zstd and followed by a CRC-32C. The bytes are zarr's own; zarr and tensorstore read the same files. What is gained:
one read a clip, no event loop, decompression into the caller's own array, threads that do not wait for each other.

https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from worldsim.datasets.store.shard_layout import ShardLayout

# In a shard's index, the place of a chunk that was left out because it holds nothing but the fill value.
ABSENT = 2**64 - 1
CRC_BYTES = 4
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Chunks of one read that lie so near to each other are read together with what is between them.
GAP_BYTES = 1 << 16

ReadRange = Callable[[str, int, int], bytes]


class ShardError(ValueError):
    """Bytes of a shard are missing or differ from what was written."""


class _Run(NamedTuple):
    """Chunks that one read brings: the first chunk, offset and length of each, the bytes to read."""

    first: int
    places: list[tuple[int, int]]
    start: int
    stop: int


class ShardedArray:
    """An array on disk. Any number of threads may read it at once.

    Args:
        layout: from ``ShardLayout.parse``.
        path: of the array's folder, in the words of ``read_range`` and ``sizes``.
        sizes: bytes of each file that was committed; a shard that is not among them is all fill value.
        read_range: (path, start, stop) to bytes.
        sums: CRC-32C of each chunk of a file (None: left out) as it was committed. With them, a sound chunk that is not
            the one that was written is noticed too.
    """

    def __init__(
        self,
        layout: ShardLayout,
        path: str,
        sizes: Mapping[str, int],
        read_range: ReadRange,
        sums: Mapping[str, Sequence[int | None]] | None = None,
    ):
        self.layout, self.path = layout, path
        self._sizes, self._read_range, self._sums = sizes, read_range, sums or {}
        self._indexes: dict[int, NDArray[np.uint64] | None] = {}
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return self.layout.shape

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` (exclusive), into ``out`` if given.

        Raises:
            ValueError: rows outside the array, or ``out`` has another shape or type.
            ShardError: a file is missing, cut, or a checksum does not hold.
        """
        layout = self.layout
        shape = (stop - start, *layout.shape[1:])
        if not 0 <= start < stop <= layout.shape[0]:
            raise ValueError(f"rows {start}:{stop} are outside {layout.shape[0]}")
        if out is None:
            out = np.empty(shape, layout.dtype)
        elif out.shape != shape or out.dtype != layout.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be {layout.dtype} {shape} without gaps, got {out.dtype} {out.shape}")
        for shard in range(start // layout.shard_rows, -(-stop // layout.shard_rows)):
            offset = shard * layout.shard_rows
            first, last = max(start, offset), min(stop, offset + layout.shard_rows)
            self._read_shard(shard, first - offset, last - offset, out[first - start : last - start])
        return out

    def index(self, shard: int = 0) -> NDArray[np.uint64] | None:
        """Offset and length of each chunk of a shard (chunks, 2); None where the whole shard was left out.

        Raises:
            ShardError: the index is missing or damaged.
        """
        with self._lock:
            if shard in self._indexes:
                return self._indexes[shard]
        found = self._load_index(shard)
        with self._lock:
            self._indexes[shard] = found
        return found

    def file(self, shard: int) -> str:
        """Path of a shard."""
        return "/".join([self.path, "c", str(shard), *["0"] * (len(self.layout.shape) - 1)])

    def sums(self, shard: int) -> list[int | None]:
        """CRC-32C that follows each chunk of a shard, None for those that were left out; not compared with anything."""
        index, file, out = self.index(shard), self.file(shard), list[int | None]()
        for offset, length in index.tolist() if index is not None else ():
            end = offset + length
            stored = None if offset == ABSENT else self._read_range(file, end - CRC_BYTES, end)
            out.append(None if stored is None else int.from_bytes(stored, "little"))
        return out

    def _index_bytes(self, shard: int) -> bytes:
        """The end of a shard's file: its index with the checksum."""
        file, layout = self.file(shard), self.layout
        length = layout.shard_rows // layout.chunk_rows * 16 + CRC_BYTES
        body = (
            self._read_range(file, self._sizes[file] - length, self._sizes[file])
            if self._sizes[file] >= length
            else b""
        )
        if len(body) != length:
            raise ShardError(f"{file} is cut")
        return body

    def _load_index(self, shard: int) -> NDArray[np.uint64] | None:
        file = self.file(shard)
        if file not in self._sizes:
            return None
        body = self._index_bytes(shard)
        if google_crc32c.value(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "little"):
            raise ShardError(f"the index of {file} is damaged")
        index = np.frombuffer(body, "<u8", count=len(body) // 8).reshape(-1, 2)
        room, used = self._sizes[file] - len(body), index[index[:, 0] != ABSENT]
        if (used > room).any() or (used.sum(1) > room).any() or (used[:, 1] <= CRC_BYTES).any():
            raise ShardError(f"the index of {file} is damaged")
        return index

    def _read_shard(self, shard: int, start: int, stop: int, out: NDArray[Any]) -> None:
        """Rows ``start`` to ``stop`` of a shard."""
        index, rows = self.index(shard), self.layout.chunk_rows
        if index is None:
            out[:] = self.layout.fill
            return
        file = self.file(shard)
        expected = self._sums.get(file)
        for run in _runs(index, start // rows, -(-stop // rows)):
            body = np.frombuffer(self._read_range(file, run.start, run.stop) if run.stop else b"", np.uint8)
            if len(body) != run.stop - run.start:
                raise ShardError(f"{file} is cut")
            for i, (offset, length) in enumerate(run.places):
                begin = (run.first + i) * rows
                into = out[max(start, begin) - start : min(stop, begin + rows) - start]
                skip = max(0, start - begin)
                if expected is not None and (expected[run.first + i] is None) != (offset == ABSENT):
                    raise ShardError(f"chunk {run.first + i} of {file} is not the one that was written")
                if offset == ABSENT:
                    into[:] = self.layout.fill
                    continue
                chunk = body[offset - run.start : offset - run.start + length]
                if expected is not None and chunk[-CRC_BYTES:].tobytes() != _crc_bytes(expected[run.first + i]):
                    raise ShardError(f"chunk {run.first + i} of {file} is not the one that was written")
                self._decode(chunk, into, skip, f"chunk {run.first + i} of {file}")

    def _decode(self, chunk: NDArray[np.uint8], into: NDArray[Any], skip: int, what: str) -> None:
        """Check a chunk, then put the rows after the first ``skip`` into ``into``."""
        packed = chunk[:-CRC_BYTES]
        if google_crc32c.value(packed) != int.from_bytes(chunk[-CRC_BYTES:].tobytes(), "little"):
            raise ShardError(f"{what} is damaged")
        rows, whole = self.layout.chunk_rows, None
        if len(into) == rows:
            target = into
        else:
            whole = target = np.empty((rows, *self.layout.shape[1:]), self.layout.dtype)
        _decompress(packed, target.reshape(-1).view(np.uint8), what)
        if whole is not None:
            into[:] = whole[skip : skip + len(into)]


def _runs(index: NDArray[np.uint64], first: int, last: int) -> list[_Run]:
    """Group the chunks ``first`` to ``last`` into reads: neighbours in the file, in order, are read at once."""
    runs: list[_Run] = []
    for chunk in range(first, last):
        offset, length = (int(n) for n in index[chunk])
        if offset == ABSENT:
            runs.append(_Run(chunk, [(offset, length)], 0, 0))
            continue
        before = runs[-1] if runs else None
        if (
            before
            and before.stop
            and before.first + len(before.places) == chunk
            and 0 <= offset - before.stop < GAP_BYTES
        ):
            runs[-1] = _Run(before.first, [*before.places, (offset, length)], before.start, offset + length)
        else:
            runs.append(_Run(chunk, [(offset, length)], offset, offset + length))
    return runs


def _crc_bytes(crc: int | None) -> bytes:
    return (crc or 0).to_bytes(CRC_BYTES, "little")


def _decompress(frame: NDArray[np.uint8], out: NDArray[np.uint8], what: str) -> None:
    size = _content_size(frame)
    try:
        if size == len(out):
            decompress(frame, out)
        elif size == -1:
            content = np.frombuffer(decompress(frame), np.uint8)
            size = len(content)
            out[: len(content)] = content[: len(out)]
    except (RuntimeError, ValueError) as error:
        raise ShardError(f"{what} cannot be decompressed") from error
    # zstd itself would leave the rest of a target that is too large as it was.
    if size != len(out):
        raise ShardError(f"{what} has {size} bytes for {len(out)}")


def _content_size(frame: NDArray[np.uint8]) -> int:
    """Size that a zstd frame says its content has, -1 if it does not (RFC 8878, section 3.1.1.1)."""
    head = frame[:18].tobytes()
    if not head.startswith(ZSTD_MAGIC) or len(head) < 6:
        return -1
    flags, single = head[4], head[4] >> 5 & 1
    begin = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    length = (single, 2, 4, 8)[flags >> 6]
    return int.from_bytes(head[begin : begin + length], "little") + (256 if length == 2 else 0) if length else -1
