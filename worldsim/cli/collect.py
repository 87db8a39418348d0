"""``worldsim collect``: record play into an episode store."""

import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from worldsim.cli.runs import everywhere, picture_size, run_folder
from worldsim.cli.settings import folder_setting, seed_setting, setting, split_setting, world_setting
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.agents.collection.types import EnvFactory
    from worldsim.datasets.store.store import Split


@dataclass(kw_only=True)
class Collect:
    """Settings of ``worldsim collect``."""

    source: str = setting(
        "luanti",
        help="the real game, any Gymnasium id, a learned world, or real Minecraft",
        choices=("luanti", "gym", "worldsim", "minerl"),
    )
    out: str = setting(
        help="folder of the episode store; what is there already is skipped", example="--out data/luanti"
    )
    hours: float = setting(
        1.0, help="game time to collect in all, at most: some games end earlier", unit="hours", above=0
    )
    episodes: int | None = setting(None, help="number of episodes in all; default: as hours says", minimum=1)
    seed: int = seed_setting("decides maps, starting points, times of day, policies")
    threads: int = setting(1, help="worldsim: CPU threads of PyTorch in each worker", minimum=1)
    workers: int = setting(2, help="engines side by side; 0 records in this process", minimum=0)
    episode_frames: int = setting(1000, help="frames of an episode, at most (20 a second in Luanti)", minimum=2)
    episodes_per_world: int = setting(6, help="episodes from each map", minimum=1)
    maps: str | None = split_setting("only maps of that split; default: all")
    policy: str | None = setting(
        None,
        help="mixture or one scripted player (luanti, worldsim); random, noop, script, package.module:Class (all); "
        "default: what suits the source",
    )
    script: str | None = setting(
        None, help="action script: a .script file or its text; means policy=script; default: none"
    )
    depth: bool = setting(True, help="luanti: record the depth of each frame too (about 5 kB a frame)")
    licence: str | None = setting(None, help="gym: of the pictures, an SPDX id or a sentence; default: unknown")
    env: str | None = setting(None, help="gym, minerl: id of the environment, say ALE/Breakout-v5")
    env_kwargs: dict[str, Any] | None = setting(
        None, help="gym: passed to gymnasium.make, say env_kwargs={frameskip:4}; default: nothing"
    )
    frames: str = setting(
        "auto",
        help="gym: where pictures come from; auto: observations where they are pictures",
        choices=("auto", "observation", "render"),
    )
    fps: float | None = setting(
        None, help="gym: of the recording; default: as the environment says", unit="frames a second", above=0
    )
    resize: str | None = setting(
        None,
        help="gym: WIDTHxHEIGHT in pixels, say 80x96: scale the pictures; training needs multiples of 16; "
        "default: native size",
    )
    text: str | None = setting(None, help="gym: caption of the episodes; default: none")
    world: str = world_setting("worldsim: a shipped world's name, or a checkpoint folder")
    starts: str | None = setting(
        None, help="worldsim: start clips, or an episode store to begin from; default: the world's start clips"
    )
    split: str | None = split_setting("worldsim: of the store's episodes to begin from; default: all")
    prompt: str | None = setting(None, help="worldsim: text condition; default: none")
    human: bool = setting(False, help="a person plays in a window and is recorded")
    consent: str | None = setting(None, help="human: what was agreed with the player; default: nothing")
    sensitivity: float | None = setting(
        None, help="human: of the mouse; default: what the window's menu was set to", unit="degrees per pixel", above=0
    )
    ray: str | None = setting(
        None,
        help="record on many machines: local, auto or the address of a Ray cluster; out is then a shared place; "
        "default: this machine alone",
    )
    folder: str | None = folder_setting("collect")


def run_collect(config: Collect) -> int:
    """``worldsim collect``: exit code 1 when episodes are missing, 2 when there are none at all."""
    from worldsim.agents.collection.collect import collect
    from worldsim.agents.collection.source_choice import name_prefix

    if config.human:
        return _record_person(config)
    source = _source(config)
    script = _script(config)
    policy = config.policy or ("script" if script else source.policy)
    if script and policy != "script":
        raise UserError(f"give a script or a policy, not both: policy={policy}")
    fps = source.check(policy, script)
    _tell_splits(source)
    folder = run_folder("collect", config)
    report = collect(
        out=config.out,
        hours=None if config.episodes is not None else config.hours,
        episodes=config.episodes,
        seed=config.seed,
        workers=config.workers,
        episode_frames=config.episode_frames,
        episodes_per_world=config.episodes_per_world,
        fps=fps,
        policy=policy,
        script=script,
        make_env=source if config.ray is None else _everywhere(source),
        prefix=name_prefix(source, policy=policy, script=script, episode_frames=config.episode_frames),
        maps=cast("Split | None", config.maps),
        ray=config.ray,
    )
    (folder / "report.json").write_text(json.dumps(vars(report), indent=1))
    print(report.line())
    if report.interrupted:
        return 130
    if report.episodes + report.skipped + report.withdrawn == 0:
        raise UserError(report.failures[-1] if report.failures else "nothing was collected")
    if report.missing:
        print(f"{report.missing} episodes are missing: the same command tries them again", file=sys.stderr)
    return 1 if report.missing else 0


def _everywhere(source: "EnvFactory") -> "EnvFactory":
    """A source as processes in other folders find what it is made of."""
    names = {one: getattr(source, one, None) for one in ("world", "starts")}
    found = {one: everywhere(name) for one, name in names.items() if name is not None}
    return replace(cast("Any", source), **found) if found else source


def _source(config: Collect) -> "EnvFactory":
    from worldsim.agents.collection.source_choice import make_source

    return make_source(
        config.source,
        env=config.env,
        env_kwargs=config.env_kwargs,
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
        threads=config.threads,
    )


def _script(config: Collect) -> str:
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


def _record_person(config: Collect) -> int:
    from worldsim.agents.collection.human import record_person
    from worldsim.plotting.window import has_display

    source = _source(config)
    if not has_display():
        raise UserError("a person needs a display to play on: record scripted play instead, without --human")
    report = record_person(
        source,
        config.out,
        seed=config.seed,
        episode_frames=config.episode_frames,
        consent=config.consent,
        sensitivity=config.sensitivity,
    )
    print(report.line())
    return 0
