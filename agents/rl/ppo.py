"""Learning by reward: stable-baselines3's PPO, with checkpoints without pickle, evaluation and videos on the way.

A run is a folder: ``policy.safetensors`` (the last weights), ``best/policy.safetensors`` (best in evaluation),
``state.safetensors`` (to resume), ``progress.csv``, TensorBoard's files, ``evaluations.npz``, ``videos/STEP.mp4``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecTransposeImage, is_vecenv_wrapped

from worldsim.agents.policies.net_config import NetConfig
from worldsim.agents.policies.policy_net import FILE, load_policy, policy_settings
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
from worldsim.agents.rl.settings import PpoTraining, Schedule
from worldsim.models.shield import shielded


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
