"""An episode's manifest: what was committed, with the checksum of every file and its own."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from worldsim.datasets.store.episode import Episode
from worldsim.spec.text_files import parse_json

FORMAT = 1
# The folder of an episode's arrays. Writers to places without renames choose another one, named in the manifest.
ARRAYS = "arrays"
# What every manifest has.
FIELDS = {
    "format": int, "name": str, "frames": int, "text": str, "events": list, "provenance": dict, "arrays": list,
    "files": dict,
}  # fmt: skip
# As many as the index can count.
MOST_FRAMES = 2**31


class CorruptEpisodeError(ValueError):
    """Bytes on disk differ from what was committed."""


def make_manifest(episode: Episode, name: str, files: Mapping[str, Mapping[str, Any]], arrays: str) -> bytes:
    """The file ``manifest.json`` of an episode.

    Args:
        episode: what is committed.
        name: of the episode.
        files: path relative to the episode's folder, to size and sha256.
        arrays: folder of the arrays in the episode's folder.
    """
    manifest = {
        "format": FORMAT,
        "name": name,
        "frames": len(episode),
        "size": [episode.frames.shape[2], episode.frames.shape[1]],
        "text": episode.text,
        "events": [dict(event) for event in episode.events],
        "provenance": dict(episode.provenance),
        "arrays": sorted(episode.arrays()),
        "files": dict(files),
    }
    if arrays != ARRAYS:
        manifest["folder"] = arrays
    body = json.loads(json.dumps(manifest, default=_plain))
    return json.dumps(body | {"sha256": json_sha256(body)}, indent=1).encode()


def parse_manifest(content: bytes, name: str) -> dict[str, Any]:
    """The manifest of episode ``name``, without its checksum.

    Raises:
        CorruptEpisodeError: it cannot be read, or was altered.
        ValueError: it is of another format.
    """
    try:
        manifest = parse_json(content)
        checksum = manifest.pop("sha256")
        if missing := sorted(FIELDS.keys() - manifest.keys()):
            raise KeyError(missing[0])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CorruptEpisodeError(f"episode {name!r}: its manifest cannot be read") from error
    if checksum != json_sha256(manifest) or manifest["name"] != name:
        raise CorruptEpisodeError(f"episode {name!r}: its manifest was altered")
    if manifest["format"] != FORMAT:
        raise ValueError(f"episode {name!r} has format {manifest['format']}, this version reads {FORMAT}")
    if wrong := next(_wrong_fields(manifest), ""):
        raise CorruptEpisodeError(f"episode {name!r}: its manifest is no manifest: {wrong}")
    named = [*manifest["files"], *manifest["arrays"], manifest.get("folder", ARRAYS)]
    if wrong := [path for path in named if not _stays(path)]:
        raise CorruptEpisodeError(f"episode {name!r}: its manifest names {wrong[0]!r}, outside of the episode")
    return manifest


def _wrong_fields(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is of another type than every writer gives it."""
    for field, kind in FIELDS.items():
        if type(manifest[field]) is not kind:
            yield f"{field} is {type(manifest[field]).__name__}"
    if not 1 <= manifest["frames"] < MOST_FRAMES:
        yield f"it counts {manifest['frames']} frames"
    if not {"frames", "actions", "rewards", "terminated"} <= set(map(str, manifest["arrays"])):
        yield "not all arrays are named"
    for event in manifest["events"]:
        frame = event.get("frame") if isinstance(event, dict) else None
        if type(frame) is not int or not 0 <= frame < manifest["frames"] or "kind" not in event:
            yield f"an event without a kind and a frame of the episode: {event!s:.60}"
    for path, file in manifest["files"].items():
        whole = isinstance(file, dict) and type(file.get("size")) is int and isinstance(file.get("sha256"), str)
        if not whole or not isinstance(file.get("crc32c", []), list):
            yield f"{path} without size and sha256"


def _stays(path: object) -> bool:
    """Whether a path in a manifest leads to a file of the episode, on this machine and behind any URL."""
    return isinstance(path, str) and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def json_sha256(body: Mapping[str, Any]) -> str:
    """Of the canonical text: the digest that names an episode."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def file_sha256(file: BinaryIO) -> str:
    """Of what follows in an open file."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def path_sha256(path: Path) -> str:
    """Of a file of this machine."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in a manifest")
