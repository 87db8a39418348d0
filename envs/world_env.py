"""A learned world as a Gymnasium environment: one latent chunk per step.

r video frames per chunk, H W pixels, A action vector.
"""

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.starts import StartClips
from worldsim.envs.action_spaces import make_actions, single
from worldsim.envs.beginnings import choose, last_frames, prefill, resolve
from worldsim.envs.snapshot import Snapshot
from worldsim.envs.tasks import DreamTask, TaskLike
from worldsim.errors import UserError
from worldsim.state import WorldState
from worldsim.world import WorldModel

if TYPE_CHECKING:
    from worldsim.envs.window import Window

TERMINATION_THRESHOLD = 0.5


class WorldSimEnv(gymnasium.Env[Any, Any]):
    """Plays inside a learned world.

    Observation: the last frame of the chunk, uint8 (H, W, 3). ``info["frames"]``: every frame of the chunk, uint8
    (r, H, W, 3). ``info["pose"]``: x, y, z (metres), yaw, pitch (degrees) relative to the start, as the world's own
    motion head estimates them, float32 (5,). Reward, without a task: metres by which the furthest horizontal distance
    from the start grew, from the same estimate. An action is held for all r frames of the chunk; the camera turns by
    its degrees in each of them.

    Args:
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes: a name of ``worldsim.tasks``, a function of ``StepInformation`` to reward
            and end, ``"goal: TEXT"``, or None for the world's own reward.
        render_mode: "rgb_array", "human" (a window) or None.
        action_space: "multidiscrete", or "minerl" for MineRL's Dict.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate after so many steps; ``gymnasium.make`` has its own limit and leaves this None.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        world: str | os.PathLike[str] | WorldModel = "minecraft",
        *,
        task: TaskLike = None,
        render_mode: str | None = None,
        action_space: str = "multidiscrete",
        starts: str | os.PathLike[str] | StartClips | None = None,
        max_episode_steps: int | None = None,
    ):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode must be 'rgb_array', 'human' or None, got {render_mode!r}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.world, self.starts = resolve(world, starts)
        self.task = DreamTask(self.world, task)
        self.render_mode, self.max_episode_steps = render_mode, max_episode_steps
        self.metadata = self.metadata | {"render_fps": self.world.config.fps / self.world.chunk}
        self.actions = make_actions(self.world.spec, action_space)
        self.action_space = self.actions.space
        self.observation_space = frame_space(self.world)
        shape = (self.world.chunk, self.world.config.height, self.world.config.width, 3)
        self._state: WorldState | None = None
        self._frames = np.zeros(shape, np.uint8)
        self._elapsed, self._ended, self._start = 0, False, -1
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: decides the start clip and the noise; None goes on with the generator seeded before.
            options: ``prefix``, ``actions``, ``prompt``: see ``worldsim.envs.beginnings.choose``.
        """
        super().reset(seed=seed)
        beginning = choose(self.world, self.starts, self.np_random, options)
        self._state = prefill(self.world, [beginning])
        self._frames = last_frames(beginning, self.world.chunk)
        self._elapsed, self._ended, self._start = 0, False, beginning.start
        self._show()
        return self._frames[-1].copy(), self._info(self._state) | {"start": beginning.start}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Generate the next chunk under ``action``.

        Raises:
            ResetNeeded: there was no reset, or the episode is over.
            UserError: the action is not in the action space.
        """
        state = self._current()
        if self._ended:
            raise ResetNeeded("the episode is over: call reset() or restore() before step()")
        held = np.repeat(self.actions.vectors(single(action))[:, None], self.world.chunk, axis=1)
        before = self.task.facts(state)
        # The state is this environment's alone: snapshots are copies.
        self._state, out = self.world.step(state, held, donate=True)
        self._frames = out.frames[0]
        self._elapsed += 1
        rewards, ends = self.task.judge(before, self._state, out, held)
        terminated = bool(ends[0] or out.termination[0] > TERMINATION_THRESHOLD)
        truncated = self.max_episode_steps is not None and self._elapsed >= self.max_episode_steps
        self._ended = terminated or truncated
        self._show()
        return self._frames[-1].copy(), float(rewards[0]), terminated, truncated, self._info(self._state)

    def snapshot(self) -> Snapshot:
        """The present moment, to be restored here, in another environment of the same world, or from a file."""
        return Snapshot(
            state=self._current().select([0]),
            frames=self._frames.copy(),
            elapsed=self._elapsed,
            ended=self._ended,
            start=self._start,
            rng=_plain(self.np_random.bit_generator.state),
            world=fingerprint(self.world),
        )

    def restore(self, snapshot: Snapshot) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Go back to a moment; what follows is what followed then, byte for byte, under the same actions.

        A ``TimeLimit`` wrapper around this environment keeps its own count of steps.

        Returns:
            Observation and info of that moment.

        Raises:
            UserError: the snapshot belongs to another world.
        """
        if snapshot.world != fingerprint(self.world):
            raise UserError("the snapshot belongs to another world: load the checkpoint that it was taken in")
        self._state = snapshot.state.select([0])
        self._frames = snapshot.frames.copy()
        self._elapsed, self._ended, self._start = snapshot.elapsed, snapshot.ended, snapshot.start
        self.np_random.bit_generator.state = snapshot.rng
        self._show()
        return self._frames[-1].copy(), self._info(self._state)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The last frame, uint8 (H, W, 3), in mode "rgb_array"; the window follows by itself in mode "human"."""
        self._current()
        return self._frames[-1].copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _current(self) -> WorldState:
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._state

    def _info(self, state: WorldState) -> dict[str, Any]:
        return {"frames": self._frames.copy(), "pose": state.pose[0].numpy().copy()}

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            from worldsim.envs.window import Window

            self._window = Window(self.world.config.width, self.world.config.height, "WorldSim")
        for frame in self._frames:
            self._window.show(frame, fps=self.world.config.fps)


def frame_space(world: WorldModel) -> spaces.Box:
    """Observation space of one frame, uint8 (H, W, 3)."""
    return spaces.Box(0, 255, (world.config.height, world.config.width, 3), np.uint8)


@lru_cache(maxsize=8)
def fingerprint(world: WorldModel) -> str:
    """Hash of a world's weights and configuration."""
    digest = hashlib.sha256(repr(world.config).encode())
    for module in (world.tokenizer, world.dit):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Generator state as JSON can hold it."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
