"""``worldsim play``: a world in a window, or played into a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worldsim.cli.runs import existing_path, playthrough_of, run_folder
from worldsim.cli.settings import (
    device_setting,
    folder_setting,
    group,
    seed_setting,
    setting,
    threads_setting,
    video_setting,
    world_setting,
)
from worldsim.cli.worlds.play_games import dream_of, open_game
from worldsim.envs.play.serving.settings import Serving
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game
    from worldsim.envs.play.headless import Choose
    from worldsim.envs.play.tree.playthrough import Playthrough


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
    start_page: bool = setting(
        True,
        help="window: begin with pictures of starts and worlds to choose from, unless prefix, prompt, load, or a seed "
        "other than 0 says where to begin",
    )
    headless: bool = setting(False, help="scripted player instead of a window; also where there is no display")
    serve: bool = setting(False, help="a web page instead of a window")
    serving: Serving = group(Serving)
    engine: str = setting(
        "world",
        help="the learned world, the real game Luanti (needs minetest), or the world and the game it was recorded from "
        "on the same inputs",
        choices=("world", "luanti", "both"),
    )
    seconds: float = setting(20.0, help="length of a headless video", unit="seconds", above=0)
    out: str | None = video_setting("the video; default: play.mp4 in the run folder")
    sampling_steps: int | None = setting(
        None,
        help="network evaluations a latent frame, beside the one that fits what is new to what memory draws; default: "
        "the world's own, or as few as real time needs",
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
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("play")


def play(config: Play) -> None:
    """``worldsim play``."""
    if config.load is not None:
        existing_path(config.load)
    if config.prefix is not None and not config.prefix.isdecimal():
        existing_path(config.prefix)
    if config.policy is not None:
        config.headless = True
    if config.engine == "luanti":
        for name in ("policy", "load", "prefix", "prompt", "agent", "keep"):
            if getattr(config, name) is not None:
                raise UserError(f"{name} is for learned worlds: worldsim collect plays the real game by policies")
    if config.engine == "both" and (config.load is not None or config.keep is not None):
        raise UserError("load and keep are for a learned world alone: in its window, G opens the real game beside it")
    if config.serve:
        if config.headless or config.engine != "world":
            raise UserError("--serve shows a learned world on a page: leave --headless, policy and engine out")
        from worldsim.cli.worlds.serve import play_in_browser

        play_in_browser(config)
        return
    if not config.headless:
        from worldsim.plotting.window import has_display

        if not has_display():
            print("no display: a scripted player plays into a video (as --headless does)")
            config.headless = True
    if config.headless:
        _into_video(config)
    else:
        # Nothing heavy is imported before the window stands.
        from worldsim.cli.worlds.play_window import play_in_window

        play_in_window(config)


def _into_video(config: Play) -> None:
    # Before PyTorch is imported, which takes seconds.
    print(f"loading {_what(config)}", flush=True)
    from worldsim.envs.play.headless import play_headless
    from worldsim.envs.play.overlays.views import filmed

    saved = playthrough_of(config, config.load)
    game = open_game(config, lambda what, share: None, saved)
    try:
        choose, seconds = None, config.seconds
        if saved is not None:
            choose, seconds = _again(saved), len(saved.actions()) / game.fps
        elif config.policy is not None:
            choose = _player(config.policy, game, config.seed)
        out = Path(config.out) if config.out else run_folder("play", config) / "play.mp4"
        scale = 1 if config.engine == "luanti" else config.scale
        try:
            film = filmed("both") if config.engine == "both" else filmed("")
            times = play_headless(game, out, seconds=seconds, seed=config.seed, scale=scale, choose=choose, film=film)
        finally:
            # Also of one that Ctrl-C ended early.
            if out.exists():
                print(out)
        print(times.line())
    finally:
        game.close()


def _what(config: Play) -> str:
    """What is loaded, in words."""
    if config.engine == "luanti":
        return "Luanti, the real game"
    what = f"the world {config.world}" if config.load is None else f"the playthrough {config.load} and its world"
    return what + (" and the game it was recorded from" if config.engine == "both" else "")


def _again(saved: "Playthrough") -> "Choose":
    """Plays a playthrough's actions."""
    chunk, actions = saved.origin.chunk, saved.actions()
    if not len(actions):
        raise UserError("nothing was played in this playthrough before where the player stood")
    chunks = iter(actions.reshape(-1, chunk, actions.shape[-1]))
    return lambda frame: next(chunks)


def _player(name: str, game: "Game", seed: int) -> "Choose":
    """Who plays without a window: asked for each step's actions; does nothing when it has finished."""
    from worldsim.agents.policies.branch_players import players
    from worldsim.envs.play.seats import padded

    dream = dream_of(game)
    player = players(dream.world, seed=seed)(name)()
    return lambda frame: padded(player.choose(dream.state, frame, game.chunk), game)
