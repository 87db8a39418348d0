"""A learned world as a Gymnasium environment: one latent chunk per step.

r video frames per chunk, H W pixels, A action vector.
"""

import copy
import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import make_actions, single
from worldsim.envs.learned.initial_context import choose, last_frames, prefill, resolve
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.envs.learned.tasks import TaskLike, WorldRewardFunction
from worldsim.errors import UserError
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

if TYPE_CHECKING:
    from worldsim.envs.window import Window

TERMINATION_THRESHOLD = 0.5


class WorldSimEnv(gymnasium.Env[Any, Any]):
    """Plays inside a learned world.

    Observation: the last frame of the chunk, uint8 (H, W, 3). ``info["frames"]``: every frame of the chunk, uint8
    (r, H, W, 3). ``info["pose"]``: x, y, z (metres), yaw, pitch (degrees) relative to the start, as the world's own
    motion head estimates them, float32 (5,). ``info["trust"]``: how likely the dream is still near what the real game
    would show, 0 to 1 (see ``worldsim.simulation.confidence``); missing in a world that was not calibrated.
    Reward, without a task: metres by which the furthest horizontal distance from the start grew, from the same
    estimate. An action is held for all r frames of the chunk; the camera turns by its degrees in each of them.

    Args:
        world: a shipped world's name, a checkpoint folder, or a loaded model.
        task: gives reward and ends episodes: a name of ``worldsim.spec.tasks``, a function of ``StepInformation`` to
            reward and end, ``"goal: TEXT"``, or None for the world's own reward.
        render_mode: "rgb_array", "human" (a window) or None.
        action_space: "multidiscrete", "minerl" for MineRL's Dict, "discrete" for games of keys alone; None: what suits.
        starts: folder of start clips, or loaded ones; default: those beside the checkpoint.
        max_episode_steps: truncate after so many steps; ``gymnasium.make`` has its own limit and leaves this None.
        min_trust: truncate when ``info["trust"]`` falls below this, so that nobody learns from hallucinations.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        world: str | os.PathLike[str] | WorldModel = "minecraft",
        *,
        task: TaskLike = None,
        render_mode: str | None = None,
        action_space: str | None = None,
        starts: str | os.PathLike[str] | StartClips | None = None,
        max_episode_steps: int | None = None,
        min_trust: float | None = None,
    ):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode must be 'rgb_array', 'human' or None, got {render_mode!r}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.world, self.starts = resolve(world, starts)
        self.min_trust = check_min_trust(self.world, min_trust)
        self.task = WorldRewardFunction(self.world, task)
        self.render_mode, self.max_episode_steps = render_mode, max_episode_steps
        self.metadata = self.metadata | {"render_fps": self.world.config.fps / self.world.chunk}
        self.actions = make_actions(self.world.spec, action_space)
        self.action_space = self.actions.space
        self.observation_space = frame_space(self.world)
        shape = (self.world.chunk, self.world.config.height, self.world.config.width, 3)
        self._state: WorldState | None = None
        # Whether no snapshot and no fork looks at the state's memory: then a step may reuse it.
        self._alone = True
        self._frames = np.zeros(shape, np.uint8)
        self._elapsed, self._ended, self._start = 0, False, -1
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: decides the start clip and the noise; None goes on with the generator seeded before.
            options: ``prefix``, ``actions``, ``prompt``: see ``worldsim.envs.learned.initial_context.choose``.
        """
        super().reset(seed=seed)
        beginning = choose(self.world, self.starts, self.np_random, options)
        self._state, self._alone = prefill(self.world, [beginning]), True
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
        state = self.current()
        if self._ended:
            raise ResetNeeded("the episode is over: call reset() or restore() before step()")
        held = np.repeat(self.actions.vectors(single(action))[:, None], self.world.chunk, axis=1)
        before = self.task.facts(state)
        self._state, out = self.world.step(state, held, inplace=self._alone)
        self._alone = True
        self._frames = out.frames[0]
        self._elapsed += 1
        rewards, ends = self.task.judge(before, self._state, out, held)
        terminated = bool(ends[0] or out.termination[0] > TERMINATION_THRESHOLD)
        truncated = self.max_episode_steps is not None and self._elapsed >= self.max_episode_steps
        truncated = truncated or (self.min_trust is not None and bool(out.trust[0] < self.min_trust))
        self._ended = terminated or truncated
        self._show()
        return self._frames[-1].copy(), float(rewards[0]), terminated, truncated, self._info(self._state)

    def snapshot(self) -> Snapshot:
        """The present moment, to be restored here, in another environment of the same world, or from a file.

        Nothing is copied: the snapshot shares this environment's memory until either goes on.
        """
        state, self._alone = self.current(), False
        return Snapshot(
            state=state,
            frames=self._frames,
            elapsed=self._elapsed,
            ended=self._ended,
            start=self._start,
            rng=plain(self.np_random.bit_generator.state),
            world=fingerprint(self.world),
        )

    def fork(self, n: int) -> list["WorldSimEnv"]:
        """n environments that go on from this moment; weights are shared, and memory until they step.

        Their random generators stand where this one's stands. A window stays with its environment.

        Raises:
            UserError: n is below 1.
        """
        if n < 1:
            raise UserError(f"a fork makes at least 1 environment, got {n}")
        self.current()
        self._alone = False
        return [self._twin() for _ in range(n)]

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
        self._state, self._alone = snapshot.state, False
        self._frames = snapshot.frames
        self._elapsed, self._ended, self._start = snapshot.elapsed, snapshot.ended, snapshot.start
        self.np_random = generator_at(snapshot.rng)
        self._show()
        return self._frames[-1].copy(), self._info(self._state)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The last frame, uint8 (H, W, 3), in mode "rgb_array"; the window follows by itself in mode "human"."""
        self.current()
        return self._frames[-1].copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: all but the window."""
        return self.__dict__ | {"_window": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> "WorldSimEnv":
        """A twin with an episode of its own; what never changes (weights, start clips, task) is shared."""
        twin = self._twin()
        if twin._state is not None:
            twin._state, twin._alone = twin._state.select([0]), True
        memo[id(self)] = twin
        return twin

    def _twin(self) -> "WorldSimEnv":
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__getstate__())
        twin.render_mode = None if self.render_mode == "human" else self.render_mode
        if self._np_random is not None:
            twin._np_random = copy.deepcopy(self._np_random)
        twin.action_space, twin.observation_space = copy.deepcopy((self.action_space, self.observation_space))
        return twin

    def current(self) -> WorldState:
        """The state of the running episode, to look at: stepping it is this environment's business.

        Raises:
            ResetNeeded: there is no episode yet.
        """
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._state

    def _info(self, state: WorldState) -> dict[str, Any]:
        info = {"frames": self._frames.copy(), "pose": state.pose[0].numpy().copy()}
        return info if self.world.trust is None else info | {"trust": float(state.trust[0])}

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


@lru_cache(maxsize=8)
def fingerprint(world: WorldModel) -> str:
    """Hash of a world's weights and configuration."""
    digest = hashlib.sha256(repr(world.config).encode())
    for module in (world.tokenizer, world.dit):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def generator_at(state: dict[str, Any]) -> np.random.Generator:
    """A generator of Gymnasium's kind in a saved state."""
    generator, _ = seeding.np_random(0)
    generator.bit_generator.state = state
    return generator


def plain(value: Any) -> Any:
    """Generator state as JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
