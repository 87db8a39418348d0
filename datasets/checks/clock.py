"""Is the frame rate what it says? For recordings that kept the time of each frame (``state/time``, seconds)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What programs call the time of a frame, in seconds.
TIME_NAMES = ("time", "timestamp")


@dataclass(frozen=True)
class Clock:
    """Times between successive frames.

    Attributes:
        rate: frames a second, from the median step.
        jitter: half of the range of the middle 90 % of the steps, as a share of the median step.
        backwards: steps at which time stood still or ran back.
        gaps: steps of more than one and a half frames: something was not recorded.
        worst: the longest step in seconds.
        first: the frame after the first step back or gap; -1 if there is none.
    """

    rate: float
    jitter: float
    backwards: int
    gaps: int
    worst: float
    first: int


def read_clock(state: Mapping[str, NDArray[Any]]) -> Clock | None:
    """The clock of an episode; None where no times were recorded or there are fewer than three frames.

    Raises:
        ValueError: a time is not a number.
    """
    name = next((name for name in TIME_NAMES if name in state), None)
    if name is None or len(state[name]) < 3:
        return None
    times = np.asarray(state[name], np.float64).reshape(len(state[name]), -1)[:, 0]
    if not np.isfinite(times).all():
        raise ValueError(f"state/{name} holds times that are not numbers")
    steps = np.diff(times)
    forward = steps[steps > 0]
    if not len(forward):
        return Clock(0.0, 1.0, len(steps), 0, float(steps.max()), 1)
    usual = float(np.median(forward))
    low, high = np.quantile(forward, [0.05, 0.95])
    odd = (steps <= 0) | (steps > 1.5 * usual)
    return Clock(
        rate=1 / usual,
        jitter=float(high - low) / 2 / usual,
        backwards=int((steps <= 0).sum()),
        gaps=int((steps > 1.5 * usual).sum()),
        worst=float(steps.max()),
        first=int(odd.argmax()) + 1 if odd.any() else -1,
    )
