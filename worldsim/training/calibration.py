"""How good probabilities are: ranking, error, calibration. N judged moments; truth is 0 or 1."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
BINS = 10


def auroc(truth: Floats, score: Floats) -> float:
    """Chance that a moment where it is true scores above one where it is not (ties count half); nan with one kind."""
    positive = truth > 0.5
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def brier(truth: Floats, probability: Floats) -> float:
    """Mean squared error of probabilities (Brier 1950)."""
    return float(np.square(probability - truth).mean())


def calibration_error(truth: Floats, probability: Floats) -> float:
    """Expected calibration error over ten bins that hold equally many moments."""
    parts = np.array_split(np.argsort(probability, kind="stable"), BINS)
    gaps = [abs(probability[rows].mean() - truth[rows].mean()) * len(rows) for rows in parts if len(rows)]
    return float(sum(gaps) / max(1, len(truth)))


def report(truth: Floats, probability: Floats) -> dict[str, float]:
    """AUROC, Brier score beside that of always naming the base rate, calibration error."""
    rate = float(truth.mean())
    return {
        "moments": float(len(truth)),
        "base_rate": rate,
        "auroc": auroc(truth, probability),
        "brier": brier(truth, probability),
        "brier_base_rate": rate * (1 - rate),
        "calibration_error": calibration_error(truth, probability),
    }


def fit_platt(logits: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Slope and shift that make sigmoid(slope * logit + shift) a calibrated probability (Platt 1999).

    With his smoothed targets, so that few positives do not drive it to certainty.
    """
    positives, negatives = float(truth.sum()), float((1 - truth).sum())
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = torch.where(truth > 0.5, high, low).double()
    x, weights = logits.double(), torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = torch.nn.functional.binary_cross_entropy_with_logits(weights[0] * x + weights[1], target)
        error.backward()
        return error

    optimizer.step(loss)
    slope, shift = weights.detach().tolist()
    # A falling curve would mean that the head is worse than chance: then the base rate is all that is known.
    return (slope, shift) if slope > 0 else (0.0, float(np.log(high_odds(positives, negatives))))


def high_odds(positives: float, negatives: float) -> float:
    """Odds of the base rate, one of each kind added."""
    return (positives + 1) / (negatives + 1)
