"""How an episode gets into a store whole or not at all: written aside and renamed, or uploaded with its manifest last.

STORE/unfinished/NAME.HOST-PID.RANDOM/    an episode that a process of this machine is writing
"""

import os
import shutil
import uuid
from pathlib import Path

from worldsim.asides import abandoned, scratch_folder, writer
from worldsim.datasets.store.catalogue import EPISODES
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.episode_files import manifest_of, sync_path, sync_tree, write_arrays
from worldsim.datasets.store.folder import Folder
from worldsim.datasets.store.manifest import parse_manifest

UNFINISHED = "unfinished"


def commit_episode(store: Path, episode: Episode, name: str) -> None:
    """Write an episode into a store on this machine; a rename makes it visible. Leftovers of killed writers go.

    Raises:
        FileExistsError: another writer committed that name meanwhile.
        OSError: it could not be written; nothing is left of it.
    """
    episodes = store / EPISODES
    episodes.mkdir(parents=True, exist_ok=True)
    aside = store / UNFINISHED / f"{name}.{writer()}.{uuid.uuid4().hex[:8]}"
    discard_unfinished(store)
    aside.mkdir(parents=True)
    try:
        write_arrays(episode, aside / "arrays")
        (aside / "manifest.json").write_bytes(manifest_of(episode, name, aside))
        sync_tree(aside)
        # rename() of a folder onto a non-empty one fails, so of two writers of one name the second one loses.
        os.rename(aside, episodes / name)
        sync_path(episodes)
    except OSError as error:
        if (episodes / name / "manifest.json").exists():
            raise FileExistsError(f"episode {name!r} is already in {store}") from error
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def upload_episode(store: Folder, episode: Episode, name: str) -> None:
    """Write an episode into a store behind a URL; its manifest, which comes last, makes it visible.

    Raises:
        FileExistsError: another writer committed that name meanwhile.
        OSError: it could not be uploaded; nothing is left of it.
    """
    from worldsim.datasets.store.remote import RemoteFolder

    assert isinstance(store, RemoteFolder)
    # A folder of its own for every writer: of two writers of one name, none touches the other's files.
    arrays, there = f"arrays.{uuid.uuid4().hex[:8]}", f"{EPISODES}/{name}"
    with scratch_folder() as scratch:
        write_arrays(episode, scratch / arrays)
        manifest = manifest_of(episode, name, scratch, arrays)
        try:
            for file in parse_manifest(manifest, name)["files"]:
                store.upload(scratch / file, f"{there}/{file}")
            store.create(f"{there}/manifest.json", manifest)
        except BaseException:
            store.remove(f"{there}/{arrays}")
            raise


def discard_unfinished(store: Path) -> int:
    """Delete what writers that are no longer alive on this machine left unfinished; returns how many."""
    removed = 0
    for folder in (store / UNFINISHED).glob("*"):
        parts = folder.name.rsplit(".", 2)
        if len(parts) == 3 and abandoned(parts[1]):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed
