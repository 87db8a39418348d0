"""``worldsim play --serve``: the world on a web page."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from worldsim.envs.play.serving.settings import Serving
from worldsim.extras import require

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game, WorldGame
    from worldsim.envs.play.keeping import Outlets
    from worldsim.envs.play.session import Session, Tell


def in_browser(
    serving: Serving,
    open_game: "Callable[[Tell], Game]",
    outlets: "Outlets",
    sensitivity: float | None,
    make_session: "Callable[[Callable[[Tell], Game]], Session]",
) -> None:
    """Serve until Ctrl-C.

    Args:
        serving: where, and how much.
        open_game: loads a learned world, once.
        outlets: where what is kept goes.
        sensitivity: of the mouse; None: as in the window.
        make_session: makes a session of a function that opens its game.
    """
    require("aiohttp", "play --serve")
    from worldsim.envs.play.bindings import Preferences, default_path
    from worldsim.envs.play.serving.access import access_for
    from worldsim.envs.play.serving.server import WorldServer, serve
    from worldsim.envs.play.serving.sharing import SharedWorld

    preferences = Preferences.load(default_path())
    if sensitivity is not None:
        preferences.sensitivity = sensitivity
    access = access_for(serving.host, serving.origins, os.environ)

    def open_world(tell: "Tell") -> "WorldGame":
        game = open_game(tell)
        # Known by now: PyTorch is loaded after the page can be opened.
        from worldsim.envs.play.games import WorldGame

        assert isinstance(game, WorldGame)
        return game

    world = SharedWorld(open_world)
    server = WorldServer(lambda: make_session(world), access, serving, outlets, preferences)
    try:
        serve(server, lambda url: print(f"the world is at {url} (Ctrl-C ends)", flush=True))
    finally:
        for path in server.rooms.kept if server.rooms else ():
            print(path)
