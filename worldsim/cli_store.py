"""Commands that keep a store in order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import Progress

from worldsim.cli_config import compose_config, required
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.store.catalogue import EPISODES
from worldsim.datasets.store.folder import is_url
from worldsim.datasets.store.store import EpisodeStore


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


def filter_of(config: DictConfig) -> EpisodeFilter:
    """The settings ``licence`` and ``source``."""
    return EpisodeFilter(licence=config.licence, source=config.source)


def write_index(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data index``."""
    config = compose_config("data", overrides, flags)
    store = open_store(required(config, "data", "data=data/luanti"))
    with Progress(transient=True) as bar:
        task = bar.add_task("reading manifests", total=None)
        index = store.write_index(lambda done, total: bar.update(task, completed=done, total=total))
    print(f"{len(index)} episodes, {int(index.frames.sum(dtype='int64'))} frames in the index of {store.url}")
