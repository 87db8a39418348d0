"""Determinism: the same seed and actions must give the same rollout, in another process and in a batch too.

K steps, N rows.
"""

import copy
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.processes import interrupts_stay_here

Progress = Callable[[], None]
# Steps after which the neighbours of row 0 begin anew.
RENEWED_EVERY = 37


@dataclass(frozen=True)
class Trajectory:
    """Latents float32 (K, C, h, w), poses (K, 5), rewards (K,) and last frames uint8 (K, H, W, 3) of one rollout."""

    latents: NDArray[np.float32]
    poses: NDArray[np.float32]
    rewards: NDArray[np.float64]
    frames: NDArray[np.uint8]


def rollout(world: str, steps: int, rows: int = 1, progress: Progress = lambda: None) -> Trajectory:
    """Row 0 of ``rows`` rows under random actions; the others have other seeds and actions, and reset now and then."""
    envs: Any = WorldSimEnv(world) if rows == 1 else WorldSimVectorEnv(rows, world, autoreset_mode="Disabled")
    mine, others = (copy.deepcopy(envs.action_space if rows == 1 else envs.single_action_space) for _ in range(2))
    mine.seed(0)
    others.seed(1)
    envs.reset(seed=0)
    kept: list[tuple[Any, ...]] = []
    for step in range(1, steps + 1):
        action = mine.sample()
        if rows > 1:
            action = np.stack([action, *(others.sample() for _ in range(rows - 1))])
        obs, reward, terminated, truncated, info = envs.step(action)
        state = envs.current()
        first = (lambda value: value) if rows == 1 else (lambda value: value[0])
        kept.append((state.latent[0].cpu().numpy().copy(), first(info["pose"]), first(reward), first(obs)))
        over = np.atleast_1d(terminated | truncated)
        over[1:] |= step % RENEWED_EVERY == 0
        if over.any():
            envs.reset(options=None if rows == 1 else {"reset_mask": over})
        progress()
    latents, poses, rewards, frames = (np.stack(values) for values in zip(*kept, strict=True))
    return Trajectory(latents, poses, rewards, frames)


def compare_trajectories(a: Trajectory, b: Trajectory) -> dict[str, Any]:
    """Greatest differences over all steps, and the first step that differs at all (None: none does)."""
    grey = np.abs(a.frames.astype(int) - b.frames)
    different = (a.latents != b.latents).any((1, 2, 3)) | (grey > 0).any((1, 2, 3)) | (a.poses != b.poses).any(1)
    different |= a.rewards != b.rewards
    return {
        "steps": len(different),
        "latents": float(np.abs(a.latents - b.latents).max()),
        "pose": float(np.abs(a.poses - b.poses).max()),
        "reward": float(np.abs(a.rewards - b.rewards).max()),
        "grey_levels": int(grey.max()),
        "first_different_step": int(different.argmax()) + 1 if different.any() else None,
    }


def check_determinism(world: str, steps: int, rows: int, progress: Progress = lambda: None) -> dict[str, Any]:
    """Compare one rollout with itself repeated, in a fresh process, and as a row of ``rows``."""
    once = rollout(world, steps, 1, progress)
    results = {"again": compare_trajectories(once, rollout(world, steps, 1, progress))}
    with interrupts_stay_here():
        made = multiprocessing.get_context("spawn").Pool(1)
    with made as pool:
        results["in another process"] = compare_trajectories(once, pool.apply(rollout, (world, steps)))
    results[f"as a row of {rows}"] = compare_trajectories(once, rollout(world, steps, rows, progress))
    return results
