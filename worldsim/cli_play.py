"""Commands that play worlds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldsim.cli_config import compose_config, required, run_folder
from worldsim.cli_train import use_threads
from worldsim.errors import UserError


def play(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim play``."""
    config = compose_config("play", overrides, flags)
    use_threads(config.threads)
    from worldsim.envs.beginnings import resolve
    from worldsim.envs.games import Game, LuantiGame, WorldGame
    from worldsim.envs.play import PlayWindow, play_headless
    from worldsim.envs.window import has_display

    if config.engine not in ("world", "luanti"):
        raise UserError(f"engine must be world or luanti, got {config.engine!r}")
    if config.seconds <= 0 or config.scale < 1:
        raise UserError(f"seconds and scale must be positive, got {config.seconds} and {config.scale}")
    if not config.headless and not has_display():
        print("no display: a scripted player plays into a video (as --headless does)")
        config.headless = True
    game: Game
    if config.engine == "luanti":
        game = LuantiGame(realtime=not config.headless)
    else:
        game = WorldGame(*resolve(config.world, None))
    try:
        if not config.headless:
            print(PlayWindow(game, seed=config.seed, sensitivity=config.sensitivity).run().line())
            return
        out = Path(config.out) if config.out else run_folder("play", config) / "play.mp4"
        scale = 1 if config.engine == "luanti" else config.scale
        times = play_headless(game, out, seconds=config.seconds, seed=config.seed, scale=scale)
        print(times.line())
        print(out)
    finally:
        game.close()


def rollout(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim rollout``."""
    config = compose_config("rollout", overrides, flags)
    prefix = str(required(config, "prefix", "--prefix 0"))
    files = required(config, "actions", "--actions a.csv --actions 'forward 20; yaw +3/frame x 20'")
    files = [files] if isinstance(files, str) else [str(file) for file in files]
    from worldsim.envs.action_files import branch_name, read_actions
    from worldsim.envs.beginnings import resolve
    from worldsim.envs.rollout import branch_futures, find_prefix, write_rollout

    world, starts = resolve(config.world, None)
    branches = [read_actions(file, world.spec, fps=world.config.fps) for file in files]
    if config.seconds is not None:
        longest = round(config.seconds * world.config.fps)
        if longest < 1:
            raise UserError(f"seconds must be positive, got {config.seconds}")
        branches = [branch[:longest] for branch in branches]
    past = find_prefix(prefix, world, starts, frames=config.prefix_frames, seed=config.seed)
    futures = branch_futures(world, past, branches)
    folder = Path(config.out) if config.out else run_folder("rollout", config)
    names = [f"{i + 1} {branch_name(file)}" for i, file in enumerate(files)]
    summary = write_rollout(folder, past, futures, names, fps=world.config.fps, scale=config.scale)
    for branch in summary["branches"]:
        first = branch["first_different_frame"]
        where = "equal to the first branch" if first is None else f"differs from frame {first} on"
        print(f"{branch['name']}: mean absolute difference {branch['mean_abs_difference']:.3f} of 255, {where}")
    for name in ("rollout.mp4", "divergence.csv", "divergence.json"):
        print(folder / name)
