"""Salvage what is sound of a damaged store, say what was lost and why, and destroy nothing.

A damaged chunk of frames costs those frames: the episode is split into its sound parts, each an episode of its own. A
damaged manifest is written anew from the arrays and from what of it can still be read. What is damaged stays as it was,
in the old store or in ``STORE/damaged/NAME``.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.check_chunks import ArrayChunks, DamagedArrayError, arrays_folder
from worldsim.datasets.check_episode import compare_files
from worldsim.datasets.episode import Episode
from worldsim.datasets.episode_files import recorded_rows, sync_path, sync_tree
from worldsim.datasets.governance import identity
from worldsim.datasets.shard_reader import ShardLayout
from worldsim.datasets.store import CorruptEpisodeError, EpisodeStore

NEEDED = ("actions", "rewards", "terminated")
# What an episode says of itself before the store adds anything; read one by one from a manifest that was cut.
FIELDS = ("text", "events", "provenance")


@dataclass(frozen=True)
class Loss:
    """Something that could not be kept: what of which episode, and why."""

    episode: str
    what: str
    why: str


@dataclass
class RepairReport:
    """What a repair did.

    Attributes:
        whole: sound episodes (copied, or left where they are).
        parts: new episodes by the name of the damaged one that they are from.
        losses: what could not be kept.
        aside: damaged episodes that were moved to ``STORE/damaged``.
    """

    whole: int = 0
    parts: dict[str, list[str]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def repair(
    store: EpisodeStore,
    out: EpisodeStore | None = None,
    *,
    keep_incomplete: bool = False,
    shortest: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Repair a store, into a new one or in place.

    Args:
        store: the damaged one.
        out: where sound episodes and sound parts go; default: parts are added to ``store``, and damaged episodes
            moved to ``STORE/damaged``. A repair that was interrupted may be run again.
        keep_incomplete: also keep frames whose actions are lost, as episodes of unknown actions, and those whose
            rewards or terminations are lost, as zeros; their provenance says so.
        shortest: parts with fewer frames are not kept.
        progress: called with (episodes done, episodes in all).

    Raises:
        FileNotFoundError: there is no such store.
        ValueError: ``out`` is the same store.
    """
    folder = store.path / "episodes"
    if not folder.is_dir():
        raise FileNotFoundError(f"no episode store at {store.path}")
    if out is not None and out.path.resolve() == store.path.resolve():
        raise ValueError(f"out is the store itself, {out.path}: leave it out to repair in place")
    report = RepairReport()
    usual = _usual(store)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for done, name in enumerate(names, 1):
        if _is_sound(store, name):
            report.whole += 1
            if out is not None and name not in out:
                copy_episode(folder / name, out)
        else:
            _salvage_into(store if out is None else out, folder / name, usual, report, keep_incomplete, shortest)
            if out is None:
                report.aside.append(str(_move_aside(store, name).relative_to(store.path)))
        if progress is not None:
            progress(done, len(names))
    return report


def copy_episode(folder: Path, out: EpisodeStore) -> None:
    """Copy an episode byte by byte, so that its identity stays; it appears in ``out`` whole or not at all."""
    aside = out.path / "unfinished" / f"{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    (out.path / "episodes").mkdir(parents=True, exist_ok=True)
    aside.parent.mkdir(exist_ok=True)
    try:
        shutil.copytree(folder, aside)
        manifest = json.loads((aside / "manifest.json").read_text())
        if wrong := compare_files(aside, manifest, hash_files=True):
            raise CorruptEpisodeError(f"episode {folder.name!r}: {wrong[0]} after copying")
        sync_tree(aside)
        aside.rename(out.path / "episodes" / folder.name)
        sync_path(out.path / "episodes")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_sound(store: EpisodeStore, name: str) -> bool:
    try:
        store.verify(name)
    except (CorruptEpisodeError, FileNotFoundError):
        return False
    return True


def _salvage_into(
    out: EpisodeStore, folder: Path, usual: Mapping[str, Any], report: RepairReport, incomplete: bool, shortest: int
) -> None:
    parts, losses = salvage(folder, usual, keep_incomplete=incomplete, shortest=shortest)
    report.losses += losses
    kept = report.parts.setdefault(folder.name, [])
    for name, episode in parts:
        try:
            # An interrupted repair may have written it before.
            if name not in out:
                out.append(episode, name)
            kept.append(name)
        except ValueError as error:
            # What a damaged manifest says may be nonsense, such as a split that is not that of the map.
            report.losses.append(Loss(folder.name, f"part {name}", str(error)))


def salvage(
    folder: Path, usual: Mapping[str, Any] | None = None, *, keep_incomplete: bool = False, shortest: int = 2
) -> tuple[list[tuple[str, Episode]], list[Loss]]:
    """Sound parts of a damaged episode with their new names, and what is lost.

    Args:
        folder: of the episode.
        usual: ``keys`` and ``fps`` that all other episodes of the store share, for one whose manifest is lost.
        keep_incomplete, shortest: as for ``repair``.
    """
    name, losses = folder.name, list[Loss]()
    manifest, trust = read_what_is_left(folder / "manifest.json")
    if trust != "whole":
        losses.append(Loss(name, "manifest", trust))
    try:
        frames = _open_frames(folder, manifest)
    except DamagedArrayError as error:
        return [], [*losses, Loss(name, "everything", str(error))]
    small = _sound_arrays(folder, manifest, frames.layout.shape[0], losses)
    missing = [array for array in NEEDED if array not in small]
    if missing and not keep_incomplete:
        why = f"{', '.join(missing)} cannot be read (keep_incomplete=true keeps the frames all the same)"
        return [], [*losses, Loss(name, "everything", why)]
    provenance = dict(manifest.get("provenance") or {})
    if trust != "whole":
        _assume_usual(provenance, small.get("actions"), usual or {}, losses, name)
    _stand_in(small, missing, provenance, frames.layout.shape[0])
    runs = _sound_runs(frames, losses, name, shortest)
    about: dict[str, Any] = {
        "episode": name,
        "identity": identity(manifest) if trust == "whole" else "",
        "manifest": trust,
        "lost": [f"{loss.what}: {loss.why}" for loss in losses],
    }
    if not frames.indexed and not _numbered(manifest):
        # Chunks that hold nothing but black are not written, and without the index nothing tells where they were.
        about["frames"] = "the shard's index was lost: chunks are numbered in the order found"
    parts = []
    for first, last in runs:
        told = provenance | {"salvaged": about | {"first_frame": first}}
        parts.append((f"{name}.f{first:06d}-{last:06d}", _part(frames, small, manifest, told, first, last)))
    return parts, losses


def read_what_is_left(path: Path) -> tuple[dict[str, Any], str]:
    """A manifest, or what can be read of a damaged one; and ``whole``, or what is wrong with it."""
    try:
        content = path.read_bytes().decode(errors="replace")
    except OSError:
        return {}, "it is missing"
    try:
        manifest = json.loads(content)
        if isinstance(manifest, dict) and manifest.get("sha256") == identity(manifest):
            # The arrays' files are held against a manifest that is whole; any other one may name wrong hashes.
            return manifest, "whole"
        return _plausible(manifest if isinstance(manifest, dict) else {}), "its checksum is wrong"
    except ValueError:
        left, decoder = dict[str, Any](), json.JSONDecoder()
        for name in FIELDS:
            # Fields stand one space deep; those inside the provenance stand deeper.
            if match := re.search(rf'^ "{name}": ', content, re.MULTILINE):
                try:
                    left[name] = decoder.raw_decode(content, match.end())[0]
                except ValueError:
                    continue
        return _plausible(left), "it is not whole"


def _plausible(left: Mapping[str, Any]) -> dict[str, Any]:
    """Only those fields of a damaged manifest that have the type they should have."""
    types = {"text": str, "events": list, "provenance": dict}
    return {name: left[name] for name, kind in types.items() if isinstance(left.get(name), kind)}


def _open_frames(folder: Path, manifest: Mapping[str, Any]) -> ArrayChunks:
    """The frames, also where their ``zarr.json`` is lost but the manifest tells their shape."""
    where, files = arrays_folder(folder, manifest) / "frames", manifest.get("files", {})
    written = [about for path, about in files.items() if "/frames/c/" in path]
    sums = written[0].get("crc32c") if written else None
    try:
        # Without a manifest, a shard that is not there may be lost as well as all black.
        return ArrayChunks(where, present=bool(written) or "files" not in manifest, sums=sums)
    except DamagedArrayError:
        if not written:
            raise
        (width, height), frames, rows = manifest["size"], int(manifest["frames"]), recorded_rows(manifest)
        layout = ShardLayout((frames, height, width, 3), np.dtype(np.uint8), rows, -(-frames // rows) * rows, 0)
        return ArrayChunks(where, layout, present=True, sums=sums)


def _numbered(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest tells each chunk of frames by its checksum."""
    return any("crc32c" in about for about in manifest.get("files", {}).values())


def _sound_arrays(
    folder: Path, manifest: Mapping[str, Any], frames: int, losses: list[Loss]
) -> dict[str, NDArray[Any]]:
    """All arrays but the frames that can be read, each with a row for every frame."""
    root = arrays_folder(folder, manifest)
    found = [str(p.parent.relative_to(root)) for p in root.rglob("zarr.json") if p.parent not in (root, root / "state")]
    names = manifest.get("arrays") or sorted(found)
    files, small = manifest.get("files"), {}
    for name in names:
        if name == "frames":
            continue
        try:
            shard = any(f"/{name}/c/" in path for path in files) if files else name == "actions"
            array = ArrayChunks(root / name, present=shard).read_all()
            if len(array) != frames:
                raise DamagedArrayError(f"{name} has {len(array)} rows for {frames} frames")
            small[name] = array
        except DamagedArrayError as error:
            losses.append(Loss(folder.name, name, str(error)))
    return small


def _assume_usual(
    provenance: dict[str, Any],
    actions: NDArray[Any] | None,
    usual: Mapping[str, Any],
    losses: list[Loss],
    name: str,
) -> None:
    """Fill in what a lost manifest does not say and all other episodes agree on."""
    for key in ("keys", "fps"):
        fits = key != "keys" or (actions is not None and actions.shape[1] - len(usual.get("keys") or ()) in (0, 2))
        if key not in provenance and key in usual and fits:
            provenance[key] = usual[key]
            losses.append(Loss(name, key, "taken from the other episodes, which all agree on it"))
    if "split" not in provenance:
        # Nobody knows which maps it shows, so it must not slip into training or into tests.
        losses.append(Loss(name, "split", "unknown: the episode is in none"))


def _usual(store: EpisodeStore) -> dict[str, Any]:
    """What all readable episodes say alike."""
    seen: dict[str, set[str]] = {"keys": set(), "fps": set()}
    for name in sorted(path.name for path in (store.path / "episodes").iterdir()):
        try:
            about = store.manifest(name)["provenance"]
        except (ValueError, OSError):
            continue
        for key, values in seen.items():
            values.add(json.dumps(about.get(key)))
    return {key: json.loads(next(iter(v))) for key, v in seen.items() if len(v) == 1 and v != {"null"}}


def _stand_in(small: dict[str, NDArray[Any]], missing: list[str], provenance: dict[str, Any], frames: int) -> None:
    """Zeros for lost arrays that an episode cannot be without, and a word about it."""
    for array in missing:
        if array == "actions":
            width = len(provenance.get("keys") or ()) + 2
            small[array] = np.zeros((frames, width), np.float32)
            provenance["actions"] = "unknown"
        else:
            small[array] = np.zeros(frames, np.float32 if array == "rewards" else np.bool_)
            provenance[array] = "unknown"


def _sound_runs(frames: ArrayChunks, losses: list[Loss], name: str, shortest: int) -> list[tuple[int, int]]:
    """First frame and one after the last of every run of sound chunks; the others are losses."""
    runs: list[tuple[int, int]] = []
    for chunk, sound in enumerate(frames.sound()):
        first, last = frames.span(chunk)
        if not sound:
            losses.append(Loss(name, f"frames {first} to {last - 1}", "their chunk is damaged"))
        elif runs and runs[-1][1] == first:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    short = [(first, last) for first, last in runs if last - first < shortest]
    losses += [Loss(name, f"frames {a} to {b - 1}", f"fewer than {shortest} in a row are sound") for a, b in short]
    return [run for run in runs if run not in short]


def _part(
    frames: ArrayChunks,
    small: Mapping[str, NDArray[Any]],
    manifest: Mapping[str, Any],
    provenance: dict[str, Any],
    first: int,
    last: int,
) -> Episode:
    """Frames ``first`` to ``last`` (exclusive) as an episode of their own."""
    actions, rewards = (small[name][first:last].copy() for name in ("actions", "rewards"))
    # The last transition led to a frame that is not in this part.
    actions[-1], rewards[-1] = 0, 0
    events = [e for e in manifest.get("events", ()) if isinstance(e, dict) and isinstance(e.get("frame"), int)]
    return Episode(
        frames=frames.read_rows(first, last),
        actions=actions,
        rewards=rewards,
        terminated=small["terminated"][first:last].copy(),
        state={k.removeprefix("state/"): v[first:last].copy() for k, v in small.items() if k.startswith("state/")},
        events=[e | {"frame": e["frame"] - first} for e in events if first <= e["frame"] < last and "kind" in e],
        text=str(manifest.get("text", "")),
        provenance=provenance,
    )


def _move_aside(store: EpisodeStore, name: str) -> Path:
    """Move a damaged episode to ``STORE/damaged``; nothing there is replaced."""
    folder = store.path / "damaged"
    folder.mkdir(exist_ok=True)
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{name}.{number}"
    (store.path / "episodes" / name).rename(target)
    return target
