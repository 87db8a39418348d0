"""Many learned worlds side by side as one Gymnasium vector environment: one forward pass steps all rows.

N environments, r video frames per chunk, H W pixels, A action vector.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from worldsim.datasets.starts import StartClips
from worldsim.envs.action_spaces import make_actions
from worldsim.envs.beginnings import Beginning, choose, last_frames, prefill, resolve
from worldsim.envs.tasks import DreamTask, TaskLike
from worldsim.envs.world_env import TERMINATION_THRESHOLD, frame_space
from worldsim.errors import UserError
from worldsim.state import WorldState
from worldsim.world import WorldModel


class WorldSimVectorEnv(VectorEnv[NDArray[np.uint8], Any, NDArray[Any]]):
    """N rows of one learned world; each row behaves as its own ``WorldSimEnv`` does.

    ``reset(seed=s)`` gives row i what ``WorldSimEnv.reset(seed=s + i)`` would get. ``infos["frames"]`` is uint8
    (N, r, H, W, 3), ``infos["pose"]`` float32 (N, 5).

    Args:
        num_envs: number of rows N.
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes, as for ``WorldSimEnv``.
        render_mode: "rgb_array" or None.
        action_space: "multidiscrete", or "minerl" for MineRL's Dict.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate a row after so many steps.
        autoreset_mode: when a row that ended begins anew: at the next step, whose action it ignores; in the same
            step, with the last observation in ``infos["final_obs"]``; or only by ``reset``.
    """

    def __init__(
        self,
        num_envs: int = 1,
        world: str | os.PathLike[str] | WorldModel = "minecraft",
        *,
        task: TaskLike = None,
        render_mode: str | None = None,
        action_space: str = "multidiscrete",
        starts: str | os.PathLike[str] | StartClips | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ):
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, got {num_envs}")
        if render_mode not in (None, "rgb_array"):
            raise UserError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.num_envs = num_envs
        self.world, self.starts = resolve(world, starts)
        self.task = DreamTask(self.world, task)
        self.render_mode, self.max_episode_steps = render_mode, max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        fps = self.world.config.fps / self.world.chunk
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "autoreset_mode": self.autoreset_mode}
        self.actions = make_actions(self.world.spec, action_space)
        self.single_action_space = self.actions.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = frame_space(self.world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._state: WorldState | None = None
        shape = (num_envs, self.world.chunk, self.world.config.height, self.world.config.width, 3)
        self._frames = np.zeros(shape, np.uint8)
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._elapsed = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode in every row, or in those of ``options["reset_mask"]`` (bool (N,)).

        Args:
            seed: one number s for s, s + 1, ...; or one (or None) per row; None goes on with each row's generator.
            options: as for ``WorldSimEnv.reset``, the same for all rows.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UserError(f"reset_mask must be bool ({self.num_envs},) with at least one True, got {mask!r}")
        if self._state is None and not mask.all():
            raise ResetNeeded("there is no episode yet: reset all rows first")
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise UserError(f"{len(seeds)} seeds for {self.num_envs} environments")
        rows = np.flatnonzero(mask)
        for row in rows:
            if seeds[row] is not None or self._generators[row] is None:
                self._generators[row] = seeding.np_random(seeds[row])[0]
        infos = self._begin(rows, options)
        return self._frames[:, -1].copy(), infos

    def step(
        self, actions: Any
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Generate every row's next chunk.

        Raises:
            ResetNeeded: there was no reset; or, with autoreset disabled, a row is over.
            UserError: the actions are not in the action space.
        """
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        renewed = self._ended.copy()
        if renewed.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"rows {np.flatnonzero(renewed).tolist()} are over: reset them with options['reset_mask']"
            )
        if renewed.all():
            infos = self._begin(np.flatnonzero(renewed), {})
            nothing = np.zeros(self.num_envs, np.bool_)
            return self._frames[:, -1].copy(), np.zeros(self.num_envs), nothing, nothing.copy(), infos
        vectors = self.actions.vectors(actions)
        if len(vectors) != self.num_envs:
            raise UserError(f"{len(vectors)} actions for {self.num_envs} environments")
        held = np.repeat(vectors[:, None], self.world.chunk, axis=1)
        before = self.task.facts(self._state)
        self._state, out = self.world.step(self._state, held, donate=True)
        self._frames = out.frames
        self._elapsed += 1
        judged, ends = self.task.judge(before, self._state, out, held)
        rewards, terminations = judged.astype(np.float64), ends | (out.termination > TERMINATION_THRESHOLD)
        truncations = np.zeros(self.num_envs, np.bool_)
        if self.max_episode_steps is not None:
            truncations = self._elapsed >= self.max_episode_steps
        # Rows that ended at the last step begin anew in this one: what was just generated for them is not shown.
        rewards[renewed], terminations[renewed], truncations[renewed] = 0.0, False, False
        self._ended = terminations | truncations
        infos = self._infos()
        if renewed.any():
            infos |= self._begin(np.flatnonzero(renewed), {})
        if self._ended.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._finals(infos) | self._begin(np.flatnonzero(self._ended), {})
        return self._frames[:, -1].copy(), rewards, terminations, truncations, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The last frame of each row in mode "rgb_array"."""
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return tuple(self._frames[:, -1].copy()) if self.render_mode == "rgb_array" else None

    def _begin(self, rows: NDArray[np.integer], options: dict[str, Any]) -> dict[str, Any]:
        """Start episodes in the given rows; returns infos of all."""
        beginnings: list[Beginning] = []
        for row in rows:
            generator = self._generators[row]
            assert generator is not None
            beginnings.append(choose(self.world, self.starts, generator, options))
        fresh = prefill(self.world, beginnings)
        if len(rows) == self.num_envs or self._state is None:
            self._state = fresh
        else:
            order = np.arange(self.num_envs)
            order[rows] = self.num_envs + np.arange(len(rows))
            self._state = WorldState.concatenate([self._state, fresh]).select(order.tolist())
        for row, beginning in zip(rows, beginnings, strict=True):
            self._frames[row] = last_frames(beginning, self.world.chunk)
        self._elapsed[rows], self._ended[rows] = 0, False
        starts, given = np.full(self.num_envs, -1), np.zeros(self.num_envs, np.bool_)
        starts[rows], given[rows] = [b.start for b in beginnings], True
        return self._infos() | {"start": starts, "_start": given}

    def _infos(self) -> dict[str, Any]:
        assert self._state is not None
        everywhere = np.ones(self.num_envs, np.bool_)
        pose = self._state.pose.numpy().copy()
        return {"frames": self._frames.copy(), "_frames": everywhere, "pose": pose, "_pose": everywhere.copy()}

    def _finals(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Add what the rows that ended showed last, in Gymnasium's form."""
        observations = np.full(self.num_envs, None, object)
        for row in np.flatnonzero(self._ended):
            observations[row] = self._frames[row, -1].copy()
        final = {name: value.copy() for name, value in infos.items() if not name.startswith("_")}
        final |= {f"_{name}": self._ended.copy() for name in final}
        ended = self._ended.copy()
        return infos | {
            "final_obs": observations,
            "_final_obs": ended,
            "final_info": final,
            "_final_info": ended.copy(),
        }
