"""A person as the player of branches: everything played in the window from one moment becomes a tree."""

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.play.bindings import Preferences, default_path
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.tree.origin import origin_of
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.errors import UserError
from worldsim.plotting.window import has_display
from worldsim.simulation.branch_tree import Node
from worldsim.simulation.world_model import WorldModel


def played_by_a_person(
    world: WorldModel, starts: StartClips, beginning: InitialContext, *, sensitivity: float | None
) -> tuple[Node, ...]:
    """Open the window and let a person play from a past; R begins another try, going back parts the tree later on.

    Raises:
        UserError: there is no display, a keyboard cannot play this game, or nothing was played.
    """
    if not has_display():
        raise UserError("human=true needs a display: give --actions, --tree or --policy instead")
    game = WorldGame(world, starts, beginning=beginning)
    preferences = Preferences.load(default_path())
    preferences.sensitivity = sensitivity or preferences.sensitivity
    opening = Opening(open_game=lambda tell: game, seed=beginning.seed, same_start=True)
    window = PlayWindow(opening, preferences=preferences)
    print(window.run().line())
    timeline = window.session.timeline
    if timeline is None or len(timeline.moments) < 2:
        raise UserError("nothing was played: the window was closed before the first step")
    return Playthrough.of(timeline, origin_of("", world, {}, beginning), beginning.seed, 0).nodes()
