"""What every environment in a learned world has: the world, its state, one step of it, and when episodes end.

B rows, r video frames per chunk, A action vector.
"""

import os
from typing import NamedTuple

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import make_actions
from worldsim.envs.learned.initial_context import resolve
from worldsim.envs.learned.tasks import TaskLike, WorldRewardFunction
from worldsim.errors import UserError
from worldsim.simulation.branching import TERMINATION_THRESHOLD
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel


class Outcome(NamedTuple):
    """A step of all rows: frames uint8 (B, r, H, W, 3), and rewards, terminations and truncations (B,)."""

    frames: NDArray[np.uint8]
    rewards: NDArray[np.float32]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]


class RunningWorld:
    """Opens a world for an environment, and steps it; the environments' spaces and episodes are their own.

    Args:
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes.
        action_space: name of the form of actions, or None for what suits.
        starts: folder of start clips, or loaded ones; None: those beside the checkpoint.
        max_episode_steps: truncate after so many steps.
        min_trust: truncate when the trust falls below this.

    Raises:
        UserError: a setting makes no sense in this world.
    """

    def _open(
        self,
        world: str | os.PathLike[str] | WorldModel,
        task: TaskLike,
        action_space: str | None,
        starts: str | os.PathLike[str] | StartClips | None,
        max_episode_steps: int | None,
        min_trust: float | None,
    ) -> None:
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.world, self.starts = resolve(world, starts)
        self.min_trust = check_min_trust(self.world, min_trust)
        self.task = WorldRewardFunction(self.world, task)
        self.max_episode_steps = max_episode_steps
        self.actions = make_actions(self.world.spec, action_space)
        self._state: WorldState | None = None
        # Whether no snapshot and no fork looks at the state's memory: then a step may reuse it.
        self._alone = True

    def current(self) -> WorldState:
        """The state of the running episode, to look at: stepping it is this environment's business.

        Raises:
            ResetNeeded: there is no episode yet.
        """
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._state

    def _advance(
        self, vectors: NDArray[np.float32], elapsed: NDArray[np.int64], rows: NDArray[np.bool_] | None = None
    ) -> Outcome:
        """Generate the next chunk of every row under actions (B, A), each held for the whole chunk.

        Args:
            vectors: of the actions.
            elapsed: steps (B,) that the episodes have taken with this one.
            rows: those (bool (B,)) that the task judges; None: all.
        """
        state = self.current()
        held = np.repeat(vectors[:, None], self.world.chunk, axis=1)
        before = self.task.facts(state)
        self._state, out = self.world.step(state, held, inplace=self._alone)
        self._alone = True
        rewards, ends = self.task.judge(before, self._state, out, held, rows)
        truncations = np.zeros(len(vectors), np.bool_)
        if self.max_episode_steps is not None:
            truncations = elapsed >= self.max_episode_steps
        if self.min_trust is not None:
            truncations = truncations | (out.trust < self.min_trust)
        return Outcome(out.frames, rewards, ends | (out.termination > TERMINATION_THRESHOLD), truncations)


def check_min_trust(world: WorldModel, min_trust: float | None) -> float | None:
    """Whether episodes of a world can end by trust.

    Raises:
        UserError: not between 0 and 1, or the world was not calibrated.
    """
    if min_trust is not None and not 0 <= min_trust <= 1:
        raise UserError(f"min_trust must be between 0 and 1, got {min_trust}")
    if min_trust is not None and world.trust is None:
        raise UserError(
            "this world was not calibrated, so min_trust means nothing in it: worldsim train trust does that"
        )
    return min_trust
