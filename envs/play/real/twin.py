"""A dream and the real game on the same actions, from the same past.

The dream begins from the real game's own pictures, so that both have one past to the pixel. What is played, saved as
the present moment and shown first is the dream; the real game's frames come beside it.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.learned.initial_context import InitialContext, choose, fit_past
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.pace import BOTH, DREAM, REAL, Insight, Start
from worldsim.envs.play.real.real_game import Frames, RealGame, RealPast
from worldsim.envs.play.worker import Worker
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.envs.play.opening import Opening
    from worldsim.envs.play.session import Tell
    from worldsim.envs.play.tree.timeline import Timeline
    from worldsim.simulation.packed_state import PackedState
    from worldsim.simulation.state import WorldState

Actions = NDArray[np.float32]


@dataclass(frozen=True)
class TwinMoment:
    """A moment of both."""

    dream: "PackedState"
    real: Any
    shown: Frames

    def pieces(self) -> dict[int, int]:
        """About what it takes, by address: the real game's clone is small."""
        return {**self.dream.pieces(), id(self.shown): self.shown.nbytes}


class TwinGame:
    """Both games, stepped side by side.

    Args:
        dream: the learned world.
        real: the real game; closed with this one.
        tell: says how far the beginning is.
    """

    def __init__(self, dream: WorldGame, real: RealGame, tell: "Tell"):
        self.dream, self.real, self._tell = dream, real, tell
        self.hands, self.chunk, self.fps = dream.hands, dream.chunk, dream.fps
        self.width, self.height = dream.width, dream.height
        self.title, self.rewinds = f"WorldSim beside {real.title}", real.rewinds
        self.views = (DREAM, REAL, BOTH, *dream.views[1:])
        self._watch = self.views[0]
        self.pictures = dream.pictures if real.takes_starts else None
        self.prompts: tuple[str, ...] = ()
        # Where the real game stands: None before it began.
        self.past: RealPast | None = None
        self._beside = Worker()
        self._real: Frames = np.zeros((self.chunk, self.height, self.width, 3), np.uint8)

    @property
    def news(self) -> str:
        """Where the real game stands."""
        return "" if self.past is None else f"{self.real.title}: {self.past.words}"

    @property
    def watch(self) -> str:
        """The view that somebody looks at."""
        return self._watch

    @watch.setter
    def watch(self, view: str) -> None:
        self._watch = self.dream.watch = view

    @property
    def state(self) -> "WorldState":
        """Where the dream stands."""
        return self.dream.state

    def reset(self, seed: int) -> Frames:
        """Put the real game to the start that the seed decides, or that was chosen, and begin the dream from there."""
        dream = self.dream
        chosen = choose(dream.world, dream.starts, np.random.default_rng(seed), dream.options)
        about = dream.starts.provenance[chosen.start] if chosen.start >= 0 else {}
        self._tell(f"starting {self.real.title}", None)
        self.past = past = self.real.begin(chosen, about, seed)
        frames, actions = fit_past(dream.world, past.frames, past.actions)
        poses = None if past.poses is None else past.poses[len(past.poses) - len(frames) :]
        dream.beginning = InitialContext(
            frames=frames, actions=actions, seed=chosen.seed, prompt=chosen.prompt, poses=poses
        )
        shown = dream.reset(seed)
        self._real = shown
        return shown

    def advance(self, actions: Actions) -> Frames:
        """Step both at once; returns the dream's frames."""
        beside = self._beside.submit(lambda: self.real.advance(actions))
        shown = self.dream.advance(actions)
        self._real = beside.result()
        return shown

    def snapshot(self) -> TwinMoment | None:
        """Both; None where the real game cannot go back."""
        return TwinMoment(self.dream.snapshot(), self.real.snapshot(), self._real) if self.rewinds else None

    def restore(self, snapshot: TwinMoment) -> None:
        """Take both back."""
        self.dream.restore(snapshot.dream)
        self.real.restore(snapshot.real)
        self._real = snapshot.shown

    def begin_at(self, start: Start) -> None:
        """Let ``reset`` begin at a start clip.

        Raises:
            UserError: a picture shows no place of the real game.
        """
        if not isinstance(start, int):
            raise UserError("the real game cannot begin from a picture or a text: open the world alone (B)")
        # Of what the dream begins from, the real game decides at each reset.
        self.dream.beginning = None
        self.dream.begin_at(start)

    def insight(self) -> Insight:
        """The real game's frames, and what the dream knows."""
        return {REAL: self._real, **self.dream.insight()}

    def latent(self) -> NDArray[np.float16]:
        """The dream's."""
        return self.dream.latent()

    def status(self) -> str:
        """What both tell."""
        return "\n".join(line for line in (self.dream.status(), self.real.status()) if line)

    def close(self) -> None:
        """Stop the real game."""
        self._beside.submit(self.real.close).result()
        self._beside.close(1.0)


def twin_opening(
    opening: "Opening", dream: WorldGame, make_real: Callable[[], RealGame], inputs: Sequence[Actions]
) -> "Opening":
    """Opens the real game beside a dream that is played; from the same start, it plays the same inputs again.

    Args:
        opening: of the dream.
        dream: as it is played; left as it is.
        make_real: starts the real game.
        inputs: actions (r, A) from the beginning to the moment shown; played where both have the same start.
    """
    told: list[Tell] = []

    def open_game(tell: "Tell") -> TwinGame:
        told[:] = [tell]
        tell("starting the real game", None)
        again = WorldGame(dream.world, dream.starts, dream.options, learned=dream.learned)
        return TwinGame(again, make_real(), tell)

    def restore(game: Any, timeline: "Timeline") -> int:
        if game.past.same_start:
            for number, actions in enumerate(inputs):
                told[0]("playing the same inputs again", number / len(inputs))
                timeline.advance(actions)
        return timeline.here

    outlets = replace(opening.outlets, origin=None, episode=None)
    return replace(opening, open_game=open_game, outlets=outlets, restore=restore, real=None, view=BOTH)
