"""Many learned worlds side by side as one Gymnasium vector environment: one forward pass steps all rows.

N environments, r video frames per chunk, H W pixels, A action vector.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.episodes import WorldEpisodes, check_render_mode, frame_space
from worldsim.envs.learned.initial_context import checked_options
from worldsim.envs.learned.snapshot import Snapshot, generator_at
from worldsim.envs.learned.tasks import TaskLike
from worldsim.errors import UserError
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel


class WorldSimVectorEnv(WorldEpisodes, VectorEnv[NDArray[np.uint8], Any, NDArray[Any]]):
    """N rows of one learned world; each row behaves as its own ``WorldSimEnv`` does.

    ``reset(seed=s)`` gives row i what ``WorldSimEnv.reset(seed=s + i)`` would get. ``infos["frames"]`` is uint8
    (N, r, H, W, 3), ``infos["pose"]`` float32 (N, 5), ``infos["trust"]`` float32 (N,).

    Args:
        num_envs: number of rows N.
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes, as for ``WorldSimEnv``.
        render_mode: "rgb_array" or None.
        action_space: "multidiscrete", "minerl" for MineRL's Dict, "discrete" for games of keys alone; None: what suits.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate a row after so many steps.
        min_trust: truncate a row whose ``infos["trust"]`` falls below this.
        device: "cpu" or "cuda"; None: the CPU, or where a loaded model is. Observations are NumPy arrays all the same.
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
        action_space: str | None = None,
        starts: str | os.PathLike[str] | StartClips | None = None,
        max_episode_steps: int | None = None,
        min_trust: float | None = None,
        device: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ):
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, got {num_envs}")
        self.render_mode = check_render_mode(render_mode, ["rgb_array"])
        super().__init__(
            world, num_envs, task=task, action_space=action_space, starts=starts, max_episode_steps=max_episode_steps,
            min_trust=min_trust, device=device,
        )  # fmt: skip
        self.num_envs = num_envs
        self._task, self._action_space_name = task, action_space
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        fps = self.world.config.fps / self.world.chunk
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = self.actions.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = frame_space(self.world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators: list[np.random.Generator | None] = [None] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode in every row, or in those of ``options["reset_mask"]`` (bool (N,)).

        Args:
            seed: one number s for s, s + 1, ...; or one (or None) per row; None goes on with each row's generator.
            options: as for ``WorldSimEnv.reset``, the same for all rows.
        """
        options = checked_options(options)
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UserError(f"reset_mask must be bool ({self.num_envs},) with at least one True, got {mask!r}")
        if self._state is None and not mask.all():
            raise ResetNeeded("there is no episode yet: reset all rows first")
        rows = np.flatnonzero(mask)
        self._seed(rows, seed)
        infos = self._begin_rows(rows, [options] * len(rows))
        return self._frames[:, -1].copy(), infos

    def reset_rows(self, seeds: Sequence[int | None], options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """As ``reset``, but with options of its own for every row; returns the infos."""
        if len(options) != self.num_envs:
            raise UserError(f"{len(options)} sets of options for {self.num_envs} environments")
        rows = np.arange(self.num_envs)
        self._seed(rows, seeds)
        return self._begin_rows(rows, options)

    def step(
        self, actions: Any
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Generate every row's next chunk.

        Raises:
            ResetNeeded: there was no reset; or, with autoreset disabled, a row is over.
            UserError: the actions are not in the action space.
        """
        self.current()
        renewed = self._ended.copy()
        if renewed.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"rows {np.flatnonzero(renewed).tolist()} are over: reset them with options['reset_mask']"
            )
        if renewed.all():
            infos = self._begin_rows(np.flatnonzero(renewed))
            nothing = np.zeros(self.num_envs, np.bool_)
            return self._frames[:, -1].copy(), np.zeros(self.num_envs), nothing, nothing.copy(), infos
        vectors = self.actions.vectors(actions)
        if len(vectors) != self.num_envs:
            raise UserError(f"{len(vectors)} actions for {self.num_envs} environments")
        judged, terminations, truncations = self._advance(vectors, ~renewed)
        rewards = judged.astype(np.float64)
        # Rows that ended at the last step begin anew in this one: what was just generated for them is not shown.
        rewards[renewed], terminations[renewed], truncations[renewed] = 0.0, False, False
        self._ended = terminations | truncations
        infos = self._infos()
        if renewed.any():
            infos |= self._begin_rows(np.flatnonzero(renewed))
        if self._ended.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._finals(infos) | self._begin_rows(np.flatnonzero(self._ended))
        return self._frames[:, -1].copy(), rewards, terminations, truncations, infos

    def observations(self) -> NDArray[np.uint8]:
        """What the rows show now, uint8 (N, H, W, 3)."""
        self.current()
        return self._frames[:, -1].copy()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The last frame of each row in mode "rgb_array"."""
        self.current()
        return tuple(self._frames[:, -1].copy()) if self.render_mode == "rgb_array" else None

    def snapshot(self, row: int) -> Snapshot:
        """The present moment of one row, to be restored in any row here or in a ``WorldSimEnv`` of the same world.

        Raises:
            IndexError: there is no such row.
        """
        return self.snapshots([row])[0]

    def snapshots(self, rows: Sequence[int] | None = None) -> list[Snapshot]:
        """The present moment of the given rows, in order.

        Of all rows (None), they share this environment's memory until it goes on; of some, they are copies, for
        otherwise one row would keep the memory of all.
        """
        state = self.current()
        self._alone = self._alone and rows is not None
        if rows is None:
            return [self._moment(row, state.share([row]), self._generator(row)) for row in range(self.num_envs)]
        return [self._moment(row, state.select([row]), self._generator(row)) for row in rows]

    def restore(
        self, snapshots: Snapshot | Sequence[Snapshot], rows: Sequence[int] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Put moments into rows (None: all); one moment given alone goes into each of them, which forks it.

        Forked into all rows, one moment is shared until the next step.

        Returns:
            Observations and infos of all rows.

        Raises:
            UserError: a snapshot of another world or a damaged one, or not one for each row; nothing is changed then.
            ResetNeeded: some rows have no episode yet and get none.
        """
        rows = list(range(self.num_envs)) if rows is None else list(rows)
        moments = [snapshots] * len(rows) if isinstance(snapshots, Snapshot) else list(snapshots)
        if len(moments) != len(rows) or len(set(rows)) != len(rows) or not set(rows) <= set(range(self.num_envs)):
            raise UserError(f"{len(moments)} snapshots for rows {rows} of {self.num_envs}")
        self._check_moments(moments)
        if self._state is None and len(rows) < self.num_envs:
            raise ResetNeeded("there is no episode yet: give every row a moment, or reset first")
        generators = [generator_at(moment.rng) for moment in moments]
        states = [moment.state.to(self.world.device) for moment in moments]
        if isinstance(snapshots, Snapshot):
            fresh, alone = states[0].share([0] * len(rows)), False
        else:
            fresh, alone = WorldState.concatenate(states), True
        self._put(np.array(rows), fresh, alone)
        for row, moment, generator in zip(rows, moments, generators, strict=True):
            self._show_moment(row, moment)
            self._generators[row] = generator
        return self._frames[:, -1].copy(), self._infos()

    def fork(self, n: int) -> "WorldSimVectorEnv":
        """An environment with each row n times, copies of a row beside each other; weights are shared.

        Raises:
            UserError: n is below 1.
        """
        if n < 1:
            raise UserError(f"a fork makes at least 1 environment of each, got {n}")
        twin = self._twin(self.num_envs * n)
        moments = self.snapshots()
        if len(moments) == 1:
            twin.restore(moments[0])
        else:
            twin.restore([moment for moment in moments for _ in range(n)])
        return twin

    def _twin(self, num_envs: int) -> "WorldSimVectorEnv":
        return WorldSimVectorEnv(
            num_envs, self.world, task=self._task, render_mode=self.render_mode, action_space=self._action_space_name,
            starts=self.starts, max_episode_steps=self.max_episode_steps, min_trust=self.min_trust,
            autoreset_mode=self.autoreset_mode,
        )  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> "WorldSimVectorEnv":
        """A twin with episodes of its own; what never changes (weights, start clips, task) is shared."""
        twin = self._twin(self.num_envs)
        if self._state is not None:
            twin.restore(self.snapshots())
        memo[id(self)] = twin
        return twin

    def _seed(self, rows: NDArray[np.integer], seed: int | Sequence[int | None] | None) -> None:
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            try:
                seeds = list(seed)
            except TypeError as error:
                raise UserError(f"seed must be a whole number, or one for each row, got {seed!r:.60}") from error
        if len(seeds) != self.num_envs:
            raise UserError(f"{len(seeds)} seeds for {self.num_envs} environments")
        for row in rows:
            if seeds[row] is not None or self._generators[row] is None:
                self._generators[row] = seeding.np_random(seeds[row])[0]

    def _generator(self, row: int) -> np.random.Generator:
        generator = self._generators[row]
        assert generator is not None
        return generator

    def _begin_rows(
        self, rows: NDArray[np.integer], options: Sequence[Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Start episodes in the given rows; returns infos of all."""
        self._begin(rows, [self._generator(row) for row in rows], options or [{}] * len(rows))
        given = np.zeros(self.num_envs, np.bool_)
        given[rows] = True
        return self._infos() | {"start": np.where(given, self._starts, -1), "_start": given}

    def _infos(self) -> dict[str, Any]:
        infos = self._row_infos()
        return infos | {f"_{name}": np.ones(self.num_envs, np.bool_) for name in infos}

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
