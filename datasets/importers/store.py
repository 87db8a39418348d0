"""Episodes of another store: to scale them, to lower their rate, to put several stores together."""

from functools import partial
from pathlib import Path
from typing import Any

from worldsim.datasets.governance.provenance import SHORT, identity, origins_of
from worldsim.datasets.importers.recording import Footage, Recording
from worldsim.datasets.store.catalogue import EPISODES
from worldsim.datasets.store.store import SPLITS, EpisodeStore
from worldsim.spec.actions import MINECRAFT


def is_store(source: Path) -> bool:
    """Whether a folder is an episode store."""
    return next((source / EPISODES).glob("*/manifest.json"), None) is not None


def find_store(source: Path) -> list[Recording]:
    """The episodes of a store; each keeps its split, which its map's seed may have decided.

    Raises:
        CorruptEpisodeError: a manifest cannot be read.
    """
    store = EpisodeStore(source)
    recordings = []
    for name in store.names():
        split = store.manifest(name)["provenance"].get("split")
        recordings.append(
            Recording(
                # ``.part-`` marks the parts that an import cuts.
                name=name.replace(".part-", "-part-"),
                origin=f"{source}:{name}",
                open=partial(open_episode, store, name),
                files=(store.path / EPISODES / name / "manifest.json",),
                fixed=split if split in SPLITS else None,
            )
        )
    return recordings


def open_episode(store: EpisodeStore, name: str) -> Footage:
    """One episode; ``provenance["copied"]`` tells which one it was, and when that was recorded.

    Raises:
        CorruptEpisodeError: a file is missing, torn or altered.
        ValueError: it does not say what its actions are.
    """
    manifest, whole = store.manifest(name), store.read(name)
    about: dict[str, Any] = {"fps": 20, "keys": list(MINECRAFT.keys), **whole.provenance}
    size = whole.actions.shape[1]
    if size - len(about["keys"]) not in (0, 2):
        raise ValueError(f"it names {len(about['keys'])} keys for {size} action values")
    # What it was copied from, and what that was copied from: whoever withdraws one of them finds the copies.
    identities = [identity(manifest)[:SHORT], *origins_of(about)]
    about["copied"] = {"store": store.url, "episode": name, "identities": identities, "created": about.get("created")}
    return Footage(
        frames=lambda: iter(whole.frames),
        actions=whole.actions,
        rewards=whole.rewards,
        terminated=whole.terminated,
        state=whole.state,
        events=whole.events,
        text=whole.text,
        provenance=about,
    )
