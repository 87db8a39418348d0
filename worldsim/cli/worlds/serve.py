"""``worldsim play --serve``: the world on a web page."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from worldsim.cli.runs import playthrough_of, run_folder
from worldsim.cli.worlds.play_games import dream_of
from worldsim.cli.worlds.play_window import opening_of
from worldsim.extras import require

if TYPE_CHECKING:
    from worldsim.cli.worlds.play import Play
    from worldsim.envs.play.games import WorldGame
    from worldsim.envs.play.session import Tell


def play_in_browser(config: "Play") -> None:
    """Serve until Ctrl-C."""
    require("aiohttp", "play --serve")
    from worldsim.envs.play.bindings import Preferences, default_path
    from worldsim.envs.play.serving.access import access_for
    from worldsim.envs.play.serving.server import WorldServer, serve
    from worldsim.envs.play.serving.sharing import SharedWorld

    saved = playthrough_of(config, config.load)
    preferences = Preferences.load(default_path())
    if config.sensitivity is not None:
        preferences.sensitivity = config.sensitivity
    access = access_for(config.serving.host, config.serving.origins, os.environ)
    folder: list[Path] = []

    def place() -> Path:
        folder[:] = folder or [run_folder("play", config)]
        return folder[0]

    opening = opening_of(config, place, saved)

    def open_world(tell: "Tell") -> "WorldGame":
        return dream_of(opening.open_game(tell))

    shared = replace(opening, open_game=SharedWorld(open_world))
    server = WorldServer(shared.session, access, config.serving, opening.outlets, preferences)
    try:
        serve(server, lambda url: print(f"the world is at {url} (Ctrl-C ends)", flush=True))
    finally:
        for path in server.rooms.kept if server.rooms else ():
            print(path)
