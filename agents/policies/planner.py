"""A planner as an example of a policy: it tries out futures in forks of the world and plays the best.

P candidates, S segments of a plan, r frames per chunk, A action vector.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.simulation.branching import RewardFunction
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

Actions = NDArray[np.float32]
# An elite of few candidates looks surer than it is: keys keep at least this chance, the mouse this spread (degrees).
LEAST_CHANCE, LEAST_DEGREES = 0.08, 0.6


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How far and how broadly it looks.

    Attributes:
        candidates: futures tried side by side, P.
        rounds: how often the candidates are drawn anew around the best; 1 is random shooting, more is the cross-entropy
            method (Rubinstein 1999).
        elite: how many of the best a new round is drawn around.
        horizon: chunks looked ahead.
        hold: chunks for which an action is held, a segment.
        replan: chunks played before planning again.
    """

    candidates: int = 12
    rounds: int = 2
    elite: int = 3
    horizon: int = 12
    hold: int = 3
    replan: int = 3

    def __post_init__(self) -> None:
        if min(self.candidates, self.rounds, self.elite, self.horizon, self.hold, self.replan) < 1:
            raise ValueError(f"a planner's numbers must be at least 1, got {self}")
        if self.elite > self.candidates or self.replan > self.horizon:
            raise ValueError(f"elite is at most candidates and replan at most horizon, got {self}")


class Planner:
    """Chooses actions by the reward of the futures that it dreams. All candidates share the world's noise.

    Args:
        world: dreams.
        sample: draws an action vector (A,), for the first round.
        seed: of the candidates.
        judge: gives the reward; default: the world's own.
        config: how far and how broadly it looks.
    """

    name = "planner"

    def __init__(
        self,
        world: WorldModel,
        sample: Callable[[np.random.Generator], Actions],
        *,
        seed: int = 0,
        judge: RewardFunction | None = None,
        config: PlannerConfig | None = None,
    ):
        self.world, self.judge, self.config = world, judge, config or PlannerConfig()
        self._sample, self._rng = sample, np.random.default_rng(seed)
        self._exclusive = not world.spec.camera and bool({"noop", "nop"} & {key.lower() for key in world.spec.keys})
        self._plan: list[Actions] = []

    def choose(self, state: WorldState, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        """The next ``count`` actions of the plan (count, A); plans anew when it has been played."""
        if len(self._plan) < count:
            best, _ = self.plan(state)
            self._plan = list(best[: self.config.replan * self.world.chunk])
        chosen, self._plan = self._plan[:count], self._plan[count:]
        return np.stack(chosen)

    def plan(self, state: WorldState) -> tuple[Actions, float]:
        """The best sequence of actions (frames of the horizon, A) that was tried, and the reward it dreamed of."""
        segments = -(-self.config.horizon // self.config.hold)
        drawn = np.stack(
            [np.stack([self._sample(self._rng) for _ in range(segments)]) for _ in range(self.config.candidates)]
        )
        # Every second one keeps to its first action: going far takes going on.
        drawn[::2] = drawn[::2, :1]
        best, most = drawn[0], -np.inf
        for _ in range(self.config.rounds):
            scores = self.score(state, drawn)
            order = np.argsort(-scores, kind="stable")
            if scores[order[0]] > most:
                best, most = drawn[order[0]], float(scores[order[0]])
            drawn = self._around(drawn[order[: self.config.elite]])
        return self._frames(best[None])[0], most

    def score(self, state: WorldState, plans_PSA: Actions) -> NDArray[np.float64]:
        """What each plan earns within the horizon, (P,): rewards after an episode's end do not count."""
        frames = self._frames(plans_PSA)
        rows = state.select([0] * len(plans_PSA))
        earned, alive = np.zeros(len(plans_PSA)), np.ones(len(plans_PSA), np.bool_)
        for at in range(0, frames.shape[1], self.world.chunk):
            actions = frames[:, at : at + self.world.chunk]
            before = None if self.judge is None else self.judge.facts(rows)
            rows, out = self.world.step(rows, actions, inplace=True)
            rewards, ends = (
                (out.reward, np.zeros(len(earned), np.bool_))
                if self.judge is None
                else self.judge.judge(before, rows, out, actions)
            )
            earned += np.where(alive, rewards, 0.0)
            alive &= ~(ends | out.terminated)
        return earned

    def _frames(self, plans_PSA: Actions) -> Actions:
        """Every segment held: (P, frames of the horizon, A)."""
        held = np.repeat(plans_PSA, self.config.hold * self.world.chunk, axis=1)
        return held[:, : self.config.horizon * self.world.chunk]

    def _around(self, elite_ESA: Actions) -> Actions:
        """New candidates from what the elite has in common; the best of it stays."""
        keys = len(self.world.spec.keys)
        shape = (self.config.candidates, elite_ESA.shape[1])
        chance = elite_ESA[..., :keys].mean(0).clip(LEAST_CHANCE, 1 - LEAST_CHANCE)
        drawn = np.zeros((*shape, self.world.spec.size), np.float32)
        if self._exclusive:
            levels = (chance / chance.sum(-1, keepdims=True)).cumsum(-1)
            picked = (self._rng.random((*shape, 1)) > levels).sum(-1).clip(0, keys - 1)
            np.put_along_axis(drawn, picked[..., None], 1.0, -1)
        else:
            drawn[..., :keys] = self._rng.random((*shape, keys)) < chance
            # Keys that nobody in the elite presses (menus among them) stay up.
            drawn[..., :keys] *= elite_ESA[..., :keys].any((0, 1))
        if self.world.spec.camera:
            mouse = elite_ESA[..., keys:]
            spread = np.maximum(mouse.std(0), LEAST_DEGREES)
            drawn[..., keys:] = mouse.mean(0) + spread * self._rng.normal(size=(*shape, 2))
        drawn[0] = elite_ESA[0]
        return drawn
