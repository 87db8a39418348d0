"""Episode stores that commands are given."""

import hashlib
from pathlib import Path
from typing import Any, Protocol, cast

from worldsim.cli.runs import existing_path
from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.store.catalogue import EPISODES
from worldsim.datasets.store.folder import is_url
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError


class Chosen(Protocol):
    """Settings with a choice of episodes."""

    licence: str | None
    source: str | None


def open_store(where: str, **options: Any) -> EpisodeStore:
    """A store that is there, on this machine or behind a URL.

    Raises:
        FileNotFoundError: it is not.
    """
    if not is_url(where) and not Path(where).is_dir():
        raise FileNotFoundError(f"no such store: {where}")
    if not is_url(where) and not Path(where, EPISODES).is_dir():
        raise FileNotFoundError(f"{where} is no episode store: it has no folder {EPISODES!r}")
    return EpisodeStore(where, **options)


def split_in(name: str | None) -> Split | None:
    """A split by the name that a setting was given, which its choices have checked."""
    return cast("Split | None", name)


def filter_of(config: Chosen) -> EpisodeFilter:
    """The settings ``licence`` and ``source``."""
    return EpisodeFilter(licence=config.licence, source=config.source)


def store_at(where: str) -> str:
    """An episode store that must be there, where it is on this machine.

    Raises:
        FileNotFoundError: it is not.
    """
    return where if is_url(where) else str(existing_path(where))


def latents_of(data: str | Path, only: EpisodeFilter) -> str:
    """Where the latents of a store are kept by default: each choice of episodes has a folder of its own.

    Raises:
        UserError: the store is behind a URL, and there is no folder beside it.
    """
    if is_url(data):
        raise UserError(f"latents is missing: {data} is elsewhere; give a folder here, say latents=data/latents")
    beside = f"{Path(data)}-latents"
    return beside if only == ALL else f"{beside}-{hashlib.sha256(repr(only).encode()).hexdigest()[:8]}"
