"""Which episodes a store has: their manifests, a bounded number of them in memory, and the index of all."""

import contextlib
import dataclasses
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from worldsim.datasets.store.folder import Folder
from worldsim.datasets.store.index import FILE, EpisodeIndex, Row
from worldsim.datasets.store.manifest import CorruptEpisodeError, parse_manifest

EPISODES = "episodes"
# From so many episodes on, the index is kept beside them.
INDEX_FROM = 256
# A folder changed this recently may change again without its time telling: clocks of file systems tick in milliseconds.
SETTLE_NS = 2_000_000_000
_MANIFESTS_KEPT = 512
_REQUESTS = 16

Progress = Callable[[int, int], None]


class Catalogue:
    """Manifests and index of the store in a folder; threads may share it.

    Args:
        folder: of the store.
        snapshot: take the index file as it is instead of looking which episodes there are.
    """

    def __init__(self, folder: Folder, *, snapshot: bool = False):
        self._folder, self._snapshot = folder, snapshot
        # One is held while the index is made, the other where threads that make it meet.
        self._lock, self._manifests_lock = threading.RLock(), threading.Lock()
        self._manifests: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._index: EpisodeIndex | None = None
        self._unreadable: dict[str, Exception] = {}

    def __contains__(self, name: str) -> bool:
        if self._snapshot:
            return self.index().row(name) is not None
        return self._folder.exists(f"{EPISODES}/{name}/manifest.json")

    def names(self) -> list[str]:
        """Sorted names of all committed episodes, also of those whose manifests turn out to be unreadable."""
        if self._folder.local is None:
            # Without renames, a folder without a manifest is an episode that is being written.
            return self.index().names_of()
        fresh = self._fresh()
        return sorted(name for name, _ in self._folder.children(EPISODES)) if fresh is None else fresh.names_of()

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of an episode, its own checksum verified.

        Raises:
            FileNotFoundError: there is no such episode.
            CorruptEpisodeError: the manifest was altered.
        """
        with self._manifests_lock:
            if name in self._manifests:
                self._manifests.move_to_end(name)
                return self._manifests[name]
        try:
            content = self._folder.read(f"{EPISODES}/{name}/manifest.json")
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"no episode {name!r} in {self._folder.url}") from None
        manifest = parse_manifest(content, name)
        with self._manifests_lock:
            self._manifests[name] = manifest
            while len(self._manifests) > _MANIFESTS_KEPT:
                self._manifests.popitem(last=False)
        return manifest

    def index(self, progress: Progress = lambda done, total: None) -> EpisodeIndex:
        """The index of all episodes; ``progress`` is told how many manifests were read of those that have to be.

        Raises:
            CorruptEpisodeError: a manifest cannot be read.
            FileNotFoundError: a snapshot is asked for, and the store has no index; or a manifest is missing.
        """
        with self._lock:
            index = self._fresh() or self._refresh(progress)
            for error in self._unreadable.values():
                raise error
            return index

    def rebuild(self, progress: Progress = lambda done, total: None) -> EpisodeIndex:
        """Read every manifest anew and write the index file."""
        with self._lock:
            self._index = EpisodeIndex.build(())
            with self._manifests_lock:
                self._manifests.clear()
            index = self._refresh(progress)
            for error in self._unreadable.values():
                raise error
            self._folder.replace(FILE, index.to_bytes())
            return index

    def _fresh(self) -> EpisodeIndex | None:
        """The index in memory or on disk if nothing can have changed since it was made."""
        with self._lock:
            if self._index is None:
                self._index = self._load()
            if self._snapshot:
                if self._index is None:
                    raise FileNotFoundError(f"{self._folder.url} has no {FILE}: worldsim data index writes it")
                return self._index
            if self._index is None or not self._index.settled or self._unreadable:
                return None
            return self._index if self._folder.version(EPISODES) == self._index.version else None

    def _load(self) -> EpisodeIndex | None:
        try:
            return EpisodeIndex.from_bytes(self._folder.read(FILE))
        except FileNotFoundError:
            return None
        except ValueError as error:
            if self._snapshot:
                raise CorruptEpisodeError(f"{self._folder.url}: {error}") from error
            return None

    def _refresh(self, progress: Progress) -> EpisodeIndex:
        """Look which episodes there are, and read the manifests of those that are new."""
        # In this order: what comes while the folder is listed has a later time than the one that is kept.
        now, version = time.time_ns(), self._folder.version(EPISODES)
        entries = dict(self._folder.children(EPISODES))
        before = self._index
        rows = _unchanged(before, entries)
        new = [name for name in entries if name not in rows]
        rows |= self._read_rows(new, entries, progress)
        settled = version is not None and now - version > SETTLE_NS and not self._unreadable
        if before is not None and not new and len(rows) == len(before):
            index = dataclasses.replace(before, version=version or 0, settled=settled)
            worth_keeping = settled and not before.settled
        else:
            index = EpisodeIndex.build(rows.values(), version=version or 0, settled=settled)
            worth_keeping = True
        self._index = index
        if worth_keeping:
            self._keep(index)
        return index

    def _read_rows(self, names: list[str], entries: dict[str, int], progress: Progress) -> dict[str, Row]:
        """Rows of the index from manifests; notes those that cannot be read."""
        rows: dict[str, Row] = {}
        self._unreadable = {}
        for i, (name, found) in enumerate(self._manifests_of(names)):
            progress(i + 1, len(names))
            if isinstance(found, dict):
                rows[name] = _row(found, entries[name])
            elif self._folder.local or not isinstance(found, FileNotFoundError):
                self._unreadable[name] = found
        return rows

    def _keep(self, index: EpisodeIndex) -> None:
        """Write the index of a large store on this machine beside its episodes."""
        if self._folder.local and len(index) >= INDEX_FROM:
            # It only saves time: a store that cannot be written to can be read all the same.
            with contextlib.suppress(OSError):
                self._folder.replace(FILE, index.to_bytes())

    def _manifests_of(self, names: list[str]) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
        with ThreadPoolExecutor(_REQUESTS if self._folder.local is None else 1) as pool:
            yield from zip(names, pool.map(self._try_manifest, names), strict=True)

    def _try_manifest(self, name: str) -> dict[str, Any] | Exception:
        try:
            return self.manifest(name)
        except (ValueError, OSError) as error:
            return error


def _unchanged(before: EpisodeIndex | None, entries: dict[str, int]) -> dict[str, Row]:
    """Rows of an earlier index whose episodes are still the same ones."""
    known = {} if before is None else before.as_rows()
    return {n: known[n] for n, identity in entries.items() if n in known and known[n].identity == identity}


def _row(manifest: dict[str, Any], identity: int) -> Row:
    about = manifest["provenance"]
    source = str(about.get("source") or about.get("engine") or "unknown")
    licence = str(about.get("licence") or "unknown")
    return Row(str(manifest["name"]), identity, int(manifest["frames"]), str(about.get("split") or ""), source, licence)
