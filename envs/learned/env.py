"""A learned world as a Gymnasium environment: one latent chunk per step.

r video frames per chunk, H W pixels, A action vector.
"""

import copy
import os
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import single
from worldsim.envs.learned.episodes import WorldEpisodes, check_render_mode, frame_space, row_of
from worldsim.envs.learned.snapshot import Snapshot, generator_at
from worldsim.envs.learned.tasks import TaskLike
from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel

if TYPE_CHECKING:
    from worldsim.plotting.window import Window


class WorldSimEnv(WorldEpisodes, gymnasium.Env[Any, Any]):
    """Plays inside a learned world.

    Observation: the last frame of the chunk, uint8 (H, W, 3). ``info["frames"]``: every frame of the chunk, uint8
    (r, H, W, 3). ``info["pose"]``: x, y, z (metres), yaw, pitch (degrees) relative to the start, as the world's own
    motion head estimates them, float32 (5,). ``info["trust"]``: how likely the dream is still near what the real game
    would show, 0 to 1 (see ``worldsim.simulation.confidence``); missing in a world that was not calibrated.
    ``action_meanings`` names every action, ``noop_action`` is the one that does nothing (not all zeros: a camera's
    middle bin is rest).
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
        device: "cpu" or "cuda"; None: the CPU, or where a loaded model is. Observations are NumPy arrays all the same.
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
        device: str | None = None,
    ):
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        super().__init__(
            world, 1, task=task, action_space=action_space, starts=starts, max_episode_steps=max_episode_steps,
            min_trust=min_trust, device=device,
        )  # fmt: skip
        self.metadata = self.metadata | {"render_fps": self.world.config.fps / self.world.chunk}
        self.action_space = self.actions.space
        self.observation_space = frame_space(self.world)
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: decides the start clip and the noise; None goes on with the generator seeded before.
            options: ``start`` (a start clip's number), ``prefix``, ``actions``, ``prompt``: see
                ``worldsim.envs.learned.initial_context.choose``.
        """
        super().reset(seed=int(seed) if isinstance(seed, np.integer) else seed)
        self._begin(np.zeros(1, np.int64), [self.np_random], [options])
        self._show()
        return self._observation(), self._info() | {"start": int(self._starts[0])}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Generate the next chunk under ``action``.

        Raises:
            ResetNeeded: there was no reset, or the episode is over.
            UserError: the action is not in the action space.
        """
        self.current()
        if self._ended[0]:
            raise ResetNeeded("the episode is over: call reset() or restore() before step()")
        rewards, terminations, truncations = self._advance(self.actions.vectors(single(action)))
        self._ended = terminations | truncations
        self._show()
        return self._observation(), float(rewards[0]), bool(terminations[0]), bool(truncations[0]), self._info()

    def snapshot(self) -> Snapshot:
        """The present moment, to be restored here, in another environment of the same world, or from a file.

        Nothing is copied: the snapshot shares this environment's memory until either goes on.
        """
        state, self._alone = self.current(), False
        return self._moment(0, state, self.np_random)

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
            UserError: the snapshot belongs to another world, or is damaged; nothing is changed then.
        """
        self._check_moments([snapshot])
        generator = generator_at(snapshot.rng)
        self._state, self._alone = snapshot.state.to(self.world.device), False
        self._show_moment(0, snapshot)
        self.np_random = generator
        self._show()
        return self._observation(), self._info()

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The last frame, uint8 (H, W, 3), in mode "rgb_array"; the window follows by itself in mode "human"."""
        self.current()
        return self._observation() if self.render_mode == "rgb_array" else None

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
        for name in ("_frames", "_elapsed", "_ended", "_starts"):
            setattr(twin, name, getattr(self, name).copy())
        twin.render_mode = None if self.render_mode == "human" else self.render_mode
        if self._np_random is not None:
            twin._np_random = copy.deepcopy(self._np_random)
        twin.action_space, twin.observation_space = copy.deepcopy((self.action_space, self.observation_space))
        return twin

    def _observation(self) -> NDArray[np.uint8]:
        return self._frames[0, -1].copy()

    def _info(self) -> dict[str, Any]:
        return {name: row_of(values, 0) for name, values in self._row_infos().items()}

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            from worldsim.plotting.window import Window

            self._window = Window(self.world.config.width, self.world.config.height, "WorldSim")
        for frame in self._frames[0]:
            self._window.show(frame, fps=self.world.config.fps)
