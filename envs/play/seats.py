"""Who plays: the person, or whoever it is handed over to.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game
    from worldsim.envs.play.tree.timeline import Timeline

Actions = NDArray[np.float32]
YOU = "you"


class Seat(Protocol):
    """Whoever plays instead of the person."""

    def choose(self, state: Any, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        """The next actions (n, A) of the game, n at most ``count``; nothing is done where they are fewer."""
        ...


class Seats:
    """Who can play, and who does.

    Args:
        makers: makes each of them, by name, anew at every hand-over.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Seat]] | None = None):
        self._makers = dict(makers or {})
        self.playing = YOU
        self._seat: Seat | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody, the person first."""
        return (YOU, *self._makers)

    def take(self, name: str) -> None:
        """Hand over to somebody."""
        assert name in self.names
        self.playing, self._seat = name, None

    def next(self) -> str:
        """Hand over to whoever is next; returns the name."""
        self.take(self.names[(self.names.index(self.playing) + 1) % len(self.names)])
        return self.playing

    def leave(self) -> None:
        """Let whoever plays forget what they saw: the game is elsewhere."""
        self._seat = None

    def actions(self, game: "Game", timeline: "Timeline", controls: Actions) -> Actions:
        """The game's next actions (r, A): the person's controls in its terms, or what the other chooses."""
        playing = self.playing
        if playing == YOU:
            return np.stack([game.hands(one) for one in controls])
        seat = self._seat = self._seat or self._makers[playing]()
        chosen = seat.choose(getattr(game, "state", None), timeline.picture(timeline.here)[-1], game.chunk)
        return padded(chosen, game)


def padded(chosen: Actions, game: "Game") -> Actions:
    """Actions (n, A) for a whole chunk (r, A): nothing is done after the last."""
    idle = game.hands.target.idle()[None]
    return np.concatenate([chosen, np.repeat(idle, game.chunk - len(chosen), 0)]).astype(np.float32)
