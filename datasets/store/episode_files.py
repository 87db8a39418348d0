"""Writes the files of an episode: zarr v3 arrays and the manifest that vouches for them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from worldsim.datasets.store.episode import PICTURES, Episode
from worldsim.datasets.store.manifest import ARRAYS, make_manifest, path_sha256
from worldsim.datasets.store.reader import ShardedArray
from worldsim.datasets.store.shard_layout import ShardLayout

# Frames are compressed in chunks of about this size: of a random clip of 16 frames at 144x80 then 23 are
# decompressed (chunks of 8; with chunks of 32 it was 47). The whole episode is one shard, hence one file.
CHUNK_BYTES = 1 << 18
MOST_ROWS = 32
# Level 3 takes a fifth less room than level 1 on recorded play, and decompresses as fast.
ZSTD_LEVEL = 3


def chunk_rows(frame_bytes: int) -> int:
    """Frames in a chunk."""
    return max(1, min(MOST_ROWS, round(CHUNK_BYTES / max(1, frame_bytes))))


def recorded_rows(manifest: Mapping[str, Any]) -> int:
    """Frames in a chunk of an episode as its manifest tells; where ``zarr.json`` is whole, that says it better."""
    width, height = manifest["size"]
    checksummed = any("crc32c" in file for file in manifest["files"].values())
    # Before chunks were listed in the manifest, there were always 32 frames in one.
    return chunk_rows(3 * width * height) if checksummed else MOST_ROWS


def write_arrays(episode: Episode, folder: Path) -> None:
    """Write a zarr v3 group of all arrays of an episode."""
    group = zarr.create_group(store=folder, zarr_format=3)
    for name, array in episode.arrays().items():
        rows = chunk_rows(array[0].nbytes) if name in PICTURES else len(episode)
        target = group.create_array(
            name=name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(rows, *array.shape[1:]),
            shards=(-(-len(episode) // rows) * rows, *array.shape[1:]),
            compressors=(ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()),
        )
        target[:] = array


def manifest_of(episode: Episode, name: str, folder: Path, arrays: str = ARRAYS) -> bytes:
    """The manifest of the files that ``write_arrays`` left in ``folder / arrays``."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(p for p in (folder / arrays).rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": path_sha256(path)}
    for array in PICTURES:
        if array in episode.arrays():
            for file, sums in _chunk_sums(folder, f"{arrays}/{array}", files).items():
                files[file]["crc32c"] = sums
    return make_manifest(episode, name, files, arrays)


def _chunk_sums(folder: Path, path: str, files: dict[str, dict[str, Any]]) -> dict[str, list[int | None]]:
    """CRC-32C of each chunk of an array: with it, a part can be trusted without reading the whole shard."""
    layout = ShardLayout.parse(json.loads((folder / path / "zarr.json").read_text()))
    if layout is None:
        raise RuntimeError("zarr wrote an array in an unexpected layout")
    sizes = {file: int(about["size"]) for file, about in files.items() if file.startswith(f"{path}/c/")}

    def read(file: str, start: int, stop: int) -> bytes:
        with (folder / file).open("rb") as opened:
            opened.seek(start)
            return opened.read(stop - start)

    array = ShardedArray(layout, path, sizes, read)
    shards = range(-(-layout.shape[0] // layout.shard_rows))
    return {array.file(shard): array.sums(shard) for shard in shards if array.file(shard) in sizes}


def sync_tree(folder: Path) -> None:
    """Flush files, then the folders that name them, so that a rename cannot overtake the contents."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync_path(path)
    sync_path(folder)


def sync_path(path: Path) -> None:
    """Flush one file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
