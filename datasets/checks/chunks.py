"""Read an episode's arrays chunk by chunk, each behind its own checksum: what whole-file checks cannot tell apart.

A whole reader says only that an episode is damaged. This one says which chunks are sound, and finds them even where
the shard's index is lost (a file that was cut), because every chunk is a zstd frame that ends in its CRC-32C.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.manifest import ARRAYS
from worldsim.datasets.store.reader import (
    ABSENT,
    CRC_BYTES,
    ZSTD_MAGIC,
    ShardedArray,
    ShardError,
)
from worldsim.datasets.store.shard_layout import ShardLayout
from worldsim.spec.text_files import parse_json


class DamagedArrayError(ValueError):
    """An array, or one chunk of it, is not what was written."""


def read_layout(folder: Path) -> ShardLayout:
    """Read ``zarr.json`` of an array folder.

    Raises:
        DamagedArrayError: it is missing, cannot be read, or is not of the layout that episodes are written in.
    """
    try:
        about = parse_json((folder / "zarr.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedArrayError(f"{folder.name}/zarr.json cannot be read") from error
    layout = ShardLayout.parse(about) if isinstance(about, dict) else None
    if layout is None or layout.shape[0] > layout.shard_rows:
        raise DamagedArrayError(f"{folder.name}/zarr.json describes another layout than that of episodes")
    return layout


def shard_file(folder: Path, layout: ShardLayout) -> Path:
    """The one file that holds an array's chunks; absent when every value is the fill value."""
    return folder.joinpath("c", *["0"] * len(layout.shape))


def arrays_folder(episode: Path, manifest: Mapping[str, Any]) -> Path:
    """The folder of an episode's arrays; where the manifest does not tell, the only one that there is."""
    if "files" not in manifest and not (episode / ARRAYS).is_dir():
        return next(iter(sorted(episode.glob(f"{ARRAYS}.*"))), episode / ARRAYS)
    return episode / manifest.get("folder", ARRAYS)


class ArrayChunks:
    """The chunks of one array.

    Args:
        folder: of the array, with its ``zarr.json``.
        layout: to use instead of what ``zarr.json`` says, where that file is lost.
        present: whether the shard has to be there; without it, a shard that is not there is all fill value.
        sums: CRC-32C of every chunk (None: left out) where the manifest tells them: a chunk that was found without
            the index is then known by it.

    Attributes:
        indexed: whether the shard's index is sound.

    Raises:
        DamagedArrayError: the layout cannot be read, or the shard should be there and is not.
    """

    def __init__(
        self,
        folder: Path,
        layout: ShardLayout | None = None,
        *,
        present: bool = False,
        sums: Sequence[int | None] | None = None,
    ):
        self.folder = folder
        self.layout = layout or read_layout(folder)
        file = shard_file(folder, self.layout)
        if present and not file.is_file():
            raise DamagedArrayError(f"{folder.name} is missing")
        name = file.relative_to(folder.parent).as_posix()
        sizes = {name: file.stat().st_size} if file.is_file() else {}
        known = {} if sums is None else {name: sums}
        self._array = _Recovered(self.layout, folder.name, sizes, _reader(folder.parent), known)
        self._array.index()
        self.indexed = not self._array.recovered

    def __len__(self) -> int:
        return -(-self.layout.shape[0] // self.layout.chunk_rows)

    def span(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the one after its last."""
        rows = self.layout.chunk_rows
        return chunk * rows, min((chunk + 1) * rows, self.layout.shape[0])

    def read(self, chunk: int) -> NDArray[Any]:
        """The rows of a chunk, its checksum compared.

        Raises:
            DamagedArrayError: the chunk is lost or altered.
        """
        first, last = self.span(chunk)
        try:
            return self._array.read(first, last)
        except ShardError as error:
            raise DamagedArrayError(f"{self.folder.name}: rows {first} to {last - 1} are damaged") from error

    def read_all(self) -> NDArray[Any]:
        """Every row.

        Raises:
            DamagedArrayError: a chunk is lost or altered.
        """
        return self.read_rows(0, self.layout.shape[0])

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` (exclusive), from the chunks that hold them.

        Raises:
            DamagedArrayError: one of those chunks is lost or altered.
        """
        try:
            return self._array.read(start, stop)
        except ShardError as error:
            for chunk in range(start // self.layout.chunk_rows, -(-stop // self.layout.chunk_rows)):
                self.read(chunk)
            raise DamagedArrayError(f"{self.folder.name}: {error}") from error

    def sound(self) -> Iterator[bool]:
        """Whether each chunk is what was written; they are decompressed one after the other."""
        for chunk in range(len(self)):
            try:
                self.read(chunk)
            except DamagedArrayError:
                yield False
            else:
                yield True


def _reader(root: Path) -> Any:
    def read_range(path: str, start: int, stop: int) -> bytes:
        with (root / path).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return read_range


class _Recovered(ShardedArray):
    """An array whose index is put together from the chunks themselves where it is lost."""

    recovered = False

    def _load_index(self, shard: int) -> NDArray[np.uint64] | None:
        try:
            return super()._load_index(shard)
        except ShardError:
            self.recovered = True
        file, count = self.file(shard), self.layout.shard_rows // self.layout.chunk_rows
        content = self._read_range(file, 0, self._sizes[file])
        # A chunk that was not found lies behind the end of the file, where nothing can be read.
        index = np.full((count, 2), (len(content), CRC_BYTES + 1), np.uint64)
        sums = self._sums.get(file)
        for number, (at, length) in enumerate(_chunks_without_index(content, resume=sums is not None)):
            if sums is None:
                index[number : number + 1] = at, length
            else:
                crc = int.from_bytes(content[at + length - CRC_BYTES : at + length], "little")
                index[[i for i, known in enumerate(sums) if known == crc]] = at, length
        index[[i for i, known in enumerate(sums or ()) if known is None]] = ABSENT, ABSENT
        return index


def _chunks_without_index(content: bytes, *, resume: bool) -> Iterator[tuple[int, int]]:
    """Offset and length of the sound chunks of a shard, in the order in which they were written.

    Behind a damaged chunk nothing tells how many there were, so those that follow could be any: they are looked for
    only with ``resume``.
    """
    at = 0
    while at >= 0:
        end = _frame_end(content, at)
        if end is not None and _crc(content[at:end]) == content[end : end + CRC_BYTES]:
            yield at, end + CRC_BYTES - at
            at = end + CRC_BYTES
            if content.startswith(ZSTD_MAGIC, at):
                continue
        if not resume:
            return
        at = content.find(ZSTD_MAGIC, at + 1)


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
