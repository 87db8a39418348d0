"""Recover what is sound of a damaged store, say what was lost and why, and destroy nothing.

A damaged chunk of frames costs those frames: the episode is split into its sound parts, each an episode of its own. A
damaged manifest is written anew from the arrays and from what of it can still be read. What is damaged stays as it was,
in the old store or in ``STORE/damaged/NAME``.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldsim.asides import writer
from worldsim.datasets.checks.episode import compare_files
from worldsim.datasets.checks.salvage import Loss, recover
from worldsim.datasets.store.episode_files import sync_path, sync_tree
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore
from worldsim.spec.text_files import parse_json


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
            _recover_into(store if out is None else out, folder / name, usual, report, keep_incomplete, shortest)
            if out is None:
                report.aside.append(str(_move_aside(store, name).relative_to(store.path)))
        if progress is not None:
            progress(done, len(names))
    return report


def copy_episode(folder: Path, out: EpisodeStore) -> None:
    """Copy an episode byte by byte, so that its identity stays; it appears in ``out`` whole or not at all."""
    aside = out.path / "unfinished" / f"{folder.name}.{writer()}.{uuid.uuid4().hex[:8]}"
    (out.path / "episodes").mkdir(parents=True, exist_ok=True)
    aside.parent.mkdir(exist_ok=True)
    out.discard_unfinished()
    try:
        shutil.copytree(folder, aside)
        manifest = parse_json((aside / "manifest.json").read_text())
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


def _recover_into(
    out: EpisodeStore, folder: Path, usual: Mapping[str, Any], report: RepairReport, incomplete: bool, shortest: int
) -> None:
    parts, losses = recover(folder, usual, keep_incomplete=incomplete, shortest=shortest)
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
    return {key: parse_json(next(iter(v))) for key, v in seen.items() if len(v) == 1 and v != {"null"}}


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
