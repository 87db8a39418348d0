"""Kinds of failure: how often each happens, and which rollouts to look at.

Every kind has an operational definition, which its part owns, a rate with an interval over maps, and a severity per
rollout, by which the gallery is chosen: its 0, 25, 50, 75 and 100 % quantiles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import quantile_members


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Per rollout of one kind: how bad it is (higher is worse), whether it counts as a failure, and its map."""

    severity: NDArray[np.float64]
    failed: NDArray[np.bool_]
    maps: NDArray[np.int64]


def failure_entry(definition: str, found: Failures, seed: int = 0) -> dict[str, Any]:
    """Definition, rate with interval, and the rows of the gallery."""
    return {
        "definition": definition,
        "rate": estimate_by_start(found.failed, found.maps, seed),
        "gallery": quantile_members(np.nan_to_num(found.severity, nan=0.0)),
        "severity": np.asarray(found.severity, np.float64).round(4).tolist(),
    }
