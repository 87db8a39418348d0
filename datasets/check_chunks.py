"""Read an episode's arrays chunk by chunk, each behind its own checksum: what whole-file checks cannot tell apart.

A whole reader says only that an episode is damaged. This one says which chunks are sound, and finds them even where
the shard's index is lost (a file that was cut), because every chunk is a zstd frame that ends in its CRC-32C.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

# The first bytes of a zstd frame (RFC 8878, section 3.1.1).
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
CRC_BYTES = 4
# A chunk that the writer left out because it holds nothing but the fill value.
ABSENT = 2**64 - 1
SUPPORTED = ["bytes", "zstd", "crc32c"]


class DamagedArrayError(ValueError):
    """An array, or one chunk of it, is not what was written."""


@dataclass(frozen=True)
class ArrayLayout:
    """What ``zarr.json`` says of an array that this package wrote: chunks of ``rows`` rows in one shard.

    Attributes:
        shape: of the array, rows first.
        dtype: of its values.
        rows: of a chunk.
        fill: value of what was left out.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int
    fill: Any

    @property
    def chunks(self) -> int:
        """Number of chunks that hold the rows."""
        return -(-self.shape[0] // self.rows)

    def span(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the one after its last."""
        return chunk * self.rows, min((chunk + 1) * self.rows, self.shape[0])


def read_layout(folder: Path) -> ArrayLayout:
    """Read ``zarr.json`` of an array folder.

    Raises:
        DamagedArrayError: it is missing, cannot be read, or is not of the layout that this package writes.
    """
    try:
        about = json.loads((folder / "zarr.json").read_text())
        (sharding,) = about["codecs"]
        inner = sharding["configuration"]
        shape, chunk = tuple(map(int, about["shape"])), tuple(map(int, inner["chunk_shape"]))
        shard = tuple(map(int, about["chunk_grid"]["configuration"]["chunk_shape"]))
        layout = ArrayLayout(shape, np.dtype(about["data_type"]), chunk[0], about["fill_value"])
        codecs = [codec["name"] for codec in inner["codecs"]]
        fits = chunk[1:] == shape[1:] == shard[1:] and shape[0] <= shard[0] and shard[0] % chunk[0] == 0
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedArrayError(f"{folder.name}/zarr.json cannot be read") from error
    if codecs != SUPPORTED or not fits or inner.get("index_location", "end") != "end":
        raise DamagedArrayError(f"{folder.name}/zarr.json describes another layout than that of episodes")
    return layout


def shard_file(folder: Path, layout: ArrayLayout) -> Path:
    """The one file that holds an array's chunks; absent when every value is the fill value."""
    return folder.joinpath("c", *["0"] * len(layout.shape))


class ArrayChunks:
    """The chunks of one array.

    Args:
        folder: of the array, with its ``zarr.json``.
        layout: to use instead of what ``zarr.json`` says, where that file is lost.
        present: whether the shard has to be there; without it, a shard that is not there is all fill value.

    Raises:
        DamagedArrayError: the layout cannot be read, or the shard should be there and is not.
    """

    def __init__(self, folder: Path, layout: ArrayLayout | None = None, *, present: bool = False):
        self.folder = folder
        self.layout = layout or read_layout(folder)
        file = shard_file(folder, self.layout)
        if present and not file.is_file():
            raise DamagedArrayError(f"{folder.name} is missing")
        self._file = file if file.is_file() else None
        self.indexed = True
        self._places = self._read_places()

    def __len__(self) -> int:
        return self.layout.chunks

    def read(self, chunk: int) -> NDArray[Any]:
        """The rows of a chunk, its checksum compared.

        Raises:
            DamagedArrayError: the chunk is lost or altered.
        """
        first, last = self.layout.span(chunk)
        shape = (last - first, *self.layout.shape[1:])
        place = self._places.get(chunk)
        if place is None and self.indexed:
            return np.full(shape, self.layout.fill, self.layout.dtype)
        body = None if place is None else self._checked(*place)
        if body is None:
            raise DamagedArrayError(f"{self.folder.name}: rows {first} to {last - 1} are damaged")
        whole = np.frombuffer(body, self.layout.dtype.newbyteorder("<")).astype(self.layout.dtype, copy=False)
        return whole.reshape(self.layout.rows, *self.layout.shape[1:])[: last - first]

    def read_all(self) -> NDArray[Any]:
        """Every row.

        Raises:
            DamagedArrayError: a chunk is lost or altered.
        """
        return np.concatenate([self.read(chunk) for chunk in range(len(self))])

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` (exclusive), from the chunks that hold them.

        Raises:
            DamagedArrayError: one of those chunks is lost or altered.
        """
        first, last = start // self.layout.rows, -(-stop // self.layout.rows)
        joined = np.concatenate([self.read(chunk) for chunk in range(first, last)])
        return joined[start - first * self.layout.rows : stop - first * self.layout.rows]

    def sound(self) -> Iterator[bool]:
        """Whether each chunk is what was written; they are decompressed one after the other."""
        for chunk in range(len(self)):
            try:
                self.read(chunk)
            except DamagedArrayError:
                yield False
            else:
                yield True

    def _read_places(self) -> dict[int, tuple[int, int]]:
        """Where each chunk lies in the shard: (first byte, one after its last)."""
        if self._file is None:
            return {}
        count = -(-self.layout.shape[0] // self.layout.rows)
        size, index = self._file.stat().st_size, 16 * count
        with self._file.open("rb") as file:
            file.seek(max(0, size - index - CRC_BYTES))
            tail = file.read()
        if len(tail) == index + CRC_BYTES and _crc(tail[:-CRC_BYTES]) == tail[-CRC_BYTES:]:
            rows = np.frombuffer(tail[:-CRC_BYTES], "<u8").reshape(count, 2).tolist()
            return {chunk: (at, at + length) for chunk, (at, length) in enumerate(rows) if at != ABSENT}
        self.indexed = False
        return dict(enumerate(_chunks_without_index(self._file.read_bytes())))

    def _checked(self, start: int, stop: int) -> bytes | None:
        """The decompressed bytes of a chunk; None if they are not what was written."""
        assert self._file is not None
        with self._file.open("rb") as file:
            file.seek(start)
            packed = file.read(stop - start)
        if len(packed) != stop - start or _crc(packed[:-CRC_BYTES]) != packed[-CRC_BYTES:]:
            return None
        try:
            body = bytes(Zstd().decode(packed[:-CRC_BYTES]))
        except (RuntimeError, ValueError):
            return None
        wanted = self.layout.rows * math.prod(self.layout.shape[1:]) * self.layout.dtype.itemsize
        return body if len(body) == wanted else None


def _chunks_without_index(content: bytes) -> Iterator[tuple[int, int]]:
    """Chunks in the order in which they were written, up to the first that is not sound.

    Behind a damaged chunk nothing tells how many there were, so those that follow could be any.
    """
    at = 0
    while (end := _frame_end(content, at)) is not None:
        if _crc(content[at:end]) != content[end : end + CRC_BYTES]:
            return
        yield at, end + CRC_BYTES
        at = end + CRC_BYTES


def _frame_end(content: bytes, at: int) -> int | None:
    """Where the zstd frame that begins at a byte ends, told by its headers alone (RFC 8878, section 3.1.1)."""
    if not content.startswith(ZSTD_MAGIC, at) or at + 5 > len(content):
        return None
    flags = content[at + 4]
    single = flags >> 5 & 1
    size_bytes = (single, 2, 4, 8)[flags >> 6]
    end = at + 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + size_bytes
    last = False
    while not last:
        if end + 3 > len(content):
            return None
        header = int.from_bytes(content[end : end + 3], "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        end += 3 + (1 if kind == 1 else length)
    end += 4 * (flags >> 2 & 1)
    return end if end <= len(content) else None


def _crc(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(CRC_BYTES, "little")
