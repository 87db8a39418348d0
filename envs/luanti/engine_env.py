"""The real game as an environment like the learned world: the same pictures, actions, chunks and tasks.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.loading.task_facts import FactsFollower
from worldsim.envs.learned.action_spaces import Meanings, make_actions, single
from worldsim.envs.learned.tasks import FactRewardFunction, TaskLike
from worldsim.envs.luanti.env import LuantiEnv, map_changed
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, hold

FPS = 20
# Time of day of an episode, unless the options tell it: bright, as in the learned world's start clips.
DAY = (0.3, 0.7)


class EngineEnv(gymnasium.Env[NDArray[np.uint8], Any]):
    """Luanti behind the interface of ``WorldSimEnv``: what was learned in the dream is tried, or learned, here.

    An action is held for all r frames of a step. ``info`` holds ``frames`` and ``pose`` as the learned world's does,
    and what the engine tells about the last frame (see ``LuantiEnv.step``). Rewards and ends come from the engine's own
    record. Options of ``reset`` are those of ``LuantiEnv``. After an episode that dug or placed blocks, the next one
    plays a new copy of the map, which takes some seconds: a seed begins alike whatever was played before.

    Args:
        task: a name of ``worldsim.spec.tasks``, or a function of ``StepInformation`` (or ``package.module:function``);
            default: explore.
        maps: map seeds to draw from at each reset; another map than the last one takes some seconds.
        mapgen: how maps are made.
        action_space: "multidiscrete", "minerl" for MineRL's Dict, "discrete" for games of keys alone; None: what suits.
        chunk: frames per step, r.
        render_mode: "rgb_array" or None.
        max_episode_steps: truncate after so many steps; ``gymnasium.make`` has its own limit and leaves this None.
        game: an engine to play instead, one frame a step, that takes MINECRAFT's action vectors.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS / 2}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        *,
        task: TaskLike = "explore",
        maps: Sequence[int] = (1,),
        mapgen: str = "v7",
        action_space: str | None = None,
        chunk: int = 2,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        game: gymnasium.Env[Any, Any] | None = None,
    ):
        if render_mode not in (None, "rgb_array"):
            raise UserError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if chunk < 1 or not len(maps):
            raise UserError(f"chunk must be at least 1 and maps not empty, got {chunk} and {list(maps)}")
        if isinstance(task, str) and task.startswith("goal:"):
            raise UserError("a text goal is scored by the learned world alone: the engine has no truth about it")
        self.fact_rewards = FactRewardFunction(task or "explore", chunk / FPS)
        self.maps, self.mapgen, self.chunk, self.render_mode = tuple(maps), mapgen, chunk, render_mode
        self.metadata = self.metadata | {"render_fps": FPS / chunk}
        self.max_episode_steps = max_episode_steps
        self.actions = make_actions(MINECRAFT, action_space)
        self.action_space = self.actions.space
        self.observation_space = spaces.Box(0, 255, (80, 144, 3), np.uint8)
        self._game = game or LuantiEnv(map_seed=self.maps[0], mapgen=mapgen, fps=FPS)
        self._follower: FactsFollower | None = None
        self._start: Mapping[str, Any] = {}
        self._frame = np.zeros((80, 144, 3), np.uint8)
        self._elapsed, self._ended, self._changed = 0, False, False

    @property
    def action_meanings(self) -> Meanings:
        """What each number of an action stands for, in the form of the action space."""
        return self.actions.meanings

    @property
    def noop_action(self) -> Any:
        """The action that does nothing: no key is pressed and the camera rests."""
        return self.actions.noop()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode: the seed decides map, place, direction and time of day."""
        super().reset(seed=seed)
        rng = self.np_random
        chosen = {"map_seed": int(rng.choice(self.maps)), "mapgen": self.mapgen, "time_of_day": rng.uniform(*DAY)}
        chosen["fresh"] = self._changed
        begun = int(rng.integers(2**31))
        self._frame, info = self._game.reset(seed=begun, options=chosen | dict(options or {}))
        self._changed = False
        self._follower, self._start = FactsFollower(info), info
        self._elapsed, self._ended = 0, False
        frames = np.repeat(self._frame[None], self.chunk, 0)
        return self._frame.copy(), self._info(info, frames)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play r frames under ``action``.

        Raises:
            ResetNeeded: there was no reset, or the episode is over.
            UserError: the action is not in the action space.
        """
        if self._follower is None or self._ended:
            raise ResetNeeded("there is no episode, or it is over: call reset() before step()")
        vector = self.actions.vectors(single(action))[0]
        frames, infos = [], []
        for _ in range(self.chunk):
            self._frame, *_, info = self._game.step(vector)
            frames.append(self._frame)
            infos.append(info)
            self._changed = self._changed or map_changed(info)
        before, after = self._follower.facts, self._follower.advance(infos)
        reported = self._info(infos[-1], np.stack(frames))
        held = hold(vector[None], self.chunk)
        rewards, ends = self.fact_rewards.judge(before, after, reported["frames"][None], held, reported["pose"][None])
        self._elapsed += 1
        truncated = self.max_episode_steps is not None and self._elapsed >= self.max_episode_steps
        self._ended = bool(ends[0]) or truncated
        return self._frame.copy(), float(rewards[0]), bool(ends[0]), truncated, reported

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The last frame, uint8 (H, W, 3), in mode "rgb_array"."""
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """End the game."""
        self._game.close()

    def _info(self, info: Mapping[str, Any], frames: NDArray[np.uint8]) -> dict[str, Any]:
        return {**info, "frames": frames, "pose": relative_pose(self._start, info)}


def relative_pose(start: Mapping[str, Any], now: Mapping[str, Any]) -> NDArray[np.float32]:
    """x (to the right), y, z (ahead) in metres and yaw, pitch in degrees, as seen from the start; float32 (5,)."""
    dx, dy, dz = np.asarray(now["position"], np.float64) - np.asarray(start["position"], np.float64)
    heading = np.deg2rad(start["yaw"])
    turned = (now["yaw"] - start["yaw"] + 180) % 360 - 180
    right, ahead = dx * np.cos(heading) - dz * np.sin(heading), dx * np.sin(heading) + dz * np.cos(heading)
    return np.array([right, dy, ahead, turned, now["pitch"] - start["pitch"]], np.float32)
