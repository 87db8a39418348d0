"""Episodes on disk: zarr v3, sharded and checksummed; committed by one atomic rename; verified before trusted.

    STORE/episodes/NAME/manifest.json     sizes and sha256 of every file, text, events, provenance, and its own sha256
    STORE/episodes/NAME/arrays/...        a zarr v3 group: frames, actions, rewards, terminated, state/...
    STORE/unfinished/...                  episodes being written; never read

zarr alone is not enough: its default codecs read flipped bits silently, and a deleted shard reads as zeros.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from worldsim.datasets.episode import Episode

FORMAT = 1
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]

# A clip of 33 frames touches two chunks of 32; the whole episode is one shard, hence one file.
FRAMES_PER_CHUNK = 32
ZSTD_LEVEL = 1

# Of every twelve consecutive map seeds one is for validation and one for test (8.3 % each).
SPLIT_PERIOD = 12
_SPLIT_RESIDUES: dict[int, Split] = {1: "validation", 2: "test"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CorruptEpisodeError(ValueError):
    """Bytes on disk differ from what was committed."""


def split_of(map_seed: int) -> Split:
    """The split that a map seed belongs to: a fixed function, so that no two collections can disagree."""
    return _SPLIT_RESIDUES.get(map_seed % SPLIT_PERIOD, "train")


class EpisodeStore:
    """A folder of episodes. Several writers and readers may use it at once.

    Args:
        path: the folder; created when the first episode is appended.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._episodes = self.path / "episodes"
        self._unfinished = self.path / "unfinished"
        self._manifests: dict[str, dict[str, Any]] = {}
        self._open: dict[str, _OpenEpisode] = {}

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: str) -> bool:
        return (self._episodes / name / "manifest.json").is_file()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self, split: Split | None = None) -> list[str]:
        """Sorted names of the committed episodes, of one split if given.

        Raises:
            ValueError: the split is unknown.
        """
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        if not self._episodes.is_dir():
            return []
        names = sorted(entry.name for entry in os.scandir(self._episodes) if entry.is_dir())
        return names if split is None else [n for n in names if self.manifest(n)["provenance"].get("split") == split]

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of an episode, its own checksum verified.

        Raises:
            FileNotFoundError: there is no such episode.
            CorruptEpisodeError: the manifest was altered.
        """
        if name not in self._manifests:
            path = self._episodes / name / "manifest.json"
            if not path.is_file():
                raise FileNotFoundError(f"no episode {name!r} in {self.path}")
            self._manifests[name] = _read_manifest(path)
        return self._manifests[name]

    def frames_total(self, split: Split | None = None) -> int:
        """Number of frames in all episodes (of a split)."""
        return sum(int(self.manifest(name)["frames"]) for name in self.names(split))

    def append(self, episode: Episode, name: str) -> None:
        """Commit an episode: it becomes visible whole, or not at all, whenever the writer dies.

        Raises:
            ValueError: the name is not a plain file name, or the episode's split contradicts an earlier one of its map.
            FileExistsError: an episode of that name is there already.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"an episode's name is letters, digits, '.', '_' and '-', got {name!r}")
        if name in self:
            raise FileExistsError(f"episode {name!r} is already in {self.path}")
        seed, split = episode.provenance.get("seed"), episode.provenance.get("split")
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        if isinstance(seed, int) and split is not None and split != split_of(seed):
            raise ValueError(f"map seed {seed} belongs to split {split_of(seed)!r}, not {split!r}")
        self._episodes.mkdir(parents=True, exist_ok=True)
        aside = self._unfinished / f"{name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        aside.mkdir(parents=True)
        try:
            _write_arrays(episode, aside / "arrays")
            _write_manifest(episode, name, aside)
            _sync_tree(aside)
            # rename() of a folder onto a non-empty one fails, so of two writers of one name the second one loses.
            os.rename(aside, self._episodes / name)
            _sync_path(self._episodes)
        except OSError as error:
            if name in self:
                raise FileExistsError(f"episode {name!r} is already in {self.path}") from error
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> Episode:
        """Read an episode, or its frames ``start`` to ``stop`` (exclusive).

        In a part, ``actions`` and ``rewards`` keep their last row: the transition that leaves the part.

        Raises:
            FileNotFoundError: there is no such episode.
            CorruptEpisodeError: a file is missing, torn or altered.
            ValueError: the range is empty or outside the episode.
        """
        manifest, opened = self.manifest(name), self._opened(name)
        total = int(manifest["frames"])
        first, last = 0 if start is None else start, total if stop is None else stop
        if not 0 <= first < last <= total:
            raise ValueError(f"frames {first}:{last} are outside episode {name!r} of {total} frames")
        part = slice(first, last)
        return Episode(
            frames=cast("NDArray[np.uint8]", np.asarray(opened.frames[part])),
            actions=opened.small["actions"][part].copy(),
            rewards=opened.small["rewards"][part].copy(),
            terminated=opened.small["terminated"][part].copy(),
            state={k.removeprefix("state/"): v[part].copy() for k, v in opened.small.items() if k.startswith("state/")},
            events=[e | {"frame": e["frame"] - first} for e in manifest["events"] if first <= e["frame"] < last],
            text=manifest["text"],
            provenance=dict(manifest["provenance"]),
        )

    def verify(self, name: str) -> None:
        """Compare every file of an episode with its manifest, now.

        Raises:
            CorruptEpisodeError: a file is missing, torn, altered, or was added.
        """
        folder, files = self._episodes / name, self.manifest(name)["files"]
        found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
        for path in sorted(found ^ set(files)):
            raise CorruptEpisodeError(f"episode {name!r}: {path} is {'missing' if path in files else 'not its own'}")
        for path, expected in files.items():
            file = folder / path
            if file.stat().st_size != expected["size"] or _sha256(file) != expected["sha256"]:
                raise CorruptEpisodeError(f"episode {name!r}: {path} differs from what was written")

    def discard_unfinished(self) -> int:
        """Delete what writers that are no longer alive on this machine left unfinished; returns how many."""
        removed = 0
        for folder in self._unfinished.glob("*") if self._unfinished.is_dir() else ():
            writer = folder.name.rsplit(".", 2)[-2]
            if not Path("/proc", writer).exists():
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def _opened(self, name: str) -> "_OpenEpisode":
        if name not in self._open:
            self.verify(name)
            self._open[name] = _OpenEpisode(self._episodes / name / "arrays", self.manifest(name)["arrays"])
        return self._open[name]


class _OpenEpisode:
    """A verified episode: frames stay on disk, the small arrays (about 0.1 kB a frame) are kept in memory."""

    def __init__(self, folder: Path, names: list[str]):
        self.frames = cast("zarr.Array", zarr.open_array(store=folder / "frames", mode="r"))
        self.small: dict[str, NDArray[Any]] = {
            name: np.asarray(cast("zarr.Array", zarr.open_array(store=folder / name, mode="r"))[:])
            for name in names
            if name != "frames"
        }


def _write_arrays(episode: Episode, folder: Path) -> None:
    group = zarr.create_group(store=folder, zarr_format=3)
    for name, array in episode.arrays().items():
        rows = FRAMES_PER_CHUNK if name == "frames" else len(episode)
        target = group.create_array(
            name=name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(rows, *array.shape[1:]),
            shards=(-(-len(episode) // rows) * rows, *array.shape[1:]),
            compressors=(ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()),
        )
        target[:] = array


def _write_manifest(episode: Episode, name: str, folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    manifest = {
        "format": FORMAT,
        "name": name,
        "frames": len(episode),
        "size": [episode.frames.shape[2], episode.frames.shape[1]],
        "text": episode.text,
        "events": [dict(event) for event in episode.events],
        "provenance": dict(episode.provenance),
        "arrays": sorted(episode.arrays()),
        "files": {str(p.relative_to(folder)): {"size": p.stat().st_size, "sha256": _sha256(p)} for p in files},
    }
    body = json.loads(json.dumps(manifest, default=_plain))
    (folder / "manifest.json").write_text(json.dumps(body | {"sha256": _json_sha256(body)}, indent=1))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        checksum = manifest.pop("sha256")
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptEpisodeError(f"episode {path.parent.name!r}: its manifest cannot be read") from error
    if checksum != _json_sha256(manifest) or manifest["name"] != path.parent.name:
        raise CorruptEpisodeError(f"episode {path.parent.name!r}: its manifest was altered")
    if manifest["format"] != FORMAT:
        raise ValueError(f"episode {path.parent.name!r} has format {manifest['format']}, this version reads {FORMAT}")
    return manifest


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in a manifest")


def _json_sha256(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    """Flush files, then the folders that name them, so that the rename cannot overtake the contents."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync_path(path)
    _sync_path(folder)


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
