"""``worldsim play`` in a window: what can be opened there."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.cli.runs import playthrough_of, run_folder
from worldsim.cli.worlds.play_games import dream_of, open_game

if TYPE_CHECKING:
    from worldsim.cli.worlds.play import Play
    from worldsim.envs.play.games import Game
    from worldsim.envs.play.opening import Opening, WorldTile
    from worldsim.envs.play.seats import Seat
    from worldsim.envs.play.tree.playthrough import Origin, Playthrough

Place = Callable[[], Path]


def play_in_window(config: "Play") -> None:
    """Open the window and play until it is closed."""
    from worldsim.envs.play.bindings import Preferences, default_path
    from worldsim.envs.play.play import PlayWindow

    saved = playthrough_of(config, config.load)
    preferences = Preferences.load(default_path())
    if config.sensitivity is not None:
        preferences.sensitivity = config.sensitivity
    folder: list[Path] = []

    def place() -> Path:
        folder[:] = folder or [run_folder("play", config)]
        return folder[0]

    opening = replace(opening_of(config, place, saved), start_page=_undecided(config))
    window = PlayWindow(opening, preferences=preferences)
    try:
        times = window.run()
        if times.seconds:
            print(times.line())
    finally:
        if window.session.game is not None:
            window.session.game.close()
        for path in window.kept:
            print(path)
        for line in window.films.failures:
            print(f"worldsim: {line}", file=sys.stderr)


def _undecided(config: "Play") -> bool:
    """Whether nothing says where to begin: the player is asked."""
    said = (config.prefix, config.prompt, config.load)
    return config.start_page and config.engine == "world" and not config.seed and said == (None, None, None)


def opening_of(config: "Play", place: Place, saved: "Playthrough | None" = None) -> "Opening":
    """What a sitting needs to begin, in a window or on a page."""
    from worldsim.envs.play.keeping import Outlets
    from worldsim.envs.play.opening import Opening
    from worldsim.envs.play.pace import BOTH

    # A playthrough of two games could not be told from one of the dream alone.
    alone, store = config.engine == "world", config.keep
    outlets = Outlets(
        folder=place, scale=config.scale, origin=(lambda game: _origin(config, game)) if alone else None,
        episode=None if store is None else lambda game, played: _keep_episode(store, game, played),
    )  # fmt: skip
    return Opening(
        open_game=lambda tell: open_game(config, tell, saved), seed=config.seed, outlets=outlets,
        seats=lambda game: {} if config.engine == "luanti" else _seats(config, game),
        restore=lambda game, timeline: 0 if saved is None else saved.fill(timeline),
        worlds=lambda: _worlds(config, place), real=_beside(config, place) if alone else None,
        view=BOTH if config.engine == "both" else "",
    )  # fmt: skip


def _worlds(config: "Play", place: Place) -> "Sequence[WorldTile]":
    """The shipped worlds, and the one that play began with."""
    from worldsim import ASSETS, world_folder
    from worldsim.datasets.store.video import read_video
    from worldsim.envs.play.opening import WorldTile

    shipped = sorted(folder.name for folder in ASSETS.iterdir() if (folder / "starts").is_dir())
    tiles = []
    for name in dict.fromkeys((*shipped, config.world)):
        film = world_folder(name) / "starts" / "000.mp4"
        # A world whose clips cannot be read is not offered: play goes on.
        with suppress(OSError, ValueError):
            picture = read_video(film)[-1]
            other = replace(config, engine="world", load=None)
            if name != config.world:
                # What was said of one world does not fit another.
                other = replace(other, world=name, prefix=None, prompt=None, agent=None)
            opening = partial(opening_of, other, place)
            tiles.append(WorldTile(name=Path(name).name, picture=picture, opening=opening))
    return tiles


def _beside(config: "Play", place: Place) -> "Callable[[Game, Sequence[Any]], Opening]":
    """Opens the game that a world was recorded from beside it."""

    def beside(game: "Game", inputs: Sequence[Any]) -> "Opening":
        from worldsim.envs.play.real.find import find_real
        from worldsim.envs.play.real.twin import twin_opening

        dream = dream_of(game)
        return twin_opening(opening_of(config, place), dream, find_real(dream), inputs)

    return beside


def _origin(config: "Play", game: "Game") -> "Origin":
    from worldsim.envs.play.tree.origin import origin_of

    dream = dream_of(game)
    return origin_of(config.world, dream.world, dream.options, dream.begun)


def _seats(config: "Play", game: "Game") -> "Mapping[str, Callable[[], Seat]]":
    """Who else can play in the window."""
    from worldsim.agents.policies.branch_players import players
    from worldsim.spec.actions import MINECRAFT

    dream = dream_of(game)
    find = players(dream.world, seed=config.seed)
    names = ("explore", "random", "planner") if dream.world.spec == MINECRAFT else ("random", "planner")
    seats: dict[str, Callable[[], Any]] = {name: find(name) for name in names}
    if config.agent is not None:
        from worldsim.agents.policies.agent_seat import agent_seat

        seats["agent"] = agent_seat(dream.world, dream.starts, config.agent)
    return seats


def _keep_episode(store: str, game: "Game", played: "Playthrough") -> str:
    from worldsim.agents.collection.played import keep_played

    return keep_played(store, dream_of(game), played)
