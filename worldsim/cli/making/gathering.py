"""Recordings become one episode store that can be trained on: of one size and rate, with something held out."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from worldsim.cli.data.imports import bring_in, spec_named
from worldsim.cli.making.game_kind import FIRST_PERSON, GameLook, look_at_game
from worldsim.cli.making.recipes import RECIPES, fitting_rate, fitting_size
from worldsim.cli.runs import picture_size
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.importers.formats import detect_format, find_recordings
from worldsim.datasets.importers.importer import ImportOptions
from worldsim.datasets.importers.recording import Recording
from worldsim.datasets.store.recording_format import RecordingFormat, recording_format
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError

# Of this many recordings, one is held out for validation and one for test.
HELD_OUT_OF = 8


def usable_as_it_is(source: Path, size: str | None, fps: float | None, pixels: int, only: EpisodeFilter) -> bool:
    """Whether a store can be trained on without a copy."""
    store = EpisodeStore(source)
    found = recording_format(store, only.names(store))
    wanted = picture_size(size) or fitting_size(found.width, found.height, pixels)
    held_out = all(only.names(store, split) for split in ("train", "validation"))
    return held_out and wanted == (found.width, found.height) and (fps or fitting_rate(found.fps)) == found.fps


def gather(
    source: Path,
    folder: Path,
    *,
    kind: str | None,
    size: str | None,
    fps: float | None,
    keys: str | None,
    only: EpisodeFilter,
) -> tuple[EpisodeStore, GameLook]:
    """The store to train on and what its pictures look like: ``source`` itself, or a copy in ``folder``.

    Args:
        source: recordings in any format that can be imported, with actions.
        folder: of the copy.
        kind: of game; None: measured.
        size: WIDTHxHEIGHT to scale to; None: what suits.
        fps: rate to lower to; None: what suits.
        keys: names of the keys of tables; None: as they say.
        only: the episodes that may be used.

    Raises:
        UserError: there are no actions, or too few recordings.
        FileNotFoundError: there is no such folder.
    """
    form = detect_format(source)
    if form in ("video", "images"):
        raise UserError(
            f"{source} holds {form if form == 'images' else 'videos'} without a table of actions: a world learns keys "
            "from a csv or jsonl beside each video, with a row per frame ('worldsim data import --help')"
        )
    recordings = find_recordings(source, form, spec=spec_named(keys, EpisodeStore(folder), form))
    most = _pixels(source, form, recordings, kind, only)
    if form == "store" and usable_as_it_is(source, size, fps, most, only):
        return EpisodeStore(source), look_at_game(EpisodeStore(source), only)
    width, height, rate = _native(recordings)
    wanted = picture_size(size) or fitting_size(width, height, most)
    lowered = fps or fitting_rate(rate)
    if wanted != (width, height):
        lost = max(width / wanted[0], height / wanted[1])
        print(f"pictures of {width}x{height} are scaled to {wanted[0]}x{wanted[1]}" + (
            f": what is smaller than {lost:.1f} pixels may be lost (size= decides otherwise)" if lost > 1.5 else ""
        ))  # fmt: skip
    options = ImportOptions(
        size=None if wanted == (width, height) else wanted, fps=None if lowered == rate else lowered
    )
    if form == "store":
        _check_seeds(EpisodeStore(source), only)
    store = EpisodeStore(folder)
    if bring_in(store, with_splits(recordings), options):
        print("some recordings were left out, as said above: the others will do", file=sys.stderr)
    return store, look_at_game(store, only)


def _check_seeds(source: EpisodeStore, only: EpisodeFilter) -> None:
    """Refuse a store without a validation split whose maps' seeds decide the splits.

    Raises:
        UserError: it is one.
    """
    names = only.names(source)
    empty = [split for split in ("train", "validation") if not only.names(source, split)]
    if empty and any(source.manifest(name)["provenance"].get("seed") is not None for name in names):
        raise UserError(
            f"none of the {len(names)} recordings is for {empty[0]}, and the seeds of their maps decide that: record "
            f"more, or some with 'worldsim collect ... maps={empty[0]}'"
        )


def with_splits(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings with splits as they are, or, where none is for training or none for validation, other ones.

    Raises:
        UserError: there is one recording only.
    """
    if {"train", "validation"} <= {one.split for one in recordings}:
        return list(recordings)
    groups = sorted({_group(one) for one in recordings}, key=_shuffled)
    if len(groups) < 2:
        groups = sorted({one.name for one in recordings}, key=_shuffled)
        recordings = [replace(one, group=one.name) for one in recordings]
    if len(groups) < 2:
        raise UserError(
            "there is one recording: at least two are needed, one to learn from and one to judge by; record another "
            "one, or cut it in two"
        )
    count = max(1, len(groups) // HELD_OUT_OF)
    splits: dict[str, Split] = dict.fromkeys(groups, "train")
    splits |= dict.fromkeys(groups[:count], "validation")
    if len(groups) > 2:
        splits |= dict.fromkeys(groups[count : 2 * count], "test")
    print(f"held out: {2 * count if len(groups) > 2 else count} of {len(groups)} recordings, which nothing learns from")
    return [replace(one, fixed=splits[_group(one)]) for one in recordings]


def _group(one: Recording) -> str:
    return one.group or one.name


def _shuffled(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _native(recordings: Sequence[Recording]) -> tuple[int, int, float]:
    """Width, height and rate of the first recording that opens.

    Raises:
        UserError: none does.
    """
    problem = ""
    for one in recordings:
        try:
            footage = one.open()
            height, width = next(iter(footage.frames())).shape[:2]
            return width, height, float(footage.provenance.get("fps", 20))
        except (OSError, ValueError, StopIteration) as error:
            problem = problem or f"{one.origin}: {error}"
    raise UserError(f"no recording can be read: {problem}")


def _pixels(source: Path, form: str, recordings: Sequence[Recording], kind: str | None, only: EpisodeFilter) -> int:
    """How large pictures may be: for the kind of game, where that can be told before they are copied."""
    if kind is None and form == "store" and only.names(EpisodeStore(source), "train"):
        kind = look_at_game(EpisodeStore(source), only).kind
    return RECIPES[kind or FIRST_PERSON].pixels


def format_of(store: EpisodeStore, only: EpisodeFilter) -> RecordingFormat:
    """What the episodes that are trained on have in common."""
    return recording_format(store, only.names(store))
