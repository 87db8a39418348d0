"""``worldsim play``: a world in a window, or played into a video."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import folder_setting, group, seed_setting, setting, threads_setting, world_setting
from worldsim.envs.play.serving.settings import Serving
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game
    from worldsim.envs.play.headless import Choose
    from worldsim.envs.play.keeping import Outlets
    from worldsim.envs.play.seats import Seat
    from worldsim.envs.play.session import Tell
    from worldsim.envs.play.tree.playthrough import Origin, Playthrough
    from worldsim.simulation.world_model import WorldModel


@dataclass(kw_only=True)
class Play:
    """Settings of ``worldsim play``."""

    world: str = world_setting()
    seed: int = seed_setting("decides the start clip and the noise")
    prefix: str | None = setting(
        None,
        help="begin from this: the number of a start clip, a video or a picture; default: drawn by the seed, "
        "or what the playthrough began from",
    )
    prompt: str | None = setting(None, help="text, where the world takes one; default: none")
    load: str | None = setting(None, help="go on with a playthrough that the window saved; default: begin anew")
    headless: bool = setting(False, help="scripted player instead of a window; also where there is no display")
    serve: bool = setting(False, help="a web page instead of a window")
    serving: Serving = group(Serving)
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
    agent: str | None = setting(
        None, help="window: a trained agent that can be handed over to, a run's folder or policy file; default: none"
    )
    keep: str | None = setting(None, help="window: store that episodes are kept in on request; default: none")
    scale: int = setting(4, help="the video's pixels per world pixel", minimum=1)
    sensitivity: float | None = setting(
        None, help="of the mouse; default: what the window's menu was set to, .15 at first", unit="degrees per pixel",
        above=0,
    )  # fmt: skip
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("play")


def play(config: Play) -> None:
    """``worldsim play``."""
    from worldsim.plotting.window import has_display

    if config.policy is not None:
        config.headless = True
    if config.engine == "luanti":
        for name in ("policy", "load", "prefix", "prompt", "agent", "keep"):
            if getattr(config, name) is not None:
                raise UserError(f"{name} is for learned worlds: worldsim collect plays the real game by policies")
    if config.serve:
        _in_browser(config)
        return
    if not config.headless and not has_display():
        print("no display: a scripted player plays into a video (as --headless does)")
        config.headless = True
    if config.headless:
        _into_video(config)
    else:
        _in_window(config)


def _in_window(config: Play) -> None:
    """Nothing heavy is imported before the window stands."""
    from worldsim.envs.play.bindings import Preferences, default_path
    from worldsim.envs.play.play import PlayWindow

    saved, outlets = _saved(config), _outlets(config)
    preferences = Preferences.load(default_path())
    if config.sensitivity is not None:
        preferences.sensitivity = config.sensitivity
    learned = config.engine == "world"
    window = PlayWindow(
        lambda tell: _open(config, tell, saved), seed=config.seed, preferences=preferences, outlets=outlets,
        seats=(lambda game: _seats(config, game)) if learned else lambda game: {},
        restore=lambda game, timeline: 0 if saved is None else saved.fill(timeline),
    )  # fmt: skip
    try:
        print(window.run().line())
    finally:
        if window.session.game is not None:
            window.session.game.close()
        for path in window.keeper.kept:
            print(path)


def _in_browser(config: Play) -> None:
    from worldsim.cli.worlds.serve import in_browser
    from worldsim.envs.play.session import Session

    if config.headless or config.engine != "world":
        raise UserError("--serve shows a learned world on a page: leave --headless, policy and engine out")
    saved, outlets = _saved(config), _outlets(config)
    in_browser(
        config.serving, lambda tell: _open(config, tell, saved), outlets, config.sensitivity,
        lambda game: Session(
            game, seed=config.seed, seats=lambda game: _seats(config, game),
            restore=lambda game, timeline: 0 if saved is None else saved.fill(timeline),
        ),
    )  # fmt: skip


def _saved(config: Play) -> "Playthrough | None":
    """The playthrough to go on with; its world and seed become the settings'."""
    from worldsim.envs.play.tree.playthrough import Playthrough

    saved = None if config.load is None else Playthrough.load(existing_path(config.load))
    if saved is not None:
        config.world, config.seed = saved.origin.world, saved.seed
    return saved


def _outlets(config: Play) -> "Outlets":
    """Where things go that are kept: a folder that is made when the first of them is."""
    from worldsim.envs.play.keeping import Outlets

    folder: list[Path] = []

    def place() -> Path:
        folder[:] = folder or [run_folder("play", config)]
        return folder[0]

    learned = config.engine == "world"
    return Outlets(
        folder=place, scale=config.scale, origin=(lambda game: _origin(config, game)) if learned else None,
        episode=None if config.keep is None else lambda game, played: _keep_episode(str(config.keep), game, played),
    )  # fmt: skip


def _into_video(config: Play) -> None:
    from worldsim.envs.play.headless import play_headless

    saved = _saved(config)
    game = _open(config, lambda what, share: None, saved)
    try:
        choose, seconds = None, config.seconds
        if saved is not None:
            choose, seconds = _again(saved), len(saved.actions()) / game.fps
        elif config.policy is not None:
            choose = _player(config.policy, game, config.seed)
        out = Path(config.out) if config.out else run_folder("play", config) / "play.mp4"
        scale = 1 if config.engine == "luanti" else config.scale
        try:
            times = play_headless(game, out, seconds=seconds, seed=config.seed, scale=scale, choose=choose)
        finally:
            # Also of one that Ctrl-C ended early.
            if out.exists():
                print(out)
        print(times.line())
    finally:
        game.close()


def _open(config: Play, tell: "Tell", saved: "Playthrough | None") -> "Game":
    """Load what is played; tells how far it is."""
    tell("loading PyTorch", None)
    use_threads(config.threads)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.play.games import LuantiGame, WorldGame

    if config.engine == "luanti":
        tell("starting the game", None)
        return LuantiGame(realtime=not config.headless)
    tell("loading the world", 0.3)
    world, starts = resolve(config.world, None)
    learned = _learned_keys(config.world)
    if saved is not None:
        origin = replace(saved.origin, options={**saved.origin.options, **_options(config)})
        world, _ = origin.beginning(world, starts, saved.seed)
        return WorldGame(world, starts, dict(origin.options), learned=learned)
    tell("measuring how fast this machine is", 0.7)
    return WorldGame(_sampled(world, starts, config.sampling_steps), starts, _options(config), learned=learned)


def _options(config: Play) -> dict[str, Any]:
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


def _origin(config: Play, game: "Game") -> "Origin":
    from worldsim.envs.play.games import WorldGame
    from worldsim.envs.play.tree.origin import origin_of

    assert isinstance(game, WorldGame)
    return origin_of(config.world, game.world, game.options, game.begun)


def _again(saved: "Playthrough") -> "Choose":
    """Plays a playthrough's actions."""
    chunk, actions = saved.origin.chunk, saved.actions()
    if not len(actions):
        raise UserError("nothing was played in this playthrough before where the player stood")
    chunks = iter(actions.reshape(-1, chunk, actions.shape[-1]))
    return lambda frame: next(chunks)


def _sampled(world: "WorldModel", starts: Any, steps: int | None) -> "WorldModel":
    """The world in so many sampling steps; without a number, its own, or one where these are too slow to play."""
    from worldsim.envs.play.games import in_time

    if steps is not None:
        return world.with_sampling(steps=steps)
    own, world = world.config.sampling.steps, in_time(world, starts)
    if world.config.sampling.steps != own:
        print(f"{own} sampling steps are too slow for real time here: playing with one (sampling_steps={own} insists)")
    return world


def _seats(config: Play, game: "Game") -> "Mapping[str, Callable[[], Seat]]":
    """Who else can play in the window."""
    from worldsim.agents.policies.branch_players import players
    from worldsim.envs.play.games import WorldGame
    from worldsim.spec.actions import MINECRAFT

    assert isinstance(game, WorldGame)
    find = players(game.world, seed=config.seed)
    names = ("explore", "random", "planner") if game.world.spec == MINECRAFT else ("random", "planner")
    seats: dict[str, Callable[[], Any]] = {name: find(name) for name in names}
    if config.agent is not None:
        from worldsim.agents.policies.agent_seat import agent_seat

        seats["agent"] = agent_seat(game.world, game.starts, config.agent)
    return seats


def _player(name: str, game: "Game", seed: int) -> "Choose":
    """Who plays without a window: asked for each step's actions; does nothing when it has finished."""
    from worldsim.agents.policies.branch_players import players
    from worldsim.envs.play.games import WorldGame
    from worldsim.envs.play.seats import padded

    assert isinstance(game, WorldGame)
    player = players(game.world, seed=seed)(name)()
    return lambda frame: padded(player.choose(game.state, frame, game.chunk), game)


def _keep_episode(store: str, game: "Game", played: "Playthrough") -> str:
    from worldsim.agents.collection.played import keep_played
    from worldsim.envs.play.games import WorldGame

    assert isinstance(game, WorldGame)
    return keep_played(store, game, played)
