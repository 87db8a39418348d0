"""Commands that say what a checkpoint was trained on, and take episodes out."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import worldsim
from worldsim.cli.settings import setting, store_setting
from worldsim.cli.stores import open_store
from worldsim.datasets.governance.generated import SUFFIXES, read_sidecar, sidecar_of
from worldsim.datasets.governance.map_seeds import maps_in_words
from worldsim.datasets.governance.provenance import SHORT, identity, read_training_record, stores_of
from worldsim.datasets.governance.seen_maps import maps_of, trained_maps
from worldsim.datasets.governance.withdrawal import checkpoints_that_saw, derived_from, seen_by, withdraw, withdrawals
from worldsim.datasets.store.store import SPLITS, EpisodeStore, Split
from worldsim.errors import UserError


@dataclass(kw_only=True)
class Audit:
    """Settings of ``worldsim data audit``."""

    checkpoint: str = setting(
        help="a world's folder or name, a run, a safetensors file, or a film of worldsim generate",
        example="worldsim data audit runs/dynamics/world",
        word="CHECKPOINT",
    )
    data: str | None = setting(
        None, help="where the store is now; default: where it was when the checkpoint was trained"
    )


@dataclass(kw_only=True)
class Withdraw:
    """Settings of ``worldsim data withdraw``."""

    data: str = store_setting(word="STORE")
    episode: str = setting(
        help="name of the episode",
        example="worldsim data withdraw data=data/luanti s0-w0000-e00 reason=...",
        word="EPISODE",
    )
    reason: str = setting(help="why, in a few words; kept with the episode", example="reason='the player asked for it'")
    delete: bool = setting(False, help="also delete its arrays, for good; its manifest stays")
    checkpoints: str = setting("runs", help="folders to search for checkpoints that saw it, separated by ':'")


def audit(config: Audit) -> int:
    """``worldsim data audit CHECKPOINT``: exit code 1 when an episode in it was withdrawn."""
    path = Path(config.checkpoint)
    shipped = worldsim.ASSETS / path
    if path.suffix in (*SUFFIXES, ".json") or (path.is_dir() and sidecar_of(path).is_file()):
        records = _film_records(path)
    else:
        records = read_training_record(shipped if shipped.is_dir() and not path.exists() else path)
    withdrawn = False
    for file, record in records.items():
        print(f"{file}:")
        for one in stores_of(record):
            withdrawn |= _print_store(one, Path(config.data or one["store"]))
    return 1 if withdrawn else 0


def _film_records(path: Path) -> dict[str, dict[str, Any]]:
    """Print what a generated film says of itself; returns what its weights, and its sources, are from."""
    about = read_sidecar(path)
    made = f"{about['operation']} by {about['world']}, seed {about['seed']}, {about['frames']} frames"
    print(f"{about['file']}: {made}" + (f", prompt {about['prompt']!r}" if about["prompt"] else ""))
    for name, digest in about["weights"].items():
        print(f"  {name} {digest[:SHORT]}")
    for source in about["sources"]:
        print("  of " + ", ".join(f"{key} {value}" for key, value in source.items()))
    if not about["trained_on"]:
        print("  what its weights were trained on is not told")
    return about["trained_on"]


def _print_store(one: Mapping[str, Any], path: Path) -> bool:
    """Print what was read from one store; returns whether some of it was withdrawn."""
    episodes = one["episodes"]
    print(f"  {one['store']}: {len(episodes)} episodes, {one['frames']:,} frames, {one['hours']:.2f} h, "
          f"digest {one['digest'][:SHORT]}")  # fmt: skip
    for title in ("licences", "sources"):
        print(f"    {title}: " + "; ".join(f"{name} ({count})" for name, count in one[title].items()))
    there = (path / "episodes").is_dir()
    gone = {w.identity[:SHORT]: w for w, _ in seen_by({"format": 1, "stores": [one]}, withdrawals(path))}
    by_name = {w.name: w for w in gone.values() if not w.identity}
    store = EpisodeStore(path)
    for line in _maps(one, store, there):
        print(f"    {line}")
    for name, short in episodes.items():
        origins = one.get("origins", {}).get(name, ())
        found = next((gone[digits] for digits in (short, *origins) if digits in gone), None) or by_name.get(name)
        words = f"WITHDRAWN {found.when}: {found.reason}" if found else _state(store, name, short) if there else ""
        print(f"    {name}  {short}  {words}".rstrip())
    if not there:
        print(f"    {path} is not here: whether any of them was withdrawn is unknown (data=STORE says where it is)")
    return bool(gone)


def _maps(one: Mapping[str, Any], store: EpisodeStore, there: bool) -> Iterator[str]:
    """The maps that were trained on, those held out, and whether some are both."""
    trained = trained_maps(one, store)
    told = "maps" in one or trained
    yield f"maps trained on: {maps_in_words(trained) if told else 'no seeds are told'}"
    if not (there and told):
        return
    held_out: dict[Split, set[str]] = {split: maps_of(store, split) for split in SPLITS if split != "train"}
    for split, names in held_out.items():
        yield f"maps held out for {split}: {maps_in_words(names)}"
    both = trained & set().union(*held_out.values())
    yield f"maps trained on AND held out: {maps_in_words(both)}" if both else "no map is both trained on and held out"


def _state(store: EpisodeStore, name: str, short: str) -> str:
    """Whether an episode is in the store as it was."""
    try:
        return "" if identity(store.manifest(name)).startswith(short) else "is another episode of that name now"
    except FileNotFoundError:
        return "is no longer in the store"
    except ValueError:
        return "is damaged in the store"


def withdraw_episode(config: Withdraw) -> None:
    """``worldsim data withdraw``: takes an episode out and names every checkpoint that saw it."""
    store, name = open_store(config.data), config.episode
    folders = [Path(folder) for folder in config.checkpoints.split(os.pathsep) if folder]
    if missing := [folder for folder in folders if not folder.exists() and str(folder) != "runs"]:
        raise UserError(f"there is no folder of checkpoints {missing[0]}")
    names = [*derived_from(store, name), name]
    done = [withdraw(store, one, config.reason, delete=config.delete) for one in names]
    for withdrawal in done:
        kept = "its manifest is kept, its arrays are deleted" if config.delete else "its files are kept"
        print(f"{withdrawal.name} was moved to {withdrawal.folder}: {kept}")
    saw = list(checkpoints_that_saw([*folders, worldsim.ASSETS], done))
    for file, seen in saw:
        print(f"{file} was trained on {', '.join(seen)}")
    where = ", ".join(map(str, [*folders, "the shipped worlds"]))
    print(f"{len(saw)} checkpoint files below {where} were trained on it")
