"""An episode that is being read: pictures and depth stay on disk, small arrays (0.2 kB a frame) in memory."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import DEPTH, PICTURES, Episode
from worldsim.datasets.store.folder import Folder
from worldsim.datasets.store.manifest import ARRAYS, CorruptEpisodeError, file_sha256
from worldsim.datasets.store.reader import ShardedArray, ShardError
from worldsim.datasets.store.shard_layout import ShardLayout
from worldsim.spec.damage import SYMPTOMS, check_declared
from worldsim.spec.text_files import parse_json

# Bytes of pictures that were left out because they are black: more than an importer puts into an episode.
MOST_BLANK = 2**31
_UPLOAD = re.compile(r"arrays\.[0-9a-f]{8}/")
# A manifest as Python objects takes about so many times the bytes of its file.
_OBJECTS_PER_BYTE = 5


class OpenEpisode:
    """Reads parts of one episode; any number of threads at once.

    What is read is always checked: the small arrays against the manifest's sha256, each chunk of pictures and depth
    against its own CRC-32C and (in episodes that have it) the manifest's.

    Args:
        folder: of the store.
        path: of the episode in it.
        manifest: of the episode, trusted.

    Raises:
        CorruptEpisodeError: a small array is missing, torn or altered.
    """

    def __init__(self, folder: Folder, path: str, manifest: Mapping[str, Any]):
        self.manifest, self.total = manifest, int(manifest["frames"])
        self._folder, self._path = folder, path
        self._events: list[dict[str, Any]] = manifest["events"]
        arrays = manifest.get("folder", ARRAYS)
        self._files: dict[str, dict[str, Any]] = manifest["files"]
        check_links(folder, path, manifest)
        self.frames = self._array(f"{arrays}/frames")
        self.depth = self._array(f"{arrays}/state/{DEPTH}") if f"state/{DEPTH}" in manifest["arrays"] else None
        small = sorted(set(manifest["arrays"]) - set(PICTURES))
        self.small = {name: self._whole(f"{arrays}/{name}") for name in small}
        self._check_shapes()
        self.nbytes = sum(a.nbytes for a in self.small.values()) + _OBJECTS_PER_BYTE * len(str(manifest["events"]))
        self.nbytes += _OBJECTS_PER_BYTE * 100 * len(self._files)

    @property
    def name(self) -> str:
        """Of the episode."""
        return self.manifest["name"]

    def read(self, first: int, last: int, out: NDArray[np.uint8] | None = None, *, depth: bool = True) -> Episode:
        """Frames ``first`` to ``last`` (exclusive) with all that belongs to them; pictures into ``out`` if given.

        Without ``depth``, the depth stays on disk and is not in the result.

        Raises:
            ValueError: the range is empty or outside the episode, or ``out`` does not fit.
            CorruptEpisodeError: a file is missing, torn or altered.
        """
        if not 0 <= first < last <= self.total:
            raise ValueError(f"frames {first}:{last} are outside episode {self.name!r} of {self.total} frames")
        try:
            frames = self.frames.read(first, last, out)
            depths = self.depth.read(first, last) if depth and self.depth is not None else None
        except (ShardError, FileNotFoundError, *SYMPTOMS) as error:
            raise CorruptEpisodeError(f"episode {self.name!r}: {error}") from error
        part = slice(first, last)
        state = {k.removeprefix("state/"): v[part].copy() for k, v in self.small.items() if k.startswith("state/")}
        if depths is not None:
            state[DEPTH] = depths
        try:
            return Episode(
                frames=cast("NDArray[np.uint8]", frames),
                actions=self.small["actions"][part].copy(),
                rewards=self.small["rewards"][part].copy(),
                terminated=self.small["terminated"][part].copy(),
                state=state,
                events=[e | {"frame": e["frame"] - first} for e in self._events if first <= e["frame"] < last],
                text=self.manifest["text"],
                provenance=dict(self.manifest["provenance"]),
            )
        except ValueError as error:
            raise CorruptEpisodeError(f"episode {self.name!r}: {error}") from error

    def _check_shapes(self) -> None:
        rows = {"frames": self.frames.shape[0]} | {name: len(array) for name, array in self.small.items()}
        if self.depth is not None:
            rows[DEPTH] = self.depth.shape[0]
        for name, count in rows.items():
            if count != self.total:
                raise CorruptEpisodeError(f"episode {self.name!r}: {name} has {count} rows for {self.total} frames")

    def _array(self, path: str) -> "ShardedArray | _ZarrArray":
        about = parse_json(self._checked(f"{path}/zarr.json"))
        layout = ShardLayout.parse(about)
        if layout is None:
            return _ZarrArray(self._in_memory(path))
        sizes = {
            f"{self._path}/{name}": int(file["size"])
            for name, file in self._files.items()
            if name.startswith(f"{path}/")
        }
        check_declared(path, layout.nbytes, sum(sizes.values()), slack=MOST_BLANK)
        sums = {
            f"{self._path}/{name}": self._files[name]["crc32c"]
            for name in self._files
            if name.startswith(f"{path}/") and "crc32c" in self._files[name]
        }
        return ShardedArray(layout, f"{self._path}/{path}", sizes, self._folder.read_range, sums)

    def _whole(self, path: str) -> NDArray[Any]:
        about = parse_json(self._checked(f"{path}/zarr.json"))
        layout = ShardLayout.parse(about)
        if layout is None:
            return _ZarrArray(self._in_memory(path)).read(0, None)
        content = {f: self._checked(f) for f in self._files if f.startswith(f"{path}/c/")}
        sizes = {f: len(body) for f, body in content.items()}
        check_declared(path, layout.nbytes, sum(sizes.values()))
        array = ShardedArray(layout, path, sizes, lambda f, start, stop: content[f][start:stop])
        try:
            return array.read(0, array.shape[0])
        except ShardError as error:
            raise CorruptEpisodeError(f"episode {self.name!r}: {error}") from error

    def _in_memory(self, path: str) -> dict[str, bytes]:
        """The files of an array that only zarr itself can read, checked."""
        return {f.removeprefix(f"{path}/"): self._checked(f) for f in self._files if f.startswith(f"{path}/")}

    def _checked(self, file: str) -> bytes:
        """A whole file, after comparing its checksum."""
        if file not in self._files:
            raise CorruptEpisodeError(f"episode {self.name!r}: its manifest does not name {file}")
        try:
            body = self._folder.read(f"{self._path}/{file}")
        except FileNotFoundError as error:
            raise CorruptEpisodeError(f"episode {self.name!r}: {file} is missing") from error
        if hashlib.sha256(body).hexdigest() != self._files[file]["sha256"]:
            raise CorruptEpisodeError(f"episode {self.name!r}: {file} differs from what was written")
        return body


class _ZarrArray:
    """An array of another layout, read by zarr from its checked files in memory."""

    def __init__(self, content: Mapping[str, bytes]):
        import zarr
        from zarr.core.buffer.cpu import Buffer
        from zarr.storage import MemoryStore

        store = MemoryStore({name: Buffer.from_bytes(body) for name, body in content.items()})
        self._array = cast("zarr.Array", zarr.open_array(store=store, mode="r"))
        self.shape = self._array.shape

    def read(self, start: int, stop: int | None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop``."""
        rows = np.asarray(self._array[start:stop])
        if out is None:
            return rows
        if out.shape != rows.shape or out.dtype != rows.dtype:
            raise ValueError(f"out must be {rows.dtype} {rows.shape}, got {out.dtype} {out.shape}")
        out[:] = rows
        return out


def check_links(folder: Folder, path: str, manifest: Mapping[str, Any]) -> None:
    """Refuse files of an episode that are links to somewhere else.

    Raises:
        CorruptEpisodeError: one is.
    """
    if folder.local is None:
        return
    home = os.path.realpath(folder.local / path)
    for file in manifest["files"]:
        if os.path.realpath(f"{home}/{file}") != f"{home}/{file}":
            raise CorruptEpisodeError(f"episode {manifest['name']!r}: {file} is a link to another file")


def verify_files(folder: Folder, path: str, manifest: Mapping[str, Any]) -> None:
    """Compare every file of an episode with its manifest.

    Raises:
        CorruptEpisodeError: a file is missing, torn, altered, or was added.
    """
    name, files = manifest["name"], manifest["files"]
    check_links(folder, path, manifest)
    found = folder.files(path)
    found.pop("manifest.json", None)
    # What an upload that died left beside is no part of the episode.
    own = manifest.get("folder", ARRAYS)
    found = {f: size for f, size in found.items() if not _UPLOAD.match(f) or f.startswith(f"{own}/")}
    for file in sorted(found.keys() ^ files.keys()):
        raise CorruptEpisodeError(f"episode {name!r}: {file} is {'missing' if file in files else 'not its own'}")
    for file, expected in files.items():
        whole = found[file] == expected["size"]
        if whole:
            with folder.open(f"{path}/{file}") as opened:
                whole = file_sha256(opened) == expected["sha256"]
        if not whole:
            raise CorruptEpisodeError(f"episode {name!r}: {file} differs from what was written")
