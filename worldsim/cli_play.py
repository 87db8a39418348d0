"""Commands that play worlds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.cli_config import compose_config, run_folder
from worldsim.cli_train import use_threads
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.datasets.loading.starts import StartClips
    from worldsim.envs.play.games import WorldGame
    from worldsim.envs.play.play import Choose
    from worldsim.simulation.world_model import WorldModel


def play(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim play``."""
    config = compose_config("play", overrides, flags)
    use_threads(config.threads)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.play.games import Game, LuantiGame, WorldGame
    from worldsim.envs.play.play import PlayWindow, play_headless
    from worldsim.plotting.window import has_display

    if config.engine not in ("world", "luanti"):
        raise UserError(f"engine must be world or luanti, got {config.engine!r}")
    if config.seconds <= 0 or config.scale < 1:
        raise UserError(f"seconds and scale must be positive, got {config.seconds} and {config.scale}")
    if config.policy is not None:
        config.headless = True
    if not config.headless and not has_display():
        print("no display: a scripted player plays into a video (as --headless does)")
        config.headless = True
    game: Game
    choose = None
    if config.engine == "luanti":
        if config.policy is not None:
            raise UserError("policy is for learned worlds: worldsim collect plays the real game by policies")
        game = LuantiGame(realtime=not config.headless)
    else:
        world, starts = resolve(config.world, None)
        game = WorldGame(_sampled(world, starts, config.sampling_steps), starts)
        if config.policy is not None:
            choose = _player(config.policy, game, config.seed)
    try:
        if not config.headless:
            print(PlayWindow(game, seed=config.seed, sensitivity=config.sensitivity).run().line())
            return
        out = Path(config.out) if config.out else run_folder("play", config) / "play.mp4"
        scale = 1 if config.engine == "luanti" else config.scale
        times = play_headless(game, out, seconds=config.seconds, seed=config.seed, scale=scale, choose=choose)
        print(times.line())
        print(out)
    finally:
        game.close()


def _sampled(world: "WorldModel", starts: "StartClips", steps: int | None) -> "WorldModel":
    """The world in so many sampling steps; without a number, its own, or one where these are too slow to play."""
    from worldsim.envs.play.games import in_time

    if steps is not None:
        return world.with_sampling(steps=steps)
    own, world = world.config.sampling.steps, in_time(world, starts)
    if world.config.sampling.steps != own:
        print(f"{own} sampling steps are too slow for real time here: playing with one (sampling_steps={own} insists)")
    return world


def _player(name: str, game: "WorldGame", seed: int) -> "Choose":
    """Who plays without a window: asked for each step's actions; does nothing when it has finished."""
    from worldsim.agents.policies.branch_players import players

    player = players(game.world, seed=seed)(name)()

    def choose(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        chosen = player.choose(game.state, frame, game.chunk)
        idle = np.repeat(game.world.spec.idle()[None], game.chunk - len(chosen), 0)
        return np.concatenate([chosen, idle])

    return choose
