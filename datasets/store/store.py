"""Episodes on disk: zarr v3, sharded and checksummed; committed by one atomic rename; verified before trusted.

    STORE/episodes/NAME/manifest.json     sizes and sha256 of every file, text, events, provenance, and its own sha256
    STORE/episodes/NAME/arrays/...        a zarr v3 group: frames, actions, rewards, terminated, state/...
    STORE/unfinished/...                  episodes being written; never read
    STORE/withdrawn/NAME/...              taken out (worldsim.datasets.governance.withdrawal); never read
    STORE/index.npz                       saves reading every manifest of a large store; made anew when it is old

zarr alone is not enough: its default codecs read flipped bits silently, and a deleted shard reads as zeros.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.catalogue import EPISODES, Catalogue, Progress
from worldsim.datasets.store.commit import commit_episode, discard_unfinished, upload_episode
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.folder import absolute, open_folder
from worldsim.datasets.store.index import EpisodeIndex
from worldsim.datasets.store.manifest import FORMAT, CorruptEpisodeError, json_sha256
from worldsim.datasets.store.open_episode import OpenEpisode, verify_files
from worldsim.spec.damage import reading

__all__ = [
    "FORMAT", "SPLITS", "SPLIT_PERIOD", "CorruptEpisodeError", "EpisodeStore", "Split", "WithdrawnEpisodeError",
    "split_of",
]  # fmt: skip

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Of every twelve consecutive map seeds one is for validation and one for test (8.3 % each).
SPLIT_PERIOD = 12
_SPLIT_RESIDUES: dict[int, Split] = {1: "validation", 2: "test"}

# Where withdrawn episodes lie, and the file that says why.
WITHDRAWN, REASON_FILE = "withdrawn", "withdrawn.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def split_of(map_seed: int) -> Split:
    """The split that a map seed belongs to: a fixed function, so that no two collections can disagree."""
    return _SPLIT_RESIDUES.get(map_seed % SPLIT_PERIOD, "train")


class WithdrawnEpisodeError(ValueError):
    """An episode of that name was taken out of the store; it does not come back."""


class EpisodeStore:
    """A folder of episodes. Several writers and readers may use it at once; a store may be shared by threads.

    Args:
        path: the folder, created when the first episode is appended, or an fsspec URL (``s3://bucket/luanti``).
        verify: ``whole`` compares every file of an episode with its sha256 before its first frame is returned, once;
            ``parts`` only what is read (chunks by CRC-32C). Default: whole on this machine, parts behind a URL.
        snapshot: take the store's index file as it is instead of looking which episodes there are; for servers that
            cannot list folders, and for large stores behind a URL.
        memory: bytes that open episodes may take; the ones not used for longest are closed.

    Raises:
        UserError: the URL's protocol is unknown or needs a package that is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verify: Literal["whole", "parts"] | None = None,
        snapshot: bool = False,
        memory: int = 512 << 20,
    ):
        self._options: dict[str, Any] = {"path": absolute(path), "verify": verify}
        self._options |= {"snapshot": snapshot, "memory": memory}
        self._folder = open_folder(path)
        self._whole = verify == "whole" or (verify is None and self._folder.local is not None)
        self._memory = memory
        self._catalogue = Catalogue(self._folder, snapshot=snapshot)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Future[OpenEpisode]] = OrderedDict()
        self._open_bytes = 0
        # Digests of episodes compared with their manifests, so that one that was closed need not be again.
        self._verified: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Another process (a data loader's worker) opens and verifies for itself."""
        return self._options

    def __setstate__(self, options: dict[str, Any]) -> None:
        self.__init__(**options)

    @property
    def url(self) -> str:
        """Where the store is, for messages."""
        return self._folder.url

    @property
    def path(self) -> Path:
        """The folder of a store on this machine.

        Raises:
            ValueError: the store is behind a URL.
        """
        if self._folder.local is None:
            raise ValueError(f"{self.url} is not a folder of this machine")
        return self._folder.local

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: str) -> bool:
        return name in self._catalogue

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def withdrawn(self, name: str) -> bool:
        """Whether an episode of that name was taken out, and none may be appended under it."""
        files = (f"{WITHDRAWN}/{name}/{file}" for file in ("manifest.json", REASON_FILE))
        return any(self._folder.exists(file) for file in files)

    def taken(self, name: str) -> bool:
        """Whether nothing is left to record under that name: an episode is there, or was withdrawn."""
        return name in self or self.withdrawn(name)

    def names(self, split: Split | None = None) -> list[str]:
        """Sorted names of the committed episodes, of one split if given.

        Raises:
            ValueError: the split is unknown.
            CorruptEpisodeError: a split is asked for, and a manifest that would tell cannot be read.
        """
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        if split is None:
            return self._catalogue.names()
        index = self.index()
        return index.names_of(index.rows(split=split))

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of an episode, its own checksum verified.

        Raises:
            FileNotFoundError: there is no such episode.
            CorruptEpisodeError: the manifest was altered.
        """
        return self._catalogue.manifest(name)

    def digest(self, name: str) -> str:
        """sha256 of an episode's manifest, which holds those of all its files: it names the episode's content."""
        return json_sha256(self.manifest(name))

    def frames_total(self, split: Split | None = None) -> int:
        """Number of frames in all episodes (of a split)."""
        index = self.index()
        return int(index.frames[index.rows(split=split)].sum(dtype=np.int64))

    def append(self, episode: Episode, name: str) -> None:
        """Commit an episode: it becomes visible whole, or not at all, whenever the writer dies.

        Behind a URL, where nothing can be renamed, the manifest is written last: without it there is no episode.

        Raises:
            ValueError: the name is not a plain file name, or the episode's split contradicts an earlier one of its map.
            FileExistsError: an episode of that name is there already.
            WithdrawnEpisodeError: one was, and was withdrawn: whoever records it again must not bring it back.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"an episode's name is letters, digits, '.', '_' and '-', got {name!r}")
        if name in self:
            raise FileExistsError(f"episode {name!r} is already in {self.url}")
        if self.withdrawn(name):
            raise WithdrawnEpisodeError(f"episode {name!r} was withdrawn from {self.url}: its name is not used again")
        seed, split = episode.provenance.get("seed"), episode.provenance.get("split")
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        if isinstance(seed, int) and split is not None and split != split_of(seed):
            raise ValueError(f"map seed {seed} belongs to split {split_of(seed)!r}, not {split!r}")
        if self._folder.local is None:
            upload_episode(self._folder, episode, name)
        else:
            commit_episode(self._folder.local, episode, name)

    def read(
        self,
        name: str,
        start: int | None = None,
        stop: int | None = None,
        out: NDArray[np.uint8] | None = None,
        *,
        depth: bool = True,
    ) -> Episode:
        """Read an episode, or its frames ``start`` to ``stop`` (exclusive).

        In a part, ``actions`` and ``rewards`` keep their last row: the transition that leaves the part. ``out``, uint8
        (F, H, W, 3), receives the pictures if given. Without ``depth``, an episode that has it is read without.

        Raises:
            FileNotFoundError: there is no such episode.
            CorruptEpisodeError: a file is missing, torn or altered.
            ValueError: the range is empty or outside the episode.
        """
        opened = self._opened(name)
        return opened.read(0 if start is None else start, opened.total if stop is None else stop, out, depth=depth)

    def frame_size(self, name: str) -> tuple[int, int]:
        """Width and height of an episode's frames in pixels."""
        height, width = self._opened(name).frames.shape[1:3]
        return width, height

    def verify(self, name: str) -> None:
        """Compare every file of an episode with its manifest, now.

        Raises:
            CorruptEpisodeError: a file is missing, torn, altered, or was added.
        """
        with reading(f"episode {name!r}", "an episode", CorruptEpisodeError):
            verify_files(self._folder, f"{EPISODES}/{name}", self.manifest(name))

    def index(self, progress: Progress = lambda done, total: None) -> EpisodeIndex:
        """Name, length, split, source and licence of every episode.

        It is kept from one opening of the store to the next, in ``STORE/index.npz``, and believed as long as the time
        of the folder's last change says that no episode came or went; else the manifests of new episodes are read.

        Args:
            progress: called with the number of manifests read and of all that have to be.

        Raises:
            CorruptEpisodeError: a manifest cannot be read.
            FileNotFoundError: a snapshot is asked for, and the store has no index; or a manifest is missing.
        """
        return self._catalogue.index(progress)

    def write_index(self, progress: Progress = lambda done, total: None) -> EpisodeIndex:
        """Read every manifest again and write the index file: for snapshots, and after changes made by other means."""
        return self._catalogue.rebuild(progress)

    def discard_unfinished(self) -> int:
        """Delete what writers that are no longer alive on this machine left unfinished; returns how many."""
        return 0 if self._folder.local is None else discard_unfinished(self._folder.local)

    def _opened(self, name: str) -> OpenEpisode:
        with self._lock:
            future, mine = self._open.get(name), False
            if future is None:
                future, mine = Future(), True
                self._open[name] = future
            self._open.move_to_end(name)
        if mine:
            try:
                opened = self._load(name)
            except BaseException as error:
                with self._lock:
                    self._open.pop(name, None)
                future.set_exception(error)
                raise
            future.set_result(opened)
            with self._lock:
                self._open_bytes += opened.nbytes
                self._close_oldest()
        return future.result()

    def _load(self, name: str) -> OpenEpisode:
        manifest = self.manifest(name)
        if self._whole:
            # What was verified is remembered by content and by the state of its largest file.
            key = hash((json_sha256(manifest), *self._states(name, manifest)))
            if key not in self._verified:
                self.verify(name)
                self._verified.add(key)
        with reading(f"episode {name!r}", "an episode", CorruptEpisodeError):
            return OpenEpisode(self._folder, f"{EPISODES}/{name}", manifest)

    def _states(self, name: str, manifest: dict[str, Any]) -> list[tuple[int | str, ...]]:
        try:
            return [self._folder.state(f"{EPISODES}/{name}/{f}") for f in manifest["files"] if "/frames/c/" in f]
        except FileNotFoundError:
            return []

    def _close_oldest(self) -> None:
        for name in list(self._open):
            if self._open_bytes <= self._memory or len(self._open) == 1:
                return
            if self._open[name].done():
                self._open_bytes -= self._open.pop(name).result().nbytes
