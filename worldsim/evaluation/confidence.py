"""Fit and check a world's trust: free-running dreams beside what really followed, on maps never trained on.

B clips, K chunks of horizon, N samples (one a dreamt chunk), S statistics.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.rollouts import depth_for
from worldsim.models.shield import shielded
from worldsim.simulation.confidence import LEVEL, STATISTICS, Trust
from worldsim.simulation.world_model import WorldModel

Progress = Callable[[int, int], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Dreamt chunks.

    Attributes:
        statistics: what the step told of itself (N, S).
        error: mean square distance from the true latent frame, in variances of latent frames (N,): 1 is no better than
            always guessing the mean.
        horizon: chunks since the past, from 1 (N,).
        seeds: map seeds (N,).
        candidates: other signals (N,) by name, which trust might be made of; larger stands for worse.
    """

    statistics: Floats
    error: Floats
    horizon: NDArray[np.int64]
    seeds: NDArray[np.int64]
    candidates: dict[str, Floats]

    @property
    def believable(self) -> NDArray[np.bool_]:
        """Which are near enough to the truth (N,)."""
        return self.error < LEVEL


@shielded
def dream_samples(
    world: WorldModel,
    clips: Clips,
    prefix: int,
    *,
    rows: int = 8,
    twice: bool = False,
    progress: Progress = lambda *_: None,
) -> Samples:
    """Dream on from ``prefix`` frames of every clip under its recorded actions, and compare with the recording.

    ``twice``: dream everything with other noise too, for the candidate "disagreement of two noises".
    """
    total = len(clips.frames)
    count = (clips.frames.shape[1] - prefix) // world.chunk
    parts, truths = [], []
    for at in range(0, total, rows):
        one = clips.part(slice(at, at + rows))
        seeds = np.arange(at, at + len(one.frames))
        truths.append(world.encode(one.frames[:, : prefix + count * world.chunk])[:, -count:])
        parts.append(_dream(world, one, prefix, seeds, truths[-1], [seeds + total] if twice else []))
        progress(min(total, at + rows), total)
    everything = torch.cat(truths)
    variance = float((everything - everything.mean((0, 1))).square().mean())
    gathered = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    known = ("statistics", "error", "horizon", "seeds")
    return Samples(
        statistics=gathered["statistics"].astype(np.float64),
        error=gathered["error"].astype(np.float64) / variance,
        horizon=gathered["horizon"],
        seeds=gathered["seeds"],
        candidates={name: value.astype(np.float64) for name, value in gathered.items() if name not in known},
    )


def _dream(
    world: WorldModel, clips: Clips, prefix: int, seeds: NDArray, truth_BKCHW: torch.Tensor, others: list[NDArray]
) -> dict[str, NDArray]:
    """Values (B K, ...) by name of one batch of dreams, beside those with ``others``' seeds."""
    past = clips.between(0, prefix)
    known = {"poses": past.poses, "depth": depth_for(world, past)}
    states = [world.prefill(past.frames, past.actions, each.tolist(), **known) for each in (seeds, *others)]
    sharp = _sharpness(clips.frames[:, prefix - 1])
    rows: list[dict[str, NDArray]] = []
    uncertainty = states[0].uncertainty[:, 1]
    for k in range(truth_BKCHW.shape[1]):
        first = prefix - 1 + k * world.chunk
        actions = clips.actions[:, first : first + world.chunk]
        before = states[0].latent
        stepped = [world.step(state, actions, inplace=True) for state in states]
        states, out = [state for state, _ in stepped], stepped[0][1]
        row = {
            "statistics": out.statistics,
            "error": _distance(out.latents, truth_BKCHW[:, k]),
            "horizon": np.full(len(seeds), k + 1),
            "seeds": clips.maps,
            "log residual of the last step": (states[0].uncertainty[:, 1] - uncertainty).cpu().numpy(),
            "change of latents": _distance(out.latents, before),
            "lost sharpness": sharp / _sharpness(out.frames[:, -1]),
        }
        if others:
            row["disagreement of two noises"] = _distance(out.latents, stepped[1][1].latents)
        rows.append(row)
        uncertainty = states[0].uncertainty[:, 1]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _distance(a: torch.Tensor, b: torch.Tensor) -> NDArray[np.float32]:
    """Mean square difference (B,)."""
    return (a - b).square().flatten(1).mean(1).cpu().numpy()


def _sharpness(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean difference of neighbouring pixels (B,), in grey levels."""
    return np.abs(np.diff(frames.astype(np.float32), axis=2)).mean((1, 2, 3)) + 1e-3


@shielded
def fit_trust(world: WorldModel, samples: Samples, about: dict[str, Any], *, ridge: float = 1e-2) -> Trust:
    """Logistic regression of ``believable`` on the statistics by Newton's method.

    Raises:
        ValueError: all samples are believable, or none is: there is nothing to tell apart.
    """
    y = samples.believable.astype(np.float64)
    if y.min() == y.max():
        raise ValueError(
            f"all {len(y)} dreamt chunks are on one side of believable ({y.mean():.0%}): "
            "take more clips, or a longer horizon (chunks=)"
        )
    centre, scale = samples.statistics.mean(0), samples.statistics.std(0).clip(1e-6)
    x = np.concatenate([(samples.statistics - centre) / scale, np.ones((len(y), 1))], 1)
    penalty = ridge * len(y) * np.diag([1.0] * (x.shape[1] - 1) + [1e-6])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(hessian, x.T @ (y - p) - penalty @ weights)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    centre_S, scale_S, weights_S, bias = (
        torch.tensor(value, dtype=torch.float32) for value in (centre, scale, weights[:-1], weights[-1])
    )
    return Trust(centre_S, scale_S, weights_S, bias, sampling=asdict(world.config.sampling), about=about)


@shielded
def check_trust(trust: Trust, samples: Samples, bins: int = 5) -> dict[str, Any]:
    """How well the probabilities hold: discrimination, calibration, and how each statistic alone goes with the error.

    Returns:
        ``auroc`` (over all, and at horizons from half the longest on, where age tells little), ``brier`` beside that
        of always saying the mean, ``ece`` (mean distance of promised from kept), ``reliability`` (a row per bin of
        equal width: promised, kept, share), and ``signals``: the same for each statistic and candidate alone, with
        their rank correlation with the error.
    """
    p = trust(torch.tensor(samples.statistics, dtype=torch.float32)).numpy().astype(np.float64)
    y = samples.believable
    place = np.minimum((p * bins).astype(int), bins - 1)
    rows = [
        {"promised": round(p[m].mean(), 3), "kept": round(y[m].mean(), 3), "share": round(m.mean(), 3)}
        for m in (place == b for b in range(bins))
        if m.any()
    ]
    late = samples.horizon > samples.horizon.max() / 2
    signals = {"trust": -p} | dict(zip(STATISTICS, samples.statistics.T, strict=True)) | samples.candidates
    return {
        "samples": len(p),
        "maps": len(np.unique(samples.seeds)),
        "believable": round(float(y.mean()), 3),
        "auroc": auroc(p, y),
        "auroc_late": auroc(p[late], y[late]),
        "brier": round(float(np.square(p - y).mean()), 4),
        "brier_of_the_mean": round(float(y.mean() * (1 - y.mean())), 4),
        "ece": round(sum(row["share"] * abs(row["promised"] - row["kept"]) for row in rows), 4),
        "reliability": rows,
        "signals": {
            name: {
                "auroc": auroc(-value, y),
                "auroc_late": auroc(-value[late], y[late]),
                "spearman": spearman(value, samples.error),
                "spearman_within_horizon": _within(value, samples),
            }
            for name, value in signals.items()
        },
    }


def auroc(score: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive outscores a negative; None where there is only one kind."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    ranks = rankdata(score)
    return round(float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count))), 3)


def spearman(a: Floats, b: Floats) -> float | None:
    """Rank correlation; None where one of both does not vary."""
    x, y = rankdata(a), rankdata(b)
    if x.std() == 0 or y.std() == 0:
        return None
    return round(float(np.corrcoef(x, y)[0, 1]), 3)


def _within(value: Floats, samples: Samples) -> float | None:
    """Mean rank correlation with the error among chunks of equal horizon: what age alone cannot tell."""
    each = [
        spearman(value[samples.horizon == h], samples.error[samples.horizon == h]) for h in np.unique(samples.horizon)
    ]
    known = [one for one in each if one is not None]
    return round(float(np.mean(known)), 3) if known else None
