"""A person as the player of branches: every try in the window, from one and the same moment, is a branch."""

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.play.games import Frames, WorldGame
from worldsim.envs.play.play import PlayWindow
from worldsim.errors import UserError
from worldsim.plotting.window import has_display
from worldsim.simulation.branch_tree import Node
from worldsim.simulation.world_model import WorldModel


class TriedGame(WorldGame):
    """A learned world that begins at the same moment each time, and keeps what was done in every try."""

    def __init__(self, world: WorldModel, starts: StartClips, beginning: InitialContext):
        super().__init__(world, starts, beginning=beginning)
        self._tries: list[NDArray[np.float32]] = []

    def reset(self, seed: int) -> Frames:
        """Begin another try."""
        self._keep()
        return super().reset(seed)

    def tries(self) -> list[NDArray[np.float32]]:
        """The actions (F, A) of every try so far."""
        self._keep()
        return list(self._tries)

    def _keep(self) -> None:
        if self.played:
            self._tries.append(np.concatenate(self.played))
            self.played = []


def played_by_a_person(
    world: WorldModel, starts: StartClips, beginning: InitialContext, *, sensitivity: float
) -> tuple[Node, ...]:
    """Open the window and let a person play from a past; R begins another try, closing the window ends it.

    Raises:
        UserError: there is no display, a keyboard cannot play this game, or nothing was played.
    """
    if not has_display():
        raise UserError("human=true needs a display: give --actions, --tree or --policy instead")
    game = TriedGame(world, starts, beginning)
    print(PlayWindow(game, seed=beginning.seed, sensitivity=sensitivity).run().line())
    tries = game.tries()
    if not tries:
        raise UserError("nothing was played: the window was closed before the first step")
    return tuple(Node(name=f"you {number}", actions=actions) for number, actions in enumerate(tries, 1))
