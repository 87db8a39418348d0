"""Record whatever plays in a Gymnasium environment, in three lines:

from worldsim.datasets.recording.recorder_gym import RecordEpisodes
env = RecordEpisodes(env, "data/my-game")
...  # reset and step as before, then
env.close()
"""

import os
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.recording.action_codec import SpaceCodec
from worldsim.datasets.recording.env_pictures import EnvPictures, action_meanings, frames_per_second
from worldsim.datasets.recording.recorder import Recorder


class RecordEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records every episode of a Gymnasium environment, whoever plays it; ``close`` writes the last one.

    Args:
        env: with pictures as observations, or made with ``render_mode="rgb_array"``.
        store: folder of the episode store.
        options: as for ``Recorder``; fps and source are taken from the environment if left out.

    Raises:
        ValueError: it has no pictures, or its actions cannot be written as keys.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], store: str | os.PathLike[str], **options: Any):
        super().__init__(env)
        self.codec = SpaceCodec(env.action_space, action_meanings(env))
        self._pictures = EnvPictures(env)
        named = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        usual: dict[str, Any] = {"fps": frames_per_second(env), "source": f"gym:{named}", "policy": "unknown"}
        chosen: dict[str, Any] = {**usual, "consent": "not stated", **options}
        self.recorder = Recorder(store, self.codec.spec, **chosen)
        self._shown: NDArray[np.uint8] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; one that was not over is written as it is."""
        self._end(terminated=False)
        obs, info = self.env.reset(seed=seed, options=options)
        self._shown = self._pictures(obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and record the frame that the action was taken at."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self._shown is not None:
            self.recorder.add(self._shown, self.codec.vector(action), reward=float(reward))
        self._shown = self._pictures(obs)
        if terminated or truncated:
            self._end(terminated=terminated)
        return obs, reward, terminated, truncated, info

    def close(self) -> None:
        """Write the last episode and close the environment."""
        self._end(terminated=False)
        self.recorder.close()
        super().close()

    def _end(self, *, terminated: bool) -> None:
        if self._shown is not None:
            self.recorder.add(self._shown, terminated=terminated)
            self.recorder.begin()
            self._shown = None
