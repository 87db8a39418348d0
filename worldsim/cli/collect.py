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
from worldsim.datasets.governance import ALL, source_of
from worldsim.datasets.store import SPLITS, CorruptEpisodeError, EpisodeStore, Split
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.agents.sources import Source


def run_collect(overrides: Sequence[str], flags: Mapping[str, Any]) -> int:
    """``worldsim collect``."""
    from worldsim.agents.collect import collect
    from worldsim.agents.sources_choice import name_prefix

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


def _source(config: DictConfig) -> "Source":
    from worldsim.agents.sources_choice import make_source

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
    )


def _script(config: DictConfig) -> str:
    """The text of the action script, read and checked; "" for none."""
    if config.script is None:
        return ""
    from worldsim.envs.action_files import read_script, script_text

    read_script(config.script)
    return script_text(config.script)[0]


def _tell_splits(source: "Source") -> None:
    """Dreams belong to the split of the map that they begin on; start clips are usually of maps for testing."""
    splits = getattr(source, "splits", set)()
    if splits and "train" not in splits:
        print(
            f"all start clips show maps of the split {' and '.join(sorted(splits))}, so the dreams belong there too; "
            "starts=STORE split=train dreams on from a store's episodes for training"
        )


def _record_person(out: str, config: DictConfig) -> int:
    from worldsim.agents.collect_human import record_person
    from worldsim.envs.window import has_display

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
