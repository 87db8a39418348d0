"""How well players do: returns over episodes, their interquartile mean with an interval, in the dream or the engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.agents.policies.player import Player

Progress = Callable[[int, int], None]
RESAMPLES = 2000


@dataclass(frozen=True)
class Played:
    """One episode: its return, its length in steps, how it ended, and its frames where they were kept."""

    seed: int
    total: float
    steps: int
    ended: str
    frames: NDArray[np.uint8] | None = None


def play_episode(env: gymnasium.Env[Any, Any], player: Player, seed: int, *, keep: bool = False) -> Played:
    """Play one episode whose beginning and player's draws the seed decides."""
    total, steps, ended, kept = 0.0, 0, "cut", []
    for frames, reward, end in episode(env, player, seed):
        total, steps, ended = total + reward, steps + 1, end
        if keep:
            kept.append(frames)
    return Played(seed, total, max(0, steps - 1), ended, np.concatenate(kept) if keep else None)


def episode(env: gymnasium.Env[Any, Any], player: Player, seed: int) -> Iterator[tuple[NDArray[np.uint8], float, str]]:
    """Frames (r, H, W, 3), reward and end ("", "terminated" or "truncated") of each step; first those of the reset."""
    observation, info = env.reset(seed=seed)
    player.reset(seed, info)
    yield _frames(observation, info), 0.0, ""
    ended = ""
    while not ended:
        observation, reward, terminated, truncated, info = env.step(player.act(observation, info))
        ended = "terminated" if terminated else "truncated" if truncated else ""
        yield _frames(observation, info), float(reward), ended


def play_episodes(
    env: gymnasium.Env[Any, Any],
    player: Player,
    episodes: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> list[Played]:
    """Episodes with seeds ``seed``, ``seed`` + 1, ..."""
    played = []
    for i in range(episodes):
        played.append(play_episode(env, player, seed + i))
        progress(i + 1, episodes)
    return played


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half (Agarwal et al. 2021); of fewer than four values the plain mean."""
    everything = np.asarray(values, np.float64)
    cut = len(everything) // 4
    # (As scipy.stats.trim_mean does, whose checks cost fifty times as much: intervals take thousands of these.)
    return float(np.partition(everything, (cut, len(everything) - cut - 1))[cut : len(everything) - cut].mean())


def summary(groups: Sequence[Sequence[float]], seed: int = 0) -> dict[str, Any]:
    """Interquartile mean of all returns and its 95 % bootstrap interval.

    Args:
        groups: the returns of each trained seed's episodes. With several, seeds are drawn first, then their episodes;
            with one, only episodes.
        seed: of the draws.
    """
    returns = [np.asarray(group, np.float64) for group in groups]
    everything = np.concatenate(returns)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(groups), size=len(groups)) if len(groups) > 1 else [0]
        drawn = [rng.choice(returns[g], len(groups[g])) for g in chosen]
        means.append(interquartile_mean(np.concatenate(drawn)))
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "iqm": interquartile_mean(everything),
        "interval": [float(low), float(high)],
        "mean": float(everything.mean()),
        "episodes": len(everything),
        "seeds": len(groups),
    }


def advantage(groups: Sequence[Sequence[float]], others: Sequence[Sequence[float]], seed: int = 0) -> dict[str, Any]:
    """How much more one method earns than another from the same starts: the difference of interquartile means.

    Args:
        groups: returns (seeds, episodes) of each trained seed; episode i began alike for all of them.
        others: the same of the other method, which may have other seeds.
        seed: of the draws: episodes are drawn for both methods alike, which takes out how easy a start is; of several
            seeds, these too.
    """
    a, b = np.asarray(groups, np.float64), np.asarray(others, np.float64)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        episodes = rng.integers(a.shape[1], size=a.shape[1])
        drawn = [m[rng.integers(len(m), size=len(m))][:, episodes].ravel() for m in (a, b)]
        found.append(interquartile_mean(drawn[0]) - interquartile_mean(drawn[1]))
    low, high = np.percentile(found, [2.5, 97.5])
    ours, theirs = (interquartile_mean(m.ravel()) for m in (a, b))
    return {"difference": ours - theirs, "interval": [float(low), float(high)], "iqm": theirs}


def exploitation_gap(dream: Mapping[str, Any], engine: Mapping[str, Any]) -> float:
    """How much more a policy earns in the dream than in the engine, by interquartile means."""
    return float(dream["iqm"] - engine["iqm"])


def _frames(observation: NDArray[np.uint8], info: Mapping[str, Any]) -> NDArray[np.uint8]:
    return np.asarray(info["frames"]) if "frames" in info else np.asarray(observation)[None]
