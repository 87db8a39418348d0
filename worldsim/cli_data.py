"""Commands that record and look at episode stores."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig
from rich.progress import track

from worldsim.cli_config import compose_config, picture_size, plain, required, run_folder
from worldsim.cli_store import filter_of, open_store
from worldsim.datasets.governance.provenance import ALL, source_of
from worldsim.datasets.store.store import SPLITS, CorruptEpisodeError, EpisodeStore, Split
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.agents.collection.types import EnvFactory


def run_collect(overrides: Sequence[str], flags: Mapping[str, Any]) -> int:
    """``worldsim collect``."""
    from worldsim.agents.collection.collect import collect
    from worldsim.agents.collection.source_choice import name_prefix

    # Both ray=auto and, as hydra would have it for a setting that is not there, +ray=auto.
    overrides = [word.removeprefix("+") if word.startswith("+ray=") else word for word in overrides]
    config = compose_config("collect", overrides, flags)
    out = required(config, "out", "--out data/luanti")
    if config.human:
        return _record_person(out, config)
    source = _source(config)
    script = _script(config)
    policy = config.policy or ("script" if script else source.policy)
    if script and policy != "script":
        raise UserError(f"give a script or a policy, not both: policy={policy}")
    fps, maps = source.check(policy, script), _maps(config.maps)
    _tell_splits(source)
    folder = run_folder("collect", config)
    report = collect(
        out=out,
        hours=None if config.episodes is not None else config.hours,
        episodes=config.episodes,
        seed=config.seed,
        workers=config.workers,
        episode_frames=config.episode_frames,
        episodes_per_world=config.episodes_per_world,
        fps=fps,
        policy=policy,
        script=script,
        make_env=source,
        prefix=name_prefix(source, policy=policy, script=script, episode_frames=config.episode_frames),
        maps=maps,
        ray=config.ray,
    )
    (folder / "report.json").write_text(json.dumps(vars(report), indent=1))
    print(report.line())
    if report.interrupted:
        return 130
    if report.episodes + report.skipped + report.withdrawn == 0:
        raise UserError(report.failures[-1] if report.failures else "nothing was collected")
    return 0


def _maps(split: str | None) -> Split | None:
    chosen: dict[str | None, Split | None] = {None: None, **{name: name for name in SPLITS}}
    if split not in chosen:
        raise UserError(f"maps must be one of {', '.join(SPLITS)}, got {split!r}")
    return chosen[split]


def _source(config: DictConfig) -> "EnvFactory":
    from worldsim.agents.collection.source_choice import make_source

    if config.env_kwargs is not None and not isinstance(config.env_kwargs, DictConfig):
        raise UserError(
            f"env_kwargs must be names and values, as in env_kwargs={{frameskip:4}}, got {config.env_kwargs}"
        )
    return make_source(
        config.source,
        env=config.env,
        env_kwargs=None if config.env_kwargs is None else plain(config.env_kwargs),
        frames=config.frames,
        fps=config.fps,
        size=picture_size(config.resize),
        licence=config.licence,
        text=config.text,
        world=config.world,
        starts=config.starts,
        split=config.split,
        prompt=config.prompt,
        depth=config.depth,
    )


def _script(config: DictConfig) -> str:
    """The text of the action script, read and checked; "" for none."""
    if config.script is None:
        return ""
    from worldsim.scripting.action_files import read_script, script_text

    read_script(config.script)
    return script_text(config.script)[0]


def _tell_splits(source: "EnvFactory") -> None:
    """Dreams belong to the split of the map that they begin on; start clips are usually of maps for testing."""
    splits = getattr(source, "splits", set)()
    if splits and "train" not in splits:
        print(
            f"all start clips show maps of the split {' and '.join(sorted(splits))}, so the dreams belong there too; "
            "starts=STORE split=train dreams on from a store's episodes for training"
        )


def _record_person(out: str, config: DictConfig) -> int:
    from worldsim.agents.collection.human import record_person
    from worldsim.plotting.window import has_display

    source = _source(config)
    if not has_display():
        raise UserError("a person needs a display to play on: record scripted play instead, without --human")
    report = record_person(
        source,
        out,
        seed=config.seed,
        episode_frames=config.episode_frames,
        consent=config.consent,
        sensitivity=config.sensitivity,
    )
    print(report.line())
    return 0


def summary(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data summary``."""
    store, config = _open(overrides, flags)
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


def list_episodes(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data list``."""
    store, config = _open(overrides, flags)
    for name in _chosen(store, config):
        manifest = store.manifest(name)
        about = manifest["provenance"]
        where = f"{about.get('split') or 'no split':10}  map {about.get('seed', 'unknown')}"
        print(f"{name}  {manifest['frames']:5d} frames  {where}  {manifest.get('text', '')}")


def verify(overrides: Sequence[str], flags: Mapping[str, Any]) -> int:
    """``worldsim data verify``: exit code 1 when an episode is damaged."""
    store, config = _open(overrides, flags)
    damaged, start = 0, time.monotonic()
    names = store.names(config.split)
    for name in track(names, "verifying"):
        try:
            store.verify(name)
        except CorruptEpisodeError as error:
            damaged += 1
            print(error)
    print(f"{len(names) - damaged} of {len(names)} episodes are whole ({time.monotonic() - start:.1f} s)")
    return 1 if damaged else 0


def contact_sheet(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data sheet``: a row of frames per episode, episodes evenly over the store."""
    from worldsim.plotting.pictures import write_picture

    store, config = _open(overrides, flags)
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
    print(write_picture(Path(config.out or "contact-sheet.png"), sheet))


def _chosen(store: EpisodeStore, config: DictConfig) -> list[str]:
    """The episodes that split, licence and source allow."""
    only = filter_of(config)
    return store.names(config.split) if only == ALL else only.names(store, config.split)


def _open(overrides: Sequence[str], flags: Mapping[str, Any]) -> tuple[EpisodeStore, DictConfig]:
    config = compose_config("data", overrides, flags)
    return open_store(required(config, "data", "data=data/luanti")), config
