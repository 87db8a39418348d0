"""Learning by reward: stable-baselines3's PPO, with checkpoints without pickle, evaluation and videos on the way.

A run is a folder: ``policy.safetensors`` (the last weights), ``best/policy.safetensors`` (best in evaluation),
``state.safetensors`` (to resume), ``progress.csv``, TensorBoard's files, ``evaluations.npz``, ``videos/STEP.mp4``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecTransposeImage, is_vecenv_wrapped

from worldsim.agents.policies.policy_net import FILE, NetConfig, load_policy, policy_settings
from worldsim.agents.rl.ppo_callbacks import (
    BestPolicyCallback,
    ProgressCallback,
    SafetensorsCheckpointCallback,
    SeedCallback,
    VideoCallback,
)
from worldsim.agents.rl.ppo_checkpoint import (
    PolicyWriter,
    restore_checkpoint,
    resumed_policy,
    start_from,
    steps_done,
)
from worldsim.agents.rl.ppo_metrics import make_logger, resume_evaluations
from worldsim.models.shield import shielded


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


@shielded
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
    folder = folder.absolute()
    at, before = steps_done(folder), resumed_policy(folder, about)
    if before is None and initial is not None:
        before = load_policy(initial)
    writer = PolicyWriter(net=net if before is None else before.net, about=about)
    # A resumed run goes on with other draws than those it began with.
    model = _make_model(envs, training, writer.net, seed + at)
    folder.mkdir(parents=True, exist_ok=True)
    model.set_logger(make_logger(folder, at))
    if at:
        restore_checkpoint(folder, model)
    elif before is not None:
        start_from(before, str(initial), model)
    checkpoints = SafetensorsCheckpointCallback(folder, writer, schedule.checkpoint_every)
    callbacks: list[BaseCallback] = [ProgressCallback(progress), checkpoints]
    if eval_envs is not None and schedule.eval_every:
        evaluation = _evaluation(eval_envs, model, folder, writer, schedule, seed)
        if at:
            resume_evaluations(evaluation, folder, at)
        callbacks.append(evaluation)
    if watched is not None and schedule.video_every:
        callbacks.append(VideoCallback(checkpoints, watched, schedule.video_every, fps))
    if schedule.steps > at:
        model.learn(schedule.steps - at, callback=CallbackList(callbacks), reset_num_timesteps=False, log_interval=1)
        checkpoints.save()
    return model


def _make_model(envs: VecEnv, training: PpoTraining, net: NetConfig, seed: int) -> PPO:
    return PPO(
        "CnnPolicy", VecMonitor(VecFrameStack(envs, net.stack)), seed=seed, n_steps=training.rollout,
        batch_size=training.batch, n_epochs=training.epochs, learning_rate=training.rate, gamma=training.gamma,
        gae_lambda=training.gae_lambda, clip_range=training.clip, ent_coef=training.entropy, vf_coef=training.value,
        max_grad_norm=training.gradient, target_kl=training.target_kl or None, policy_kwargs=policy_settings(net),
        device="cpu",
    )  # fmt: skip


def _evaluation(
    envs: VecEnv, model: PPO, folder: Path, writer: PolicyWriter, schedule: Schedule, seed: int
) -> EvalCallback:
    """Evaluations in ``envs``, wrapped as the environments are that ``model`` learns in."""
    assert model.env is not None
    seen: VecEnv = VecMonitor(VecFrameStack(envs, writer.net.stack))
    if is_vecenv_wrapped(model.env, VecTransposeImage):
        seen = VecTransposeImage(seen)
    return EvalCallback(
        seen, callback_on_new_best=BestPolicyCallback(folder / "best" / FILE, writer),
        callback_after_eval=SeedCallback(seen, seed), n_eval_episodes=schedule.eval_episodes,
        eval_freq=max(1, schedule.eval_every // model.n_envs), log_path=str(folder), deterministic=False, verbose=0,
        warn=False,
    )  # fmt: skip
