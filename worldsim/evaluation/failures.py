"""The taxonomy of failures: what each is, how often it happens, and which rollouts to look at.

Every kind has an operational definition (thresholds: ``EvalThresholds``), a rate with an interval over maps, and a
severity per rollout, by which the gallery is chosen: its 0, 25, 50, 75 and 100 % quantiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.config import EvalThresholds
from worldsim.evaluation.starts import estimate_by_start
from worldsim.evaluation.statistics import quantile_members

DEFINITIONS: Mapping[str, str] = {
    "disappearance": "while nothing is done, {object_cells} or more neighbouring 8x8 cells lose their local contrast "
    "by a factor of {object_gain:g} (in units of the whole picture's)",
    "spontaneous object": "while nothing is done, {object_cells} or more neighbouring 8x8 cells that were nearly even "
    "come to a local contrast of {object_contrast:g} and {object_gain:g} times what they had",
    "identity drift": "after looking away and back, less than {memory_recall:g} of the likeness is left that there is "
    "without looking away, above that of another view; or even without looking away none is left",
    "motion discontinuity": "between two chunks the picture changes by {jump_grey:g} grey values or more, and by more "
    "than {jump_ratio:g} times what recorded play does within a chunk of that moment",
    "causal-state error": "less than {persistence:g} of a dug block's change is left after looking away and back, or "
    "all else in its place differs by more than that change: its view is lost",
    "action ignored": "a turn of {turn_degrees:g} degrees a frame moves the picture the wrong way, or by less than "
    "{ignored_effect:g} of what recorded turns show, to one side or the other",
    "obstacle walked through": "holding forward against what stopped the recorded player, the dream covers "
    "{obstacle_share:g} or more of what it covers where nothing is in the way, by its own account",
    "collapse": "over some {collapse_seconds:g} seconds, mean sharpness or colours lie outside of the bounds that "
    "{collapse_false_alarms:.0%} of recorded play's own futures leave somewhere",
}


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Per rollout of one kind: how bad it is (higher is worse), whether it counts as a failure, and its map."""

    severity: NDArray[np.float64]
    failed: NDArray[np.bool_]
    maps: NDArray[np.int64]


def definition(kind: str, limits: EvalThresholds) -> str:
    """What counts as this kind of failure, in words with its thresholds."""
    return DEFINITIONS[kind].format(**vars(limits))


def discontinuities(
    made: NDArray, real: NDArray, limits: EvalThresholds
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the changes between chunks (B, K) of dreams and of recorded play."""
    padded = np.pad(real, ((0, 0), (1, 1)), mode="edge")
    nearby = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    ratio = np.where(made >= limits.jump_grey, made / np.maximum(nearby, limits.jump_grey / limits.jump_ratio), 0)
    worst = ratio.max(1)
    return worst, worst > limits.jump_ratio


def ignored(
    right: NDArray, left: NDArray, usual: float, limits: EvalThresholds
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the evidence of turning right (wanted negative) and left (wanted positive).

    ``usual``: mean evidence of recorded turns, without its sign.
    """
    weakest = np.minimum(-right, left) / max(1e-9, usual)
    return -weakest, weakest < limits.ignored_effect


def forgotten(left: NDArray, least: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the share that is left of a view or a change; NaN, none can be told, is none."""
    return 1 - np.nan_to_num(left, nan=0.0), np.isnan(left) | (left < least)


def failure_entry(kind: str, found: Failures, limits: EvalThresholds, seed: int = 0) -> dict[str, Any]:
    """Definition, rate with interval, and the rows of the gallery."""
    return {
        "definition": definition(kind, limits),
        "rate": estimate_by_start(found.failed, found.maps, seed),
        "gallery": quantile_members(np.nan_to_num(found.severity, nan=0.0)),
        "severity": np.asarray(found.severity, np.float64).round(4).tolist(),
    }
