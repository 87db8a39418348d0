"""Recover the undamaged parts of one damaged episode: each run of undamaged frames becomes an episode."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.checks.chunks import ArrayChunks, DamagedArrayError, arrays_folder
from worldsim.datasets.governance.provenance import identity
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.episode_files import recorded_rows
from worldsim.datasets.store.shard_layout import ShardLayout
from worldsim.spec.text_files import parse_json

NEEDED = ("actions", "rewards", "terminated")
# What an episode says of itself before the store adds anything; read one by one from a manifest that was cut.
FIELDS = ("text", "events", "provenance")


@dataclass(frozen=True)
class Loss:
    """Something that could not be kept: what of which episode, and why."""

    episode: str
    what: str
    why: str


def recover(
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
        described = provenance | {"recovered": about | {"first_frame": first}}
        parts.append((f"{name}.f{first:06d}-{last:06d}", _part(frames, small, manifest, described, first, last)))
    return parts, losses


def read_what_is_left(path: Path) -> tuple[dict[str, Any], str]:
    """A manifest, or what can be read of a damaged one; and ``whole``, or what is wrong with it."""
    try:
        content = path.read_bytes().decode(errors="replace")
    except OSError:
        return {}, "it is missing"
    try:
        manifest = parse_json(content)
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
    found: list[tuple[bool, int, int]] = []
    for chunk, sound in enumerate(frames.sound()):
        first, last = frames.span(chunk)
        if found and found[-1][0] == sound:
            first = found.pop()[1]
        found.append((sound, first, last))
    losses += [Loss(name, f"frames {a} to {b - 1}", "damaged or missing") for sound, a, b in found if not sound]
    runs = [(first, last) for sound, first, last in found if sound]
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
