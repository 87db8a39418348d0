"""What can be opened in the window: a game, and all that belongs to it.

H W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.keeping import Outlets
from worldsim.envs.play.seats import Seat
from worldsim.envs.play.session import Session, Tell
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game

Actions = NDArray[np.float32]


def _nowhere() -> Path:
    raise ValueError("there is no folder for it")


def _no_outlets() -> Outlets:
    return Outlets(folder=_nowhere)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A game to open.

    Attributes:
        open_game: loads it, in the world's thread; told a function that says how far it is.
        seed: of the first episode; each restart takes the next one.
        outlets: where what is kept goes.
        seats: for the game, who else can play.
        restore: puts an earlier playthrough into the timeline; returns the moment to begin at.
        same_start: beginning anew returns to the one beginning, and keeps what was played.
        worlds: other worlds that can be opened from here; asked in the world's thread.
        real: opens the real game beside this one, given the game and the actions (r, A) of each step so far; raises
            UserError or FileNotFoundError where there is none. None: this is no dream of a game that is known.
        view: how the game is looked at first, "" for its plain picture.
        start_page: whether the page of starts is opened at first, where the game has one.
    """

    open_game: "Callable[[Tell], Game]"
    seed: int
    outlets: Outlets = field(default_factory=_no_outlets)
    seats: "Callable[[Game], Mapping[str, Callable[[], Seat]]]" = lambda game: {}
    restore: "Callable[[Game, Timeline], int]" = lambda game, timeline: 0
    same_start: bool = False
    worlds: "Callable[[], Sequence[WorldTile]]" = tuple
    real: "Callable[[Game, Sequence[Actions]], Opening] | None" = None
    view: str = ""
    start_page: bool = False

    def session(self) -> Session:
        """Begin to load it."""
        return Session(
            self.open_game, seed=self.seed, seats=self.seats, restore=self.restore, same_start=self.same_start
        )

    def again(self) -> "Opening":
        """To come back to: the page of starts was chosen from already."""
        return replace(self, start_page=False)

    def beside(self, session: Session) -> "Opening":
        """Opens the real game beside a dream, where it stands.

        Raises:
            UserError, FileNotFoundError: there is none.
        """
        game, timeline = session.game, session.timeline
        if self.real is None or game is None or timeline is None:
            raise UserError("it is not known which game this is a dream of, or it is open already")
        inputs = [timeline.moments[number].actions for number in timeline.path(session.shown)[1:]]
        return replace(self.real(game, inputs), seed=session.seed)


@dataclass(frozen=True, kw_only=True)
class WorldTile:
    """Another world on the page of starts.

    Attributes:
        name: as ``--world`` takes it.
        picture: uint8 (H, W, 3) of it.
        opening: says how it is opened.
    """

    name: str
    picture: NDArray[np.uint8]
    opening: Callable[[], Opening]
