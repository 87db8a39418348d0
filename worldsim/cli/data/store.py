"""Commands that look at episode stores and keep them in order."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldsim.cli.settings import licence_setting, setting, source_setting, split_setting, store_setting
from worldsim.cli.stores import filter_of, open_store, split_in
from worldsim.datasets.governance.provenance import ALL, source_of
from worldsim.datasets.store.store import SPLITS, CorruptEpisodeError, EpisodeStore
from worldsim.errors import UserError
from worldsim.progress import display


@dataclass(kw_only=True)
class Episodes:
    """Settings of ``worldsim data summary`` and ``worldsim data list``."""

    data: str = store_setting(word="STORE")
    split: str | None = split_setting("only episodes of that split; default: all")
    licence: str | None = licence_setting()
    source: str | None = source_setting()


@dataclass(kw_only=True)
class Verify:
    """Settings of ``worldsim data verify``."""

    data: str = store_setting(word="STORE")
    split: str | None = split_setting("only episodes of that split; default: all")


@dataclass(kw_only=True)
class Index:
    """Settings of ``worldsim data index``."""

    data: str = store_setting(word="STORE")


@dataclass(kw_only=True)
class Sheet(Episodes):
    """Settings of ``worldsim data sheet``."""

    out: str = setting("contact-sheet.png", help="the picture to write")
    episodes: int = setting(24, help="how many episodes", minimum=1)
    frames: int = setting(6, help="frames of each", minimum=1)


def summary(config: Episodes) -> None:
    """``worldsim data summary``."""
    store = open_store(config.data)
    chosen = [store.manifest(name) for name in _chosen(store, config)]
    outside = {str(m["provenance"].get("split") or "none") for m in chosen} - set(SPLITS)
    for split in [config.split] if config.split else [*SPLITS, *sorted(outside)]:
        manifests = [m for m in chosen if str(m["provenance"].get("split") or "none") == split]
        frames = sum(int(m["frames"]) for m in manifests)
        maps = {m["provenance"]["seed"] for m in manifests if m["provenance"].get("seed") is not None}
        hours = sum(int(m["frames"]) / float(m["provenance"].get("fps", 20)) for m in manifests) / 3600
        print(f"{split:11} {len(manifests):5d} episodes {frames:8d} frames {hours:6.2f} h {len(maps):4d} maps")
        kinds = Counter(str(m["provenance"].get("mapgen") or source_of(m)) for m in manifests)
        print(" " * 11, ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))


def list_episodes(config: Episodes) -> None:
    """``worldsim data list``."""
    store = open_store(config.data)
    for name in _chosen(store, config):
        manifest = store.manifest(name)
        about = manifest["provenance"]
        where = f"{about.get('split') or 'no split':10}  map {about.get('seed', 'unknown')}"
        print(f"{name}  {manifest['frames']:5d} frames  {where}  {manifest.get('text', '')}")


def verify(config: Verify) -> int:
    """``worldsim data verify``: exit code 1 when an episode is damaged."""
    store = open_store(config.data)
    damaged, start = 0, time.monotonic()
    names = store.names(split_in(config.split))
    with display() as show:
        for number, name in enumerate(names):
            show("verifying", number, len(names))
            try:
                store.verify(name)
            except CorruptEpisodeError as error:
                damaged += 1
                print(error)
    print(f"{len(names) - damaged} of {len(names)} episodes are whole ({time.monotonic() - start:.1f} s)")
    return 1 if damaged else 0


def contact_sheet(config: Sheet) -> None:
    """``worldsim data sheet``: a row of frames per episode, episodes evenly over the store."""
    from worldsim.plotting.pictures import write_picture

    store = open_store(config.data)
    names = _chosen(store, config)
    if not names:
        raise UserError(f"there is no episode in {store.url}")
    rows = []
    for i in np.unique(np.linspace(0, len(names) - 1, config.episodes).astype(int)):
        total = int(store.manifest(names[i])["frames"])
        at = np.linspace(0, total - 1, config.frames).astype(int)
        rows.append(np.concatenate([store.read(names[i], int(t), int(t) + 1).frames[0] for t in at], 1))
    half = -(-len(rows) // 2)
    columns = [np.concatenate(rows[:half]), np.concatenate(rows[half:] or rows[:1])]
    sheet = np.zeros((max(map(len, columns)), 2 * rows[0].shape[1], 3), np.uint8)
    for i, column in enumerate(columns):
        sheet[: len(column), i * rows[0].shape[1] : (i + 1) * rows[0].shape[1]] = column
    print(write_picture(Path(config.out), sheet))


def _chosen(store: EpisodeStore, config: Episodes) -> list[str]:
    """The episodes that split, licence and source allow."""
    only = filter_of(config)
    return store.names(split_in(config.split)) if only == ALL else only.names(store, split_in(config.split))


def write_index(config: Index) -> None:
    """``worldsim data index``."""
    store = open_store(config.data)
    with display() as show:
        index = store.write_index(show.stage("reading manifests"))
    print(f"{len(index)} episodes, {int(index.frames.sum(dtype='int64'))} frames in the index of {store.url}")
