"""Has a checkpoint seen what it is to be judged on? Its training records against the episodes of a store."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from worldsim.datasets.governance.map_seeds import map_name
from worldsim.datasets.governance.provenance import SHORT, TRAINED_ON, identity, origins_of, stores_of
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.models.checkpoint import read_metadata


def check_unseen(files: Iterable[Path], store: EpisodeStore, split: Split) -> list[Path]:
    """Whether none of a checkpoint's files was trained on an episode or a map of a split.

    Args:
        files: of the checkpoint, safetensors.
        store: where the episodes are.
        split: that is to be judged on.

    Returns:
        Files that do not say what they were trained on.

    Raises:
        UserError: one was; names the first such episode, and tells how many there are.
        ValueError: a file is damaged, or its record is of another format.
    """
    manifests = {name: store.manifest(name) for name in store.names(split)}
    silent = []
    for file in files:
        record = read_metadata(file).get(TRAINED_ON)
        if record is None:
            silent.append(file)
            continue
        seen = list(seen_episodes(record, store, manifests))
        if seen:
            (name, why), more = seen[0], f", and so it is with {len(seen) - 1} more" if len(seen) > 1 else ""
            raise UserError(
                f"{file} was trained on what it would be judged on: {name} {why}{more} of the {len(manifests)} "
                f"{split} episodes of {store.url}; judge it on maps that it has not seen (data=, split=)"
            )
    return silent


def seen_episodes(
    record: Mapping[str, Any], store: EpisodeStore, manifests: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Episodes that weights have seen, or whose map they have: each with the reason in words.

    Args:
        record: what the weights were trained on.
        store: tells the maps of recorded episodes where the record does not (older ones named episodes only).
        manifests: by name, of the episodes in question.
    """
    stores = stores_of(record)
    identities = set(chain(*(one["episodes"].values() for one in stores)))
    identities |= set(chain(*chain(*(one.get("origins", {}).values() for one in stores))))
    maps = set(chain(*(trained_maps(one, store) for one in stores)))
    for name, manifest in manifests.items():
        # A copy, or a part, shows what the episode showed that it was made of.
        if identities & {identity(manifest)[:SHORT], *origins_of(manifest["provenance"])}:
            yield name, "is one of its episodes"
        elif (place := map_name(manifest["provenance"])) in maps:
            yield name, f"shows its map {place}"


def trained_maps(one: Mapping[str, Any], store: EpisodeStore) -> set[str]:
    """Names of the maps that were trained on.

    Args:
        one: what a training record says of one store.
        store: tells the maps where the record does not (older ones named episodes only).
    """
    if "maps" in one:
        return set(one["maps"])
    found: set[str | None] = set()
    for name, digits in one["episodes"].items():
        try:
            manifest = store.manifest(name)
        except (FileNotFoundError, ValueError):
            # Of another store; or damaged, which ``data check`` reports.
            continue
        about = manifest["provenance"]
        # An episode of that name that was recorded anew shows the same map, if it is one that training reads.
        if identity(manifest).startswith(digits) or about.get("split") == "train":
            found.add(map_name(about))
    return {place for place in found if place is not None}


def maps_of(store: EpisodeStore, split: Split) -> set[str]:
    """Names of the maps that a split's episodes show; damaged episodes are left out, which ``data check`` reports."""
    found = set()
    for name in store.names(split):
        with suppress(ValueError):
            found.add(map_name(store.manifest(name)["provenance"]))
    return {place for place in found if place is not None}
