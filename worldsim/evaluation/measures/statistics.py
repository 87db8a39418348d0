"""Statistics of an evaluation: the unit is the map, never the clip or the frame.

N observations, each of one map; H horizons; R resamples.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
Statistic = Callable[[NDArray[np.int64]], float]


def resampled_maps(maps: int, seed: int = 0, draws: int = RESAMPLES) -> NDArray[np.int64]:
    """Numbers (R, M) of the maps in each of R cluster-bootstrap samples: M maps drawn with replacement.

    All observations of a drawn map come along. Source: Cameron, Gelbach and Miller 2008, "Bootstrap-based improvements
    for inference with clustered errors".
    """
    return np.random.default_rng(seed).integers(maps, size=(draws, maps))


def estimate(
    values: ArrayLike, maps: ArrayLike, *, statistic: Statistic | None = None, seed: int = 0
) -> dict[str, Any]:
    """A statistic of observations (N,) with its 95 % cluster-bootstrap interval.

    Args:
        values: observations; NaN marks those that do not count.
        maps: the map of each.
        statistic: of row numbers; default: the mean of their values.
        seed: of the resampling.

    Returns:
        ``value``, ``low``, ``high`` (None with fewer than two maps, or nothing to count), ``count`` and ``maps``.
    """
    values, maps = np.asarray(values, np.float64), np.asarray(maps)
    if values.shape != maps.shape:
        raise ValueError(f"{values.shape} values, but maps {maps.shape}")
    counted = np.flatnonzero(~np.isnan(values))
    if statistic is not None and len(counted) != len(values):
        raise ValueError("a statistic of its own cannot leave observations out")
    values, maps = values[counted], maps[counted]
    names, number = np.unique(maps, return_inverse=True)
    out: dict[str, Any] = {"value": None, "low": None, "high": None, "count": len(values), "maps": len(names)}
    if not len(values):
        return out
    out["value"] = _plain(float(values.mean()) if statistic is None else statistic(np.arange(len(values))))
    if len(names) > 1:
        drawn = resampled_maps(len(names), seed)
        if statistic is None:
            sums, counts = np.bincount(number, values), np.bincount(number)
            spread = sums[drawn].sum(1) / counts[drawn].sum(1)
        else:
            members = [np.flatnonzero(number == m) for m in range(len(names))]
            spread = np.array([statistic(np.concatenate([members[m] for m in row])) for row in drawn])
        if np.isfinite(spread).any():
            out["low"], out["high"] = (_plain(v) for v in np.nanquantile(spread, (0.025, 0.975)))
    return out


def curve(values: ArrayLike, maps: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """Means over observations (N, H) with their intervals, horizon by horizon: lists ``value``, ``low``, ``high``."""
    values = np.asarray(values, np.float64)
    points = [estimate(values[:, h], maps, seed=seed) for h in range(values.shape[1])]
    out: dict[str, Any] = {key: [p[key] for p in points] for key in ("value", "low", "high")}
    return out | {"count": len(values), "maps": len(np.unique(np.asarray(maps)))}


def survival(times: ArrayLike, failed: ArrayLike, horizon: int) -> NDArray[np.float64]:
    """Share (horizon + 1,) that has more than 0, 1, ... good steps (Kaplan and Meier 1958).

    Args:
        times: good steps (N,) of each before it failed, or before it was no longer watched.
        failed: whether it failed then (N,); False: censored.
        horizon: most steps that are watched.
    """
    # (As scipy.stats.ecdf does, in a hundredth of its time: intervals take thousands of these.)
    times = np.minimum(np.asarray(times, np.int64), horizon + 1)
    ended = np.bincount(times, np.asarray(failed, bool), minlength=horizon + 2)
    watched = np.bincount(times, minlength=horizon + 2)[::-1].cumsum()[::-1]
    return np.cumprod(1 - ended / np.maximum(watched, 1), dtype=np.float64)[: horizon + 1]


def survival_summary(
    times: ArrayLike, failed: ArrayLike, maps: ArrayLike, horizon: int, seed: int = 0
) -> dict[str, Any]:
    """Survival curve, median (None: beyond the horizon) and mean time up to the horizon, with intervals over maps."""
    times, failed = np.asarray(times), np.asarray(failed, bool)

    def restricted_mean(rows: NDArray[np.int64]) -> float:
        return float(survival(times[rows], failed[rows], horizon)[:-1].sum())

    curve = survival(times, failed, horizon)
    below = np.flatnonzero(curve <= 0.5)
    return {
        "survival": curve.round(4).tolist(),
        "median": int(below[0]) if len(below) else None,
        "restricted_mean": estimate(times.astype(float), maps, statistic=restricted_mean, seed=seed),
        "failed": int(failed.sum()),
        "censored": int((~failed).sum()),
        "horizon": horizon,
    }


def quantile_members(values: ArrayLike, quantiles: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1)) -> list[int]:
    """Rows at the given quantiles of ``values`` (N,), for galleries that nobody picked by hand."""
    order = np.argsort(np.asarray(values, np.float64), kind="stable")
    return [int(order[round(q * (len(order) - 1))]) for q in quantiles] if len(order) else []


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
