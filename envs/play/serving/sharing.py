"""One learned world for many sessions: its weights are loaded once."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from worldsim.envs.play.session import Tell

if TYPE_CHECKING:
    from worldsim.envs.play.games import WorldGame


class SharedWorld:
    """Opens a game for each session that asks; the first one loads the world, meanwhile the others wait.

    Args:
        open_game: loads the world; tells how far it is.
    """

    def __init__(self, open_game: Callable[[Tell], "WorldGame"]):
        self._open = open_game
        self._lock = threading.Lock()
        self._first: WorldGame | None = None

    def __call__(self, tell: Tell) -> "WorldGame":
        """A game of its own, at its beginning."""
        tell("loading the world", None)
        with self._lock:
            if self._first is None:
                self._first = self._open(tell)
            return self._first.another()
