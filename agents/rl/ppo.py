"""Learning by reward: stable-baselines3's PPO, with checkpoints without pickle, evaluation and videos on the way.

A run is a folder: ``policy.safetensors`` (the last weights), ``best/policy.safetensors`` (best in evaluation),
``state.safetensors`` (to resume), ``progress.csv``, TensorBoard's files, ``evaluations.npz``, ``videos/STEP.mp4``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecTransposeImage, is_vecenv_wrapped

from worldsim.agents.policies.player import TrainedPlayer
from worldsim.agents.policies.policy_net import (
    FILE,
    LearnedPolicy,
    NetConfig,
    load_policy,
    load_policy_tensors,
    policy_settings,
    policy_tensors,
    save_policy,
)
from worldsim.agents.rl.evaluation import play_episode
from worldsim.datasets.governance.provenance import read_metadata
from worldsim.datasets.store.video import write_video
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_module, load_tensors, save_tensors

STATE = "state.safetensors"
# As stable-baselines3 names them.
STEPS_COLUMN, EVALUATIONS = "time/total_timesteps", "evaluations.npz"


@dataclass(frozen=True, kw_only=True)
class PpoTraining:
    """PPO's settings (Schulman et al. 2017).

    Attributes:
        rollout: steps of each row between updates.
        batch: examples of a gradient step.
        epochs: passes over what was collected at each update.
        rate: learning rate.
        gamma: discount of later rewards, by step.
        gae_lambda: of the generalised advantage estimate: 1 has no bias, 0 the least variance.
        clip: how far the ratio of new and old probabilities may be from 1.
        entropy: weight of the entropy bonus.
        value: weight of the value loss.
        gradient: largest norm of a gradient.
        target_kl: divergence from the old policy that ends an update early.
    """

    rollout: int = 64
    batch: int = 128
    epochs: int = 4
    rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    gradient: float = 0.5
    target_kl: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What happens how often, in environment steps; 0 for never.

    Attributes:
        steps: environment steps of the whole run.
        checkpoint_every: steps between checkpoints.
        eval_every: steps between evaluations.
        eval_episodes: episodes of an evaluation.
        video_every: steps between videos.
    """

    steps: int = 100_000
    checkpoint_every: int = 5000
    eval_every: int = 10_000
    eval_episodes: int = 5
    video_every: int = 20_000


def learn(
    envs: VecEnv,
    folder: Path,
    training: PpoTraining,
    schedule: Schedule,
    *,
    net: NetConfig,
    about: Mapping[str, Any],
    eval_envs: VecEnv | None = None,
    watched: Callable[[], gymnasium.Env[Any, Any]] | None = None,
    fps: float = 20.0,
    initial: Path | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> PPO:
    """Train in ``envs`` until ``schedule.steps`` steps were taken; goes on where ``folder`` holds a run.

    Args:
        envs: to learn in.
        folder: of the run.
        training: PPO's settings.
        schedule: how long, and what happens on the way.
        net: sizes of a fresh policy; one that is resumed or started from keeps its own.
        about: plain JSON that goes into the policy's file.
        eval_envs: to evaluate in.
        watched: makes the environment that videos are played in.
        fps: of the videos.
        initial: a policy (file or run) to start from, cloned from recordings, say.
        seed: decides weights, draws and the environments' seeds.
        progress: called with the steps done.

    Raises:
        UserError: the policy to start from does not fit, or ``folder`` holds a run of another task or environment.
    """
    at, before = _steps_done(folder), resumed_policy(folder, about)
    if before is None and initial is not None:
        before = load_policy(initial)
    if before is not None:
        net = before.net
    envs = VecFrameStack(envs, net.stack)
    # A resumed run goes on with other draws than those it began with.
    model = PPO(
        "CnnPolicy", VecMonitor(envs), seed=seed + at, n_steps=training.rollout, batch_size=training.batch,
        n_epochs=training.epochs, learning_rate=training.rate, gamma=training.gamma, gae_lambda=training.gae_lambda,
        clip_range=training.clip, ent_coef=training.entropy, vf_coef=training.value, max_grad_norm=training.gradient,
        target_kl=training.target_kl or None, policy_kwargs=policy_settings(net), device="cpu",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model.set_logger(Logger(str(folder), _outputs(folder, at)))
    if at:
        _restore(folder / STATE, model)
    elif before is not None:
        _start_from(before, str(initial), model)
    save = _Saver(folder, net, dict(about), schedule, progress)
    callbacks: list[BaseCallback] = [save]
    if eval_envs is not None and schedule.eval_every:
        best = _Best(folder / "best" / FILE, net, dict(about))
        every = max(1, schedule.eval_every // envs.num_envs)
        seen: VecEnv = VecMonitor(VecFrameStack(eval_envs, net.stack))
        if model.env is not None and is_vecenv_wrapped(model.env, VecTransposeImage):
            seen = VecTransposeImage(seen)
        evaluation = _Evaluation(
            seen, callback_on_new_best=best, n_eval_episodes=schedule.eval_episodes, eval_freq=every,
            log_path=str(folder), deterministic=False, verbose=0, warn=False,
        )  # fmt: skip
        evaluation.seed = seed
        if at:
            evaluation.resume(folder, at)
        callbacks.append(evaluation)
    if watched is not None and schedule.video_every:
        callbacks.append(_Videos(save, watched, schedule.video_every, fps))
    left = schedule.steps - at
    if left > 0:
        model.learn(left, callback=CallbackList(callbacks), reset_num_timesteps=False, log_interval=1)
        save.now()
    return model


def resumed_policy(folder: Path, about: Mapping[str, Any]) -> LearnedPolicy | None:
    """The policy with which a run of ``about`` goes on in ``folder``; None where it begins. Writes nothing.

    Raises:
        UserError: the folder holds a run of another task or environment.
    """
    if not _steps_done(folder):
        return None
    before = load_policy(folder / FILE)
    for name in ("task", "env"):
        if before.about.get(name) != about.get(name):
            raise UserError(f"{folder} began with {name} {before.about.get(name)!r}, not {about.get(name)!r}")
    return before


def _outputs(folder: Path, steps: int) -> list[KVWriter]:
    table = _Table(folder / "progress.csv", steps)
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return [table]
    return [table, TensorBoardOutputFormat(str(folder))]


class _Table(CSVOutputFormat):
    """Goes on after the rows of the first ``steps`` steps, which the class behind it would throw away."""

    def __init__(self, path: Path, steps: int):
        lines = path.read_text().splitlines() if steps and path.is_file() else []
        super().__init__(str(path))
        if not lines:
            return
        self.keys = lines[0].split(",")
        at = self.keys.index(STEPS_COLUMN)
        self.file.write(f"{lines[0]}\n")
        for line in lines[1:]:
            # Plain numbers: no comma is part of one. Where the run was killed while it wrote, there may be none.
            saved = "".join(line.split(",")[at : at + 1])
            # Steps after the checkpoint's are taken again.
            if saved.isdigit() and int(saved) <= steps:
                self.file.write(f"{line}\n")
        self.file.flush()


def _steps_done(folder: Path) -> int:
    return int(read_metadata(folder / STATE)["steps"]) if (folder / STATE).is_file() else 0


def _restore(path: Path, model: PPO) -> None:
    """Weights and optimizer of a checkpoint."""
    tensors, about = load_tensors(path)
    weights = {n.removeprefix("policy/"): t for n, t in tensors.items() if n.startswith("policy/")}
    assert isinstance(model.policy, ActorCriticCnnPolicy)
    load_policy_tensors(model.policy, weights, str(path))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, key, field = name.split("/")
            state.setdefault(int(key), {})[field] = tensor
    groups = model.policy.optimizer.state_dict()["param_groups"]
    model.policy.optimizer.load_state_dict({"state": state, "param_groups": groups})
    model.num_timesteps, model._n_updates = int(about["steps"]), int(about["updates"])


def _start_from(given: LearnedPolicy, initial: str, model: PPO) -> None:
    policy = model.policy
    if given.policy.observation_space != policy.observation_space or given.policy.action_space != policy.action_space:
        raise UserError(f"{initial} sees other pictures or has other actions than this environment")
    load_module(policy, given.policy.state_dict(), initial)


class _Saver(BaseCallback):
    """Writes the policy and what resuming needs."""

    def __init__(
        self, folder: Path, net: NetConfig, about: dict[str, Any], schedule: Schedule, progress: Callable[[int], None]
    ):
        super().__init__()
        self.folder, self.net, self.about, self.schedule, self.progress = folder, net, about, schedule, progress
        self._saved = 0

    def _on_training_start(self) -> None:
        self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        self.progress(self.num_timesteps)
        return True

    def _on_rollout_start(self) -> None:
        # Here all updates of the rollout before are done.
        if self.schedule.checkpoint_every and self.num_timesteps - self._saved >= self.schedule.checkpoint_every:
            self.now()

    def now(self) -> None:
        """Write both files."""
        policy, optimizer = self.model.policy, self.model.policy.optimizer
        assert isinstance(policy, ActorCriticCnnPolicy) and isinstance(self.model, PPO)
        tensors = {f"policy/{n}": t for n, t in policy_tensors(policy).items()}
        for key, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{key}/{n}": torch.as_tensor(v) for n, v in state.items()}
        steps = self.model.num_timesteps
        save_policy(self.folder / FILE, policy, self.net, self.about | {"steps": steps})
        save_tensors(self.folder / STATE, tensors, {"steps": steps, "updates": self.model._n_updates})
        self._saved = steps


class _Evaluation(EvalCallback):
    """Every evaluation begins from the same starts, which ``seed`` decides."""

    seed = 0

    def _on_step(self) -> bool:
        if self.n_calls % self.eval_freq == 0:
            self.eval_env.seed(self.seed)
        return super()._on_step()

    def resume(self, folder: Path, steps: int) -> None:
        """Go on after the evaluations of the first ``steps`` steps, and replace the best policy by a better one only.

        Raises:
            UserError: evaluations had another number of episodes.
        """
        if (folder / "best" / FILE).is_file():
            self.best_mean_reward = float(load_tensors(folder / "best" / FILE)[1]["about"]["evaluation"])
        if not (folder / EVALUATIONS).is_file():
            return
        with np.load(folder / EVALUATIONS) as saved:
            kept = {name: values[saved["timesteps"] <= steps].tolist() for name, values in saved.items()}
        for episodes in kept["results"]:
            if len(episodes) != self.n_eval_episodes:
                raise UserError(f"{folder} was evaluated over {len(episodes)} episodes, not {self.n_eval_episodes}")
        self.evaluations_timesteps, self.evaluations_results = kept["timesteps"], kept["results"]
        self.evaluations_length, self.evaluations_successes = kept["ep_lengths"], kept.get("successes", [])


class _Best(BaseCallback):
    """Keeps the policy that did best in evaluation."""

    def __init__(self, path: Path, net: NetConfig, about: dict[str, Any]):
        super().__init__()
        self.path, self.net, self.about = path, net, about

    def _on_step(self) -> bool:
        policy = self.model.policy
        assert isinstance(policy, ActorCriticCnnPolicy) and isinstance(self.parent, EvalCallback)
        about = self.about | {"steps": self.num_timesteps, "evaluation": float(self.parent.best_mean_reward)}
        save_policy(self.path, policy, self.net, about)
        return True


class _Videos(BaseCallback):
    """A film of one episode, now and then."""

    def __init__(self, saver: _Saver, make: Callable[[], gymnasium.Env[Any, Any]], every: int, fps: float):
        super().__init__()
        self.saver, self.folder, self.make, self.every, self.fps = saver, saver.folder, make, every, fps
        self._next = 0

    def _on_training_start(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps < self._next:
            return
        self.saver.now()
        self._next = (self.num_timesteps // self.every + 1) * self.every
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
