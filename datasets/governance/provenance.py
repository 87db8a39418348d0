"""Who may use what: identities, licences and sources of episodes, and what a checkpoint was trained on.

An episode's identity is the sha256 of its manifest, which holds the sha256 of every file. A checkpoint carries the
identities of the episodes it was trained on in the metadata of its safetensors files, under ``trained_on``.
"""

import fnmatch
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.governance.map_seeds import map_name
from worldsim.datasets.store.index import EpisodeIndex
from worldsim.datasets.store.manifest import json_sha256
from worldsim.datasets.store.store import SPLITS, EpisodeStore, Split
from worldsim.errors import UserError

RECORD_FORMAT = 1
TRAINED_ON = "trained_on"
# What every episode has to say of itself; ``seed`` besides, where the game has maps.
REQUIRED = ("source", "licence", "consent", "engine", "engine_version", "policy", "policy_version", "keys", "fps",
            "split", "created", "software")  # fmt: skip
# Hexadecimal digits of an identity that a checkpoint keeps: no two of a billion episodes share 16.
SHORT = 16
# Characters that stand for themselves in hydra's settings.
ALTERNATIVES, EXCLUDES = "|", "-"


def identity(manifest: Mapping[str, Any]) -> str:
    """An episode's identity: the sha256 of its manifest (as ``EpisodeStore.manifest`` gives it)."""
    return json_sha256({key: value for key, value in manifest.items() if key != "sha256"})


def origins_of(provenance: Mapping[str, Any]) -> list[str]:
    """16 digits of the identity of the episode that this one is a copy or a part of, and of that one's, and so on."""
    found = (provenance.get("copied"), recovered_from(provenance))
    copied, recovered = (about if isinstance(about, Mapping) else {} for about in found)
    digits = [*copied.get("identities", ()), recovered.get("identity", "")]
    return [str(one)[:SHORT] for one in digits if one]


def recovered_from(provenance: Mapping[str, Any]) -> Any:
    """What an episode says of the damaged one that it was recovered from; None where it says nothing.

    Stores of earlier versions have it under ``salvaged``.
    """
    return provenance.get("recovered", provenance.get("salvaged"))


def missing_fields(manifest: Mapping[str, Any]) -> list[str]:
    """What an episode should say of itself and does not."""
    about = manifest["provenance"]
    return [name for name in REQUIRED if about.get(name) in (None, "", [])]


def licence_of(manifest: Mapping[str, Any]) -> str:
    """The licence of an episode, or ``unknown``."""
    return str(manifest["provenance"].get("licence") or "unknown")


def source_of(manifest: Mapping[str, Any]) -> str:
    """Where an episode came from: its source, else its engine, else ``unknown``."""
    about = manifest["provenance"]
    return str(about.get("source") or about.get("engine") or "unknown")


@dataclass(frozen=True, kw_only=True)
class EpisodeFilter:
    """Which episodes of a store may be used, by licence and source.

    Patterns such as ``CC-BY-*|CC0-1.0``: ``*`` and ``?`` stand for anything, ``|`` separates alternatives, a pattern
    that begins with ``-`` excludes; case does not matter. None allows all.
    """

    licence: str | None = None
    source: str | None = None

    def rows(self, index: EpisodeIndex, split: Split | None = None, where: str = "the store") -> NDArray[np.int64]:
        """Rows of a store's index that fit, of one split if given; ``where`` names the store in messages.

        Raises:
            UserError: episodes are there, and none fits.
        """
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        rows = everything = index.rows(split=split)
        for label, patterns in (("licence", self.licence), ("source", self.source)):
            fits = np.array([_fits(value, patterns) for value in index.labels[label]], bool)
            rows = rows[fits[index.codes[label][rows]]]
        if len(everything) and not len(rows):
            there = (f"{label}s: {'; '.join(sorted(index.labels[label]))}" for label in ("licence", "source"))
            raise UserError(
                f"no {split or ''} episode of {where} fits licence={self.licence or '*'} "
                f"source={self.source or '*'}; {'; '.join(there)}"
            )
        return rows

    def names(self, store: EpisodeStore, split: Split | None = None) -> list[str]:
        """Sorted names of the episodes that fit. Raises UserError: episodes are there, and none fits."""
        index = store.index()
        return index.names_of(self.rows(index, split, store.url))


ALL = EpisodeFilter()


def select(
    store: EpisodeStore, split: Split | None = None, *, licence: str | None = None, source: str | None = None
) -> list[str]:
    """Names of the episodes that a licence and a source allow: ``EpisodeFilter(...).names(store, split)``."""
    return EpisodeFilter(licence=licence, source=source).names(store, split)


def _fits(value: str, patterns: str | None) -> bool:
    if patterns is None:
        return True
    wanted = [p.strip().lower() for p in patterns.split(ALTERNATIVES) if p.strip()]
    excluded = [p[1:] for p in wanted if p.startswith(EXCLUDES)]
    included = [p for p in wanted if not p.startswith(EXCLUDES)] or ["*"]
    value = value.lower()
    return any(fnmatch.fnmatchcase(value, p) for p in included) and not any(
        fnmatch.fnmatchcase(value, p) for p in excluded
    )


def training_record(
    store: EpisodeStore, names: Sequence[str], *, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint says of the episodes it was trained on: small, plain JSON.

    Args:
        store: where the episodes are.
        names: of those that were used.
        before: the record of the weights that training began with; what they saw stays on record.

    Returns:
        ``{"format": 1, "stores": [{"store", "digest", "frames", "hours", "licences", "sources", "episodes"}]}``:
        ``digest`` is the sha256 of all identities, sorted; ``episodes`` has 16 digits of each by name; ``licences`` and
        ``sources`` count episodes; ``origins``, if there are copies, has the digits of what they were copied from;
        ``maps``, where seeds are told, names the maps that the episodes show.

    Raises:
        ValueError: there is no episode, or ``before`` is not a record.
    """
    episodes = [episode_record(name, store.manifest(name)) for name in set(names)]
    return join_record(store_record(store.url, episodes), before)


def episode_record(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a training record needs to know of one episode, as plain JSON."""
    return {
        "name": name,
        "identity": identity(manifest),
        "frames": int(manifest["frames"]),
        "fps": float(manifest["provenance"].get("fps") or 20),
        "licence": licence_of(manifest),
        "source": source_of(manifest),
        "origins": origins_of(manifest["provenance"]),
        "map": map_name(manifest["provenance"]),
    }


def store_record(url: str, episodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a training record says of one store (see ``training_record``), whose episodes come as ``episode_record``s.

    An episode that comes twice, forwards and in reverse say, counts once.

    Raises:
        ValueError: there is no episode.
    """
    if not episodes:
        raise ValueError("a training record needs at least one episode")
    once = {e["name"]: e for e in episodes}
    ordered = [once[name] for name in sorted(once)]
    one = {
        "store": url,
        "digest": hashlib.sha256("".join(sorted(e["identity"] for e in ordered)).encode()).hexdigest(),
        "frames": sum(e["frames"] for e in ordered),
        "hours": round(sum(e["frames"] / e["fps"] for e in ordered) / 3600, 4),
        "licences": dict(Counter(e["licence"] for e in ordered)),
        "sources": dict(Counter(e["source"] for e in ordered)),
        "episodes": {e["name"]: e["identity"][:SHORT] for e in ordered},
    }
    # Caches of older versions do not tell.
    if origins := {e["name"]: e["origins"] for e in ordered if e.get("origins")}:
        one["origins"] = origins
    # Of some maps alone one could not tell that the others are missing.
    if all("map" in e for e in ordered) and (maps := sorted({e["map"] for e in ordered if e["map"]})):
        one["maps"] = maps
    return one


def join_record(store: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A training record of one store's part (see ``store_record``) and of the record before it.

    Raises:
        ValueError: ``before`` is not a record.
    """
    earlier = [] if before is None else [s for s in stores_of(before) if s["digest"] != store["digest"]]
    return {"format": RECORD_FORMAT, "stores": [*earlier, dict(store)]}


def stores_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stores that a training record names.

    Raises:
        ValueError: it is a record of another format.
    """
    if record.get("format") != RECORD_FORMAT or not isinstance(record.get("stores"), list):
        raise ValueError(f"this version reads training records of format {RECORD_FORMAT}, got {record.get('format')!r}")
    return record["stores"]


def read_training_record(checkpoint: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The training records of a checkpoint by file name; weights are not read.

    Args:
        checkpoint: a safetensors file, or a folder with some (a world, a run).

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: a file is damaged, or a record is of another format.
        UserError: none of the files says what it was trained on.
    """
    # Imported here: stores are listed and chosen from without PyTorch.
    from worldsim.models.checkpoint import read_metadata

    path = Path(checkpoint)
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    if not path.exists() or not files:
        raise FileNotFoundError(f"no checkpoint at {path}")
    found = {}
    for file in files:
        record = read_metadata(file).get(TRAINED_ON)
        if record is not None:
            stores_of(record)
            found[str(file.relative_to(path)) if path.is_dir() else file.name] = record
    if not found:
        raise UserError(f"{path} does not say what it was trained on: it was written before training records were kept")
    return found
