"""A learned world as stable-baselines3's own kind of vector environment: one forward pass steps all rows.

N environments, H W pixels. Needs the extra ``worldsim[rl]``.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import numbers_of
from worldsim.envs.learned.episodes import row_of
from worldsim.envs.learned.tasks import TaskLike
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.envs.registration import MAX_EPISODE_STEPS
from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel


class WorldSimVecEnv(VecEnv):
    """N rows of one learned world, for ``PPO("CnnPolicy", WorldSimVecEnv(16))``.

    A row that ends begins anew in the same step, as stable-baselines3 wants it: its ``infos[i]`` has
    ``terminal_observation``, and ``reset_infos[i]`` what belongs to the new beginning. ``infos[i]`` are otherwise those
    of ``WorldSimEnv.step``, with ``TimeLimit.truncated`` where an episode was cut rather than over.

    Args:
        num_envs: number of rows N.
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes, as for ``WorldSimEnv``.
        render_mode: "rgb_array" or None.
        action_space: "multidiscrete" or "discrete" (games of keys alone); None: what suits the game.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate a row after so many steps; None never does.
        min_trust: truncate a row whose trust falls below this.
        device: "cpu" or "cuda"; None: the CPU, or where a loaded model is. Observations are NumPy arrays all the same.
    """

    def __init__(
        self,
        num_envs: int,
        world: str | os.PathLike[str] | WorldModel = "minecraft",
        *,
        task: TaskLike = None,
        render_mode: str | None = None,
        action_space: str | None = None,
        starts: str | os.PathLike[str] | StartClips | None = None,
        max_episode_steps: int | None = MAX_EPISODE_STEPS,
        min_trust: float | None = None,
        device: str | None = None,
    ):
        self.envs = WorldSimVectorEnv(
            num_envs, world, task=task, render_mode=render_mode, action_space=action_space, starts=starts,
            max_episode_steps=max_episode_steps, min_trust=min_trust, device=device,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )  # fmt: skip
        self._actions: NDArray[Any] | None = None
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)
        self.metadata = self.envs.metadata

    def reset(self) -> NDArray[np.uint8]:
        """Begin an episode in every row, with the seeds and options set by ``seed`` and ``set_options``."""
        infos = self.envs.reset_rows(self._seeds, self._options)
        self.reset_infos = rows_of(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return self.envs.observations()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (N, choices) for ``step_wait``."""
        self._actions = numbers_of(actions)

    def step_wait(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Generate every row's next chunk."""
        if self._actions is None:
            raise UserError("there are no actions yet: call step_async() before step_wait()")
        observations, rewards, terminations, truncations, reported = self.envs.step(self._actions)
        self._actions = None
        dones = terminations | truncations
        infos = rows_of(reported, self.num_envs)
        # What was told of the beginning that follows an end belongs to ``reset_infos``.
        finals = rows_of(reported["final_info"], self.num_envs) if dones.any() else infos
        for row in range(self.num_envs):
            if dones[row]:
                begun = {name: value for name, value in infos[row].items() if not name.startswith("final_")}
                self.reset_infos[row] = begun
                infos[row] = finals[row] | {"terminal_observation": reported["final_obs"][row]}
            infos[row]["TimeLimit.truncated"] = bool(truncations[row] and not terminations[row])
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Nothing to close: weights are shared by the process."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The last frame of each row, uint8 (H, W, 3), in mode "rgb_array"."""
        return self.envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """An attribute of the rows, which they have in common."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Set an attribute of all rows.

        Raises:
            UserError: of some rows only: they are one environment.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise UserError(f"the rows are one environment: set {attr_name!r} for all of them")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """``snapshot()``, ``restore(moment)`` or ``render()`` of single rows.

        Raises:
            AttributeError: any other method: the rows are one environment.
        """
        rows = list(self._get_indices(indices))
        if method_name == "snapshot":
            return [self.envs.snapshot(row, *method_args, **method_kwargs) for row in rows]
        if method_name == "render":
            return [self.get_images()[row] for row in rows]
        if method_name == "restore":
            return [self._restore(row, *method_args, **method_kwargs) for row in rows]
        raise AttributeError(f"rows have the methods snapshot, restore and render, not {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type, indices: int | Iterable[int] | None = None) -> list[bool]:
        """Rows have no wrappers of their own; wrap the whole in ``VecMonitor`` and the like."""
        return [False for _ in self._get_indices(indices)]

    def _restore(self, row: int, moment: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        observations, infos = self.envs.restore([moment], [row])
        return observations[row], rows_of(infos, self.num_envs)[row]


def rows_of(infos: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    """Gymnasium's infos of N rows as one dictionary a row."""
    apart: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name, values in infos.items():
        present = infos.get(f"_{name}")
        if name.startswith("_") or present is None or name == "final_info":
            continue
        for row in np.flatnonzero(present):
            apart[row][name] = row_of(values, row)
    return apart
