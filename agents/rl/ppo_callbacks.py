"""What happens while PPO learns, as stable-baselines3's callbacks: progress, checkpoints, evaluation, videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from worldsim.agents.policies.player import TrainedPlayer
from worldsim.agents.policies.policy_net import FILE
from worldsim.agents.rl.evaluation import play_episode
from worldsim.agents.rl.ppo_checkpoint import PolicyWriter, save_checkpoint
from worldsim.datasets.store.video import write_video


class ProgressCallback(BaseCallback):
    """Calls ``progress`` with the environment steps done, after every step."""

    def __init__(self, progress: Callable[[int], None]):
        super().__init__()
        self.progress = progress

    def _on_step(self) -> bool:
        self.progress(self.num_timesteps)
        return True


class SafetensorsCheckpointCallback(BaseCallback):
    """Writes a checkpoint every ``every`` environment steps (0: never), where a rollout begins.

    There all updates of the rollout before are done. stable-baselines3's ``CheckpointCallback`` saves within a rollout,
    whose steps a resumed run would not learn from, and with pickle.
    """

    def __init__(self, folder: Path, writer: PolicyWriter, every: int):
        super().__init__()
        self.folder, self.writer, self.every = folder, writer, every
        self._saved = 0

    def _on_training_start(self) -> None:
        self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.every and self.num_timesteps - self._saved >= self.every:
            self.save()

    def save(self) -> None:
        """Write a checkpoint now."""
        assert isinstance(self.model, PPO)
        save_checkpoint(self.folder, self.model, self.writer)
        self._saved = self.model.num_timesteps


class BestPolicyCallback(BaseCallback):
    """Writes the policy that did best in evaluation: ``callback_on_new_best`` of an ``EvalCallback``."""

    def __init__(self, path: Path, writer: PolicyWriter):
        super().__init__()
        self.path, self.writer = path, writer

    def _on_step(self) -> bool:
        assert isinstance(self.parent, EvalCallback)
        self.writer.write(self.path, self.model, evaluation=float(self.parent.best_mean_reward))
        return True


class SeedCallback(BaseCallback):
    """Seeds ``envs`` before training and at every event, so that every evaluation begins from the same starts."""

    def __init__(self, envs: VecEnv, seed: int):
        super().__init__()
        self.envs, self.seed = envs, seed

    def _init_callback(self) -> None:
        self.envs.seed(self.seed)

    def _on_step(self) -> bool:
        self.envs.seed(self.seed)
        return True


class VideoCallback(BaseCallback):
    """Writes a video of one episode every ``every`` environment steps, played by the policy of a checkpoint.

    Args:
        checkpoints: writes the checkpoint first.
        make: makes the environment that is played in.
        every: environment steps between two videos.
        fps: of the videos.
    """

    def __init__(
        self,
        checkpoints: SafetensorsCheckpointCallback,
        make: Callable[[], gymnasium.Env[Any, Any]],
        every: int,
        fps: float,
    ):
        super().__init__()
        self.checkpoints, self.folder, self.make, self.every, self.fps = (
            checkpoints,
            checkpoints.folder,
            make,
            every,
            fps,
        )
        self._next = 0

    def _on_training_start(self) -> None:
        self._plan()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps < self._next:
            return
        self._plan()
        self.checkpoints.save()
        env = self.make()
        try:
            # Making a policy and playing draw from torch's own generator, as learning does.
            with torch.random.fork_rng(devices=()):
                played = play_episode(env, TrainedPlayer(env, str(self.folder / FILE)), self.num_timesteps, keep=True)
        finally:
            env.close()
        assert played.frames is not None
        (self.folder / "videos").mkdir(exist_ok=True)
        write_video(self.folder / "videos" / f"{self.num_timesteps:08d}.mp4", played.frames, self.fps)

    def _plan(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every
