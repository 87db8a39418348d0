"""When a long dream has drifted: sharpness and colours beyond what recorded play shows over the same time.

A future is judged by its worst window, and a minute has many: the bounds are chosen on whole recorded futures too.

B futures, S seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What recorded play shows: bounds of sharpness and, by gap (S + 1,), colour change, over ``window`` seconds."""

    low: float
    high: float
    colour: NDArray[np.float64]
    window: int


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """Once a second: sharpness (B, S + 1), cumulative colour histograms (B, S + 1, 3, bins); latents' norm (B, S)."""

    sharpness: NDArray[np.float64]
    colours: NDArray[np.float64]
    norm: NDArray[np.float64]

    def part(self, rows: NDArray) -> "LongRun":
        """Some of the rollouts."""
        return LongRun(sharpness=self.sharpness[rows], colours=self.colours[rows], norm=self.norm[rows])


def spread_of(recorded: LongRun, false_alarms: float, window: int) -> Spread:
    """The bounds that a share ``false_alarms`` of recorded futures leaves somewhere.

    A future has three extremes: its least and most sharp window, and the one whose colours are furthest from the
    start's for the time between. Each is compared, in logarithms, with the median of all futures, in units of their
    median absolute deviation. One limit on the largest of the three gives all three bounds, which together leave out
    the wanted share.
    """
    change = colour_change(recorded)
    # A gap longer than every future is judged by the longest one seen.
    mean = np.nansum(change, 0) / np.maximum(1, (~np.isnan(change)).sum(0))
    usual = np.maximum(np.maximum.accumulate(mean), 1e-9)
    sharp, far = windows(recorded, usual, window)
    extremes = np.stack([np.fmin.reduce(sharp, axis=1), np.fmax.reduce(sharp, axis=1), np.fmax.reduce(far, axis=1)], 1)
    signs = np.array([-1, 1, 1])
    extremes = signs * np.log(np.maximum(extremes, 1e-9))
    median = np.median(extremes, 0)
    deviation = np.maximum(np.median(np.abs(extremes - median), 0), 1e-9)
    limit = np.quantile(((extremes - median) / deviation).max(1), 1 - false_alarms)
    low, high, furthest = np.exp(signs * (median + limit * deviation))
    return Spread(low=float(low), high=float(high), colour=usual * furthest, window=window)


def recorded_collapses(recorded: LongRun, maps: NDArray, false_alarms: float, window: int) -> NDArray[np.float64]:
    """Whether each recorded future (B,) is out of the spread of all other maps; NaN where there is no other map."""
    out = np.full(len(maps), np.nan)
    for own in (maps == number for number in np.unique(maps)):
        if not own.all():
            spread = spread_of(recorded.part(~own), false_alarms, window)
            out[own] = collapsed(out_of_spread(recorded.part(own), spread))
    return out


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means (B, S - w + 1) of values (B, S) over ``window`` seconds; NaN (B, 1) where there are fewer."""
    if values.shape[1] < window:
        return np.full((len(values), 1), np.nan)
    return np.lib.stride_tricks.sliding_window_view(values, window, axis=1).mean(-1)


def colour_change(run: LongRun) -> NDArray[np.float64]:
    """How far the colours (B, S + 1) are from those of the start."""
    return np.abs(run.colours - run.colours[:, :1]).mean((2, 3))


def windows(run: LongRun, usual: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean sharpness, and colour change in units of ``usual`` (S + 1,), by window (B, S - w + 1) after the start."""
    change = colour_change(run)[:, 1:]
    return running_mean(run.sharpness[:, 1:], window), running_mean(change / usual[1 : change.shape[1] + 1], window)


def out_of_spread(run: LongRun, spread: Spread) -> NDArray[np.float64]:
    """Whether each window of ``spread.window`` seconds (B, S - w + 1) lies outside of what recorded play shows.

    In sharpness: outside of the bounds. In colours: further from the start than recorded play goes in the same time.
    NaN where a future is too short to have that window.
    """
    sharp, far = windows(run, spread.colour, spread.window)
    outside = (sharp < spread.low) | (sharp > spread.high) | (far > 1)
    return np.where(np.isnan(sharp), np.nan, outside)


def collapsed(outside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whether any window of each future (B,) lies outside; NaN where it has none."""
    return np.fmax.reduce(outside, axis=1)


def slope_per_minute(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change a minute (B,) of values (B, S) once a second: least squares on their logarithm, NaN left out."""
    out = np.full(len(values), np.nan)
    for row, series in enumerate(values):
        known = np.flatnonzero(np.isfinite(series) & (series > 0))
        if len(known) > 2:
            out[row] = np.polyfit(known / 60, np.log(series[known]), 1)[0]
    return out
