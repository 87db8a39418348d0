"""Import recordings of any known format into an episode store: resumable, each recording whole or not at all."""

import errno
import importlib.metadata
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.datasets.governance.withdrawal import withdrawals
from worldsim.datasets.importers.recording import Footage, Frame, Recording, check_finite, cuts, encodable, piece
from worldsim.datasets.importers.resample import resample
from worldsim.datasets.store.store import SPLITS, EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.extras import MissingPackage

# The frames of one episode are held in memory while it is written.
EPISODE_BYTES = 2**30

# What writing raises when a name does not suit the file system: a fault of the recording, not of the store.
_BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR)

# What happens, for a progress bar: ("recording", origin), ("frames", n), ("done", "imported" | "there" | "broken").
Listener = Callable[[tuple[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How recordings become episodes.

    Attributes:
        size: (width, height) in pixels to scale to; default: native.
        fps: frames a second to lower the rate to; default: native.
        split: for all of them; default: by a hash of each recording's name.
        about: provenance that replaces what the importer says (licence, consent, source, ...).
        prefix: put before the names of the episodes.
        episode_frames: longer recordings are cut into episodes of at most so many frames.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    split: Split | None = None
    about: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""
    episode_frames: int = 1000

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            UserError: a value is not possible.
        """
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"unknown split {self.split!r}; known: {', '.join(SPLITS)}")
        if self.episode_frames < 2:
            raise UserError(f"episode_frames must be at least 2, got {self.episode_frames}")
        if self.size is not None and min(self.size) < 1:
            raise UserError(f"resize must be positive, got {self.size[0]}x{self.size[1]}")
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise UserError(f"fps must be positive, got {self.fps}")


@dataclass(kw_only=True)
class ImportReport:
    """What an import did. ``broken`` holds (origin, reason) of the recordings that were left out."""

    imported: int = 0
    there: int = 0
    episodes: int = 0
    frames: int = 0
    seconds: float = 0.0
    splits: Counter[str] = field(default_factory=Counter)
    unlicensed: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)

    def line(self) -> str:
        """The result in one line."""
        minutes = f"{self.seconds / 60:.1f} minutes"
        parts = [f"imported {self.imported} recordings: {self.episodes} episodes, {self.frames} frames, {minutes}"]
        if self.splits:
            parts.append(", ".join(f"{split} {self.splits[split]}" for split in SPLITS if self.splits[split]))
        if self.there:
            parts.append(f"{self.there} were there already")
        if self.broken:
            parts.append(f"{len(self.broken)} left out")
        return "; ".join(parts)


def import_recordings(
    store: EpisodeStore,
    recordings: Sequence[Recording],
    options: ImportOptions | None = None,
    listen: Listener = lambda message: None,
) -> ImportReport:
    """Import recordings that the store lacks. A broken one is noted in the report and left out whole.

    Raises:
        OSError: the store cannot be written.
        MissingPackage: a package that reads such recordings is not installed.
    """
    options, report = options or ImportOptions(), ImportReport()
    taken = _Taken(store)

    def tell(message: tuple[str, Any]) -> None:
        try:
            listen(message)
        except Exception as error:
            # What goes wrong in the caller's display is not the recording's fault, and ends the import.
            raise _NotItsFaultError(error) from error

    for recording in recordings:
        listen(("recording", encodable(recording.origin)))
        try:
            done = _import_one(store, recording, options, taken, report, tell)
        except _NotItsFaultError as error:
            raise error.reason from error
        except MissingPackage:
            # Nor this: every other recording of the kind would be left out for the same reason.
            raise
        except Exception as error:
            # Besides what importers say themselves: whatever a damaged file or a field of another type causes.
            report.broken.append((encodable(recording.origin), encodable(_first_line(error))))
            done = "broken"
        report.imported += done == "imported"
        report.there += done == "there"
        listen(("done", done))
    return report


class _NotItsFaultError(Exception):
    """Not the recording is at fault: the store, in which no other one could be written either, or the listener."""

    def __init__(self, reason: Exception):
        super().__init__(str(reason))
        self.reason = reason


class _Taken:
    """Names in a store, and which parts of a recording are there, or were and have been withdrawn."""

    def __init__(self, store: EpisodeStore):
        self._store = store
        self._parts: dict[str, set[str]] = {}
        self._withdrawn: dict[str, set[str]] = {}
        for name in store.names():
            self.add(name)
        for gone in withdrawals(store.path):
            self._withdrawn.setdefault(_recording_digest(gone.folder / "manifest.json"), set()).add(gone.name)

    def add(self, name: str) -> None:
        self._parts.setdefault(_base(name), set()).add(name)

    def of(self, name: str, identity: str) -> set[str]:
        """Episodes of the recording of this name.

        Raises:
            ValueError: they come from another recording.
        """
        there = self._parts.get(name, set())
        for episode in there:
            other = self._store.manifest(episode)["provenance"].get("recording_digest")
            if other != identity:
                raise ValueError(f"the store has an episode {episode!r} of another recording: give prefix=NAME-")
        return there | {gone for gone in self._withdrawn.get(identity, ()) if _base(gone) == name}


def _recording_digest(manifest: Path) -> str:
    """Which recording a withdrawn episode came from; empty where nothing tells."""
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["provenance"]["recording_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _import_one(
    store: EpisodeStore,
    recording: Recording,
    options: ImportOptions,
    taken: _Taken,
    report: ImportReport,
    listen: Listener,
) -> str:
    name, identity = options.prefix + recording.name, recording.identity()
    there = taken.of(name, identity)
    if there and len(there) == _parts_of(next(iter(there))):
        return "there"
    # Numbers beyond float32 are found afterwards, by name.
    with np.errstate(over="ignore", invalid="ignore"):
        footage = recording.open()
    check_finite(footage)
    footage = resample(footage, size=options.size, fps=options.fps)
    frames = footage.frames()
    if (first := next(frames, None)) is None:
        raise ValueError("it has no frames")
    pieces = cuts(len(footage), max(2, min(options.episode_frames, EPISODE_BYTES // first.nbytes)))
    names = [name] if len(pieces) == 1 else [f"{name}.part-{i:04d}-of-{len(pieces)}" for i in range(len(pieces))]
    if there - set(names):
        raise ValueError(f"it is in the store in part, cut differently: {min(there)}; use the same episode_frames")
    if len(pieces) > 1 and footage.verify is not None:
        footage.verify()
    about = {
        **footage.provenance,
        "split": options.split or recording.split,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": f"worldsim {importlib.metadata.version('worldsim')}",
        "recording": recording.name,
        "recording_digest": identity,
        **options.about,
    }
    blocks, written = _blocks(footage, first, frames, pieces, listen), 0
    for i, ((begin, _), block) in enumerate(zip(pieces, blocks, strict=True)):
        if names[i] in there:
            continue
        cut = {"part": i, "parts": len(pieces), "first_frame": begin} if len(pieces) > 1 else {}
        episode = piece(footage, block, begin, about | cut)
        try:
            store.append(episode, names[i])
        except FileExistsError:
            if names[i] not in store:
                raise
            # Another import was faster.
            continue
        except OSError as error:
            if error.errno in _BAD_NAME:
                raise
            raise _NotItsFaultError(error) from error
        taken.add(names[i])
        written += 1
        report.episodes += 1
        report.frames += len(episode)
        report.seconds += len(episode) / float(about["fps"])
        report.splits[about["split"]] += 1
        report.unlicensed += not about.get("licence")
    return "imported" if written else "there"


def _blocks(
    footage: Footage, first: Frame, rest: Iterator[Frame], pieces: Sequence[tuple[int, int]], listen: Listener
) -> Iterator[np.ndarray]:
    """The frames of each piece, uint8 (P, H, W, 3); neighbours share one.

    Raises:
        ValueError: the recording ends too early, or its pictures change their size.
    """
    last = first
    for begin, end in pieces:
        block = np.empty((end - begin, *first.shape), np.uint8)
        block[0] = last
        for t in range(1, end - begin):
            frame = next(rest, None)
            if frame is None:
                raise ValueError(f"it ends after {begin + t} of {len(footage)} frames")
            if frame.shape != first.shape:
                raise ValueError(f"frame {begin + t} is {frame.shape[1]}x{frame.shape[0]}, the first was otherwise")
            block[t] = frame
        last = block[-1]
        listen(("frames", end - begin))
        yield block


def _base(name: str) -> str:
    """The recording's name, without the mark of a part."""
    base, mark, _ = name.rpartition(".part-")
    return base if mark else name


def _parts_of(name: str) -> int:
    """Of how many episodes this one is a part."""
    return int(name.rpartition("-of-")[2]) if ".part-" in name else 1


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    reported = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, MemoryError):
        return f"it needs more memory than there is ({reported})"
    expected = isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
    return reported if expected else f"not as its format says ({type(error).__name__}: {reported})"
