"""What ``worldsim play`` opens: a learned world, the real game, or both, as its settings say."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worldsim.cli.runs import existing_path, use_threads
from worldsim.simulation.devices import device_of

if TYPE_CHECKING:
    from worldsim.cli.worlds.play import Play
    from worldsim.envs.play.games import Game, WorldGame
    from worldsim.envs.play.session import Tell
    from worldsim.envs.play.tree.playthrough import Playthrough
    from worldsim.simulation.world_model import WorldModel


def open_game(config: "Play", tell: "Tell", saved: "Playthrough | None") -> "Game":
    """Load what is played; tells how far it is."""
    tell("loading PyTorch", None)
    use_threads(config.threads)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.play.games import WorldGame

    if config.engine == "luanti":
        from worldsim.envs.play.real.luanti_game import LuantiGame

        tell("starting the game", None)
        return LuantiGame(realtime=not config.headless)
    tell("loading the world", 0.3)
    world, starts = resolve(config.world, None, device_of(config.device))
    learned = _learned_keys(config.world)
    if saved is not None:
        origin = replace(saved.origin, options={**saved.origin.options, **_options(config)})
        world, _ = origin.beginning(world, starts, saved.seed)
        return WorldGame(world, starts, dict(origin.options), learned=learned)
    tell("measuring how fast this machine is", 0.7)
    game = WorldGame(_sampled(world, starts, config.sampling_steps), starts, _options(config), learned=learned)
    if config.engine != "both":
        return game
    from worldsim.envs.play.real.find import find_real
    from worldsim.envs.play.real.twin import TwinGame

    return TwinGame(game, find_real(game)(), tell)


def _options(config: "Play") -> dict[str, Any]:
    prefix: Any = config.prefix
    if prefix is not None:
        prefix = int(prefix) if prefix.isdecimal() else str(existing_path(prefix).resolve())
    given = {"prefix": prefix, "prompt": config.prompt}
    return {name: value for name, value in given.items() if value is not None}


def _learned_keys(name: str) -> tuple[str, ...] | None:
    """The keys that a world was taught, of a file beside its checkpoint; None: not known."""
    import worldsim
    from worldsim.spec.text_files import read_json

    path = worldsim.world_folder(name) / "keys.json"
    return tuple(read_json(path)["learned"]) if path.exists() else None


def dream_of(game: "Game") -> "WorldGame":
    """The learned world that is played, alone or beside the real game."""
    from worldsim.envs.play.games import WorldGame

    dream = getattr(game, "dream", game)
    assert isinstance(dream, WorldGame)
    return dream


def _sampled(world: "WorldModel", starts: Any, steps: int | None) -> "WorldModel":
    """The world in so many sampling steps; without a number, as it is, or quicker where that is too slow to play."""
    from worldsim.envs.play.games import in_time

    if steps is not None:
        return world.with_sampling(steps=steps)
    own, world = world.config.sampling, in_time(world, starts)
    if world.config.sampling.steps != own.steps:
        steps = own.steps
        print(
            f"{steps} sampling steps are too slow for real time here: playing with one (sampling_steps={steps} insists)"
        )
    elif world.config.sampling != own:
        print(
            "fitting what is new to what memory draws is too slow for real time here: playing without "
            f"(sampling_steps={own.steps} insists)"
        )
    return world
