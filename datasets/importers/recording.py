"""What every importer finds and opens: recordings, their names, their splits, and the episodes cut from them."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.recording.recorder import split_of_recording
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import Split
from worldsim.spec.inside import inside

Frame = NDArray[np.uint8]

# Enough of a file to tell it from another one of equal size: its index and its last frames.
_EDGE = 65_536
# File systems take 255 bytes; a part's mark and a writer's own come on top.
_LONGEST_NAME = 120
# Files of zarr itself beside the arrays.
_ZARR = ("zarr.json", "c")


@dataclass(frozen=True, kw_only=True)
class Footage:
    """An opened recording: everything small in memory, the pictures one by one. F frames, A action vector.

    Rows are aligned as in ``Episode``: ``actions[t]`` leads from frame t to frame t + 1, the last row is unused.

    Attributes:
        frames: starts the frames over: uint8 (H, W, 3), RGB, exactly F of them.
        actions: float32 (F, A).
        rewards: float32 (F,).
        terminated: bool (F,).
        state: arrays with leading axis F.
        events: one mapping per event, each with ``frame`` and ``kind``.
        text: caption.
        provenance: of the episodes; at least ``keys`` and ``fps``.
        times: float64 (F,), seconds, where the frames do not last equally long.
        verify: raises ValueError if the pictures cannot all be read; run before a long recording is cut.
    """

    frames: Callable[[], Iterator[Frame]]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    provenance: Mapping[str, Any]
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    text: str = ""
    times: NDArray[np.float64] | None = None
    verify: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording that was found and not opened yet.

    Attributes:
        name: of its episode in the store.
        origin: what to call it in messages: its file.
        open: reads all but the pictures; raises ValueError or OSError when it is broken.
        group: recordings of one group get the same split; default: its name.
        files: that tell it from another recording of the same name.
        root: the folder that all it reads has to lie in.
        beside: what else it reads.
        part: which part of these files it is.
        fixed: the split, where it was decided before.
    """

    name: str
    origin: str
    open: Callable[[], Footage]
    group: str = ""
    files: tuple[Path, ...] = ()
    root: Path | None = None
    beside: tuple[Path, ...] = ()
    part: str = ""
    fixed: Split | None = None

    def identity(self) -> str:
        """A digest of what the recording is: sizes, beginnings and ends of its files.

        Raises:
            UserError: a file of it lies outside of its root, by a link or by its path.
        """
        if self.root is not None:
            for path in (*self.files, *self.beside):
                inside(self.root, path)
        digest = hashlib.sha256(_bytes_of(self.part))
        for path in self.files:
            size = path.stat().st_size
            digest.update(str(size).encode())
            with path.open("rb") as file:
                digest.update(file.read(_EDGE))
                file.seek(max(0, size - _EDGE))
                digest.update(file.read(_EDGE))
        return digest.hexdigest()[:32]

    @property
    def split(self) -> Split:
        """Train, validation or test: a fixed function of the group's name, with the shares of ``split_of``."""
        return self.fixed or split_of_recording(self.group or self.name)


def episode_name(text: str) -> str:
    """A name that the store takes; where characters had to go, a digest keeps different texts different."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text.replace("/", ".")).lstrip("._-")[:_LONGEST_NAME] or "recording"
    return plain if plain == text else f"{plain}-{hashlib.sha256(_bytes_of(text)).hexdigest()[:8]}"


def state_name(text: str) -> str:
    """A name that an array of a store takes: ``text``, unless it cannot be a file's."""
    plain = (
        re.fullmatch(r"[^\x00-\x1f/\\]+", text) and not text.startswith(".") and len(_bytes_of(text)) <= _LONGEST_NAME
    )
    return text if plain and text not in _ZARR else episode_name(f"{text}/")


def _bytes_of(text: str) -> bytes:
    # Names of files need not be Unicode, and JSON can spell characters that no encoding has.
    return text.encode("utf-8", "surrogatepass")


def names_of(paths: Sequence[Path], root: Path) -> list[str]:
    """Names of the recordings in files below ``root``: without the suffix, unless two differ by it alone."""
    whole = [path.relative_to(root) if path.is_relative_to(root) else Path(path.name) for path in paths]
    plain = [path.with_suffix("").as_posix() for path in whole]
    counts = Counter(plain)
    chosen = [path.as_posix() if counts[name] > 1 else name for path, name in zip(whole, plain, strict=True)]
    return [episode_name(name) for name in chosen]


def files_below(root: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files with one of the suffixes (lower case), sorted; hidden ones are left out. ``root`` may be a file itself."""
    if root.is_file():
        return [root] if root.suffix.lower() in suffixes else []
    found = (p for p in root.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def base_of(source: Path) -> Path:
    """The folder that names are relative to."""
    return source if source.is_dir() else source.parent


def still(actions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """No rewards and no end, for recordings that tell neither."""
    return np.zeros(len(actions), np.float32), np.zeros(len(actions), np.bool_)


def check_finite(footage: Footage) -> None:
    """Refuse numbers that are none, or were beyond float32.

    Raises:
        ValueError: says where.
    """
    for name, array in (("actions", footage.actions), ("rewards", footage.rewards)):
        if not np.isfinite(array).all():
            t = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(f"its {name} are not all finite numbers of float32: see frame {t}")
    for name, array in footage.state.items():
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise ValueError(f"its {name} is not always a finite number of {array.dtype}")


def cuts(length: int, longest: int) -> list[tuple[int, int]]:
    """Pieces (first, end) of at most ``longest`` frames; neighbours share a frame, so that no transition is lost."""
    if longest < 2:
        raise ValueError(f"an episode needs room for two frames, got {longest}")
    pieces, first = [], 0
    while True:
        end = min(length, first + longest)
        pieces.append((first, end))
        if end == length:
            return pieces
        first = end - 1


def piece(footage: Footage, frames: NDArray[np.uint8], first: int, provenance: Mapping[str, Any]) -> Episode:
    """The episode of ``frames`` (P, H, W, 3), which are those from ``first`` on."""
    part = slice(first, first + len(frames))
    actions, rewards = footage.actions[part].copy(), footage.rewards[part].copy()
    actions[-1], rewards[-1] = 0, 0
    # An event is seen in its frame: in a shared frame it belongs to the transition that led there.
    begin = first if first == 0 else first + 1
    return Episode(
        frames=frames,
        actions=actions,
        rewards=rewards,
        terminated=footage.terminated[part].copy(),
        state={state_name(name): array[part].copy() for name, array in footage.state.items()},
        events=[
            encodable(e | {"frame": e["frame"] - first})
            for e in map(dict, footage.events)
            if begin <= e["frame"] < part.stop
        ],
        text=encodable(footage.text),
        provenance=encodable({**footage.provenance, **provenance}),
    )


def encodable(value: Any) -> Any:
    """JSON whose texts every file and terminal takes: half characters, and bytes that are no Unicode, as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {encodable(name): encodable(part) for name, part in value.items()}
    return [encodable(part) for part in value] if isinstance(value, list | tuple) else value
