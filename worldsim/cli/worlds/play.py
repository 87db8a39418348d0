"""Commands that play worlds."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import folder_setting, seed_setting, setting, threads_setting, world_setting
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.datasets.loading.starts import StartClips
    from worldsim.envs.play.games import WorldGame
    from worldsim.envs.play.play import Choose
    from worldsim.simulation.world_model import WorldModel


@dataclass(kw_only=True)
class Play:
    """Settings of ``worldsim play``."""

    world: str = world_setting()
    seed: int = seed_setting("decides the start clip and the noise")
    headless: bool = setting(False, help="scripted player instead of a window; also where there is no display")
    engine: str = setting(
        "world", help="the learned world, or the real game (needs minetest)", choices=("world", "luanti")
    )
    seconds: float = setting(20.0, help="length of a headless video", unit="seconds", above=0)
    out: str | None = setting(None, help="the video; default: play.mp4 in the run folder")
    sampling_steps: int | None = setting(
        None,
        help="network evaluations a latent frame; default: the world's own, or one where these are too slow for real "
        "time",
        minimum=1,
    )
    policy: str | None = setting(
        None,
        help="plays without a window: explore, walk, mixture, random, noop or planner; default: looks around",
    )
    scale: int = setting(4, help="the video's pixels per world pixel", minimum=1)
    sensitivity: float = setting(0.15, help="of the mouse", unit="degrees per pixel", above=0)
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("play")


def play(config: Play) -> None:
    """``worldsim play``."""
    use_threads(config.threads)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.play.games import Game, LuantiGame, WorldGame
    from worldsim.envs.play.play import PlayWindow, play_headless
    from worldsim.plotting.window import has_display

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
