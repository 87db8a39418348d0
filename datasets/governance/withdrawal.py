"""Take episodes out of a store, and name every checkpoint that was trained on them."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from worldsim.asides import write_whole
from worldsim.datasets.governance.provenance import (
    SHORT,
    TRAINED_ON,
    identity,
    recovered_from,
    stores_of,
)
from worldsim.datasets.store.store import REASON_FILE, WITHDRAWN, EpisodeStore
from worldsim.spec.text_files import parse_json


@dataclass(frozen=True)
class Withdrawal:
    """An episode that was taken out.

    Attributes:
        name: of the episode.
        identity: of the episode; empty where its manifest cannot be read.
        reason: given when it was withdrawn.
        when: UTC, ISO 8601.
        folder: where it lies now.
    """

    name: str
    identity: str
    reason: str
    when: str
    folder: Path


def withdraw(store: EpisodeStore, name: str, reason: str, *, delete: bool = False) -> Withdrawal:
    """Take an episode out of a store: no reader sees it again, and its manifest stays as evidence.

    The folder is moved to ``STORE/withdrawn/NAME`` by one rename; being there is what counts. Then
    ``withdrawn.json`` with the reason is added, and the arrays are deleted if asked. The store takes no other episode
    of that name, so a collection or an import that is run again does not bring it back.

    Args:
        store: where the episode is.
        name: of the episode.
        reason: in a few words.
        delete: also delete its arrays, for good.

    Raises:
        FileNotFoundError: there is no such episode, and none was withdrawn.
        ValueError: no reason was given.
    """
    if not reason.strip():
        raise ValueError("a withdrawal needs a reason")
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of an episode")
    aside = store.path / WITHDRAWN
    target = aside / name
    # A repair may have moved it aside.
    folder = next((f for part in ("episodes", "damaged") if (f := store.path / part / name).is_dir()), None)
    if folder is not None:
        aside.mkdir(exist_ok=True)
        number = 1
        # A repair may have left two of one name, and older versions recorded withdrawn ones anew.
        while target.exists():
            number += 1
            target = aside / f"{name}.{number}"
        folder.rename(target)
    elif not target.is_dir():
        raise FileNotFoundError(f"no episode {name!r} in {store.path}")
    note = target / REASON_FILE
    if not note.is_file():
        about = {"name": name, "reason": reason.strip(), "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        write_whole(note, json.dumps(about, indent=1))
    if delete:
        shutil.rmtree(target / "arrays", ignore_errors=True)
    return _read_withdrawal(target)


def withdrawals(store: str | os.PathLike[str]) -> list[Withdrawal]:
    """Everything that was withdrawn from a store."""
    folder = Path(store) / WITHDRAWN
    return [_read_withdrawal(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _read_withdrawal(folder: Path) -> Withdrawal:
    manifest, note = _json(folder / "manifest.json"), _json(folder / REASON_FILE)
    name = str(note.get("name") or manifest.get("name") or folder.name)
    return Withdrawal(
        name,
        identity(manifest) if manifest else "",
        str(note.get("reason", "not recorded")),
        str(note.get("when", "")),
        folder,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        about = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def derived_from(store: EpisodeStore, name: str) -> list[str]:
    """Episodes that ``worldsim data repair`` made of parts of another one."""
    return [n for n in store.names() if _origin(store.manifest(n)) == name]


def _origin(manifest: Mapping[str, Any]) -> str | None:
    recovered = recovered_from(manifest["provenance"])
    return str(recovered.get("episode")) if isinstance(recovered, Mapping) else None


def checkpoints_that_saw(
    folders: Iterable[str | os.PathLike[str]], withdrawn: Sequence[Withdrawal]
) -> Iterator[tuple[Path, list[str]]]:
    """Checkpoint files below folders that were trained on withdrawn episodes, with the names of those."""
    # Imported here: episodes are withdrawn and imported without PyTorch.
    from worldsim.models.checkpoint import read_metadata

    for folder in folders:
        path = Path(folder)
        for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]:
            try:
                record = read_metadata(file).get(TRAINED_ON)
            except ValueError:
                # Some other program's file, or half of one.
                continue
            if record is not None and (seen := sorted({w.name for w, _ in seen_by(record, withdrawn)})):
                yield file, seen


def seen_by(record: Mapping[str, Any], withdrawn: Sequence[Withdrawal]) -> list[tuple[Withdrawal, str]]:
    """Withdrawn episodes that a training record holds, each with the store it was read from."""
    seen = []
    for one in stores_of(record):
        known = {*one["episodes"].values(), *chain(*one.get("origins", {}).values())}
        for withdrawal in withdrawn:
            # Without a readable manifest only the name is left to go by.
            by_name = not withdrawal.identity and withdrawal.name in one["episodes"]
            if by_name or withdrawal.identity[:SHORT] in known:
                seen.append((withdrawal, str(one["store"])))
    return seen
