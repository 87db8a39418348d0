"""Running episodes in rows of one learned world: what the single and the vector environment have in common.

B rows, r video frames per chunk, H W pixels, A action vector.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import Meanings, make_actions
from worldsim.envs.learned.initial_context import choose, last_frames, prefill, resolve
from worldsim.envs.learned.snapshot import Snapshot, check_fits, fingerprint, plain
from worldsim.envs.learned.tasks import TaskLike
from worldsim.envs.learned.world_rewards import WorldRewardFunction
from worldsim.errors import UserError
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import hold

Flags = NDArray[np.bool_]


class WorldEpisodes:
    """Base of the environments: settings, the rows' state, and the steps that both kinds take alike.

    Args:
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        rows: number of rows B.
        task: gives reward and ends episodes.
        action_space: name of the action space, or None for what suits the game.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate after so many steps, or None.
        min_trust: truncate when trust falls below this, or None.
        device: that the world computes on, or None.

    Raises:
        UserError: a setting is wrong, or does not fit the world.
    """

    def __init__(
        self,
        world: str | os.PathLike[str] | WorldModel,
        rows: int,
        *,
        task: TaskLike,
        action_space: str | None,
        starts: str | os.PathLike[str] | StartClips | None,
        max_episode_steps: int | None,
        min_trust: float | None,
        device: str | None,
    ):
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.world, self.starts = resolve(world, starts, device)
        self.min_trust, self.max_episode_steps = check_min_trust(self.world, min_trust), max_episode_steps
        self.task = WorldRewardFunction(self.world, task)
        self.actions = make_actions(self.world.spec, action_space)
        self._state: WorldState | None = None
        # Whether no snapshot and no fork looks at the state's memory: then a step may reuse it.
        self._alone = True
        shape = (rows, self.world.chunk, self.world.config.height, self.world.config.width, 3)
        self._frames = np.zeros(shape, np.uint8)
        self._elapsed = np.zeros(rows, np.int64)
        self._ended = np.zeros(rows, np.bool_)
        self._starts = np.full(rows, -1)

    @property
    def action_meanings(self) -> Meanings:
        """What each number of an action stands for, in the form of the (single) action space."""
        return self.actions.meanings

    @property
    def noop_action(self) -> Any:
        """The action that does nothing: no key is pressed and the camera rests."""
        return self.actions.noop()

    def current(self) -> WorldState:
        """The state of the running episodes, to look at: stepping it is this environment's business.

        Raises:
            ResetNeeded: there is no episode yet.
        """
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._state

    def _begin(
        self,
        rows: NDArray[np.integer],
        generators: Sequence[np.random.Generator],
        options: Sequence[Mapping[str, Any] | None],
    ) -> None:
        """Start episodes in the given rows; their generators draw the start clips and the noise."""
        drawn = zip(generators, options, strict=True)
        contexts = [choose(self.world, self.starts, generator, option) for generator, option in drawn]
        self._put(rows, prefill(self.world, contexts), alone=True)
        for row, context in zip(rows, contexts, strict=True):
            self._frames[row] = last_frames(context, self.world.chunk)
        self._elapsed[rows], self._ended[rows] = 0, False
        self._starts[rows] = [context.start for context in contexts]

    def _put(self, rows: NDArray[np.integer], fresh: WorldState, alone: bool) -> None:
        """Make ``fresh`` the state of the given rows; ``alone``: nothing else looks at its memory."""
        count = len(self._elapsed)
        if len(rows) == count:
            order = np.argsort(rows).tolist()
            self._state, self._alone = (fresh, alone) if order == sorted(order) else (fresh.select(order), True)
            return
        order = np.arange(count)
        order[rows] = count + np.arange(len(rows))
        self._state = WorldState.concatenate([self.current(), fresh]).select(order.tolist())
        self._alone = True

    def _advance(self, vectors: NDArray[np.float32], judged: Flags | None = None) -> tuple[NDArray[Any], Flags, Flags]:
        """Generate the next chunk under action vectors (B, A); a task's function judges ``judged`` rows alone.

        Returns:
            Rewards float32 (B,), terminations and truncations bool (B,).
        """
        state = self.current()
        held = hold(vectors, self.world.chunk)
        before = self.task.facts(state)
        self._state, out = self.world.step(state, held, inplace=self._alone)
        self._alone, self._frames = True, out.frames
        self._elapsed += 1
        rewards, ends = self.task.judge(before, self._state, out, held, judged)
        terminations, truncations = ends | out.terminated, np.zeros(len(held), np.bool_)
        if self.max_episode_steps is not None:
            truncations |= self._elapsed >= self.max_episode_steps
        if self.min_trust is not None:
            truncations |= out.trust < self.min_trust
        return rewards, terminations, truncations

    def _row_infos(self) -> dict[str, NDArray[Any]]:
        """What infos say about every row: frames uint8 (B, r, H, W, 3), pose (B, 5), trust (B,) if it is calibrated."""
        state = self.current()
        infos = {"frames": self._frames.copy(), "pose": state.pose.cpu().numpy().copy()}
        return infos if self.world.trust is None else infos | {"trust": state.trust.cpu().numpy().copy()}

    def _moment(self, row: int, state: WorldState, generator: np.random.Generator) -> Snapshot:
        """A snapshot of a row, whose state is ``state``."""
        return Snapshot(
            state=state,
            frames=self._frames[row].copy(),
            elapsed=int(self._elapsed[row]),
            ended=bool(self._ended[row]),
            start=int(self._starts[row]),
            rng=plain(generator.bit_generator.state),
            world=fingerprint(self.world, portable=True),
        )

    def _show_moment(self, row: int, moment: Snapshot) -> None:
        """Take over all of a snapshot but its state and its generator."""
        self._frames[row] = moment.frames
        self._elapsed[row], self._ended[row], self._starts[row] = moment.elapsed, moment.ended, moment.start

    def _check_moments(self, moments: Sequence[Snapshot]) -> None:
        for moment in moments:
            check_fits(moment, self.world)


def row_of(values: NDArray[Any], row: int | np.integer) -> Any:
    """One row's part of an info: an array, or a plain number."""
    value = values[row]
    return value.item() if isinstance(value, np.generic) else value


def frame_space(world: WorldModel) -> spaces.Box:
    """Observation space of one frame, uint8 (H, W, 3)."""
    return spaces.Box(0, 255, (world.config.height, world.config.width, 3), np.uint8)


def check_render_mode(render_mode: str | None, modes: Sequence[str]) -> str | None:
    """A render mode that an environment has, or None.

    Raises:
        UserError: it does not have it.
    """
    if render_mode is not None and render_mode not in modes:
        raise UserError(f"render_mode must be {', '.join(map(repr, modes))} or None, got {render_mode!r}")
    return render_mode


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
