"""Values of single starts that a report keeps, so that two reports of the same starts can be compared in pairs.

N starts, each of one map. A measure of them is the mean of values, or that mean over the mean of other values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.evaluation.measures.statistics import estimate

# Where an estimate keeps them.
KEY = "by_start"
# Chunks whose numbers stand in tables, beside the last one's.
REPORTED = (1, 5, 10, 20)


def by_start(values: ArrayLike, maps: ArrayLike, over: ArrayLike | None = None) -> dict[str, Any]:
    """What to add to an estimate: its values (N,), the map of each, and the values (N,) it is a ratio over, if any.

    Raises:
        ValueError: there are not as many of each.
    """
    columns = {"values": values, "maps": maps} | ({} if over is None else {"over": over})
    out = {name: np.asarray(column) for name, column in columns.items()}
    if len({column.shape for column in out.values()}) > 1 or out["values"].ndim != 1:
        raise ValueError(f"not one row a start: {[(name, column.shape) for name, column in out.items()]}")
    kept = {name: out[name].astype(np.float64).round(6).tolist() for name in out if name != "maps"}
    return {KEY: kept | {"maps": out["maps"].tolist()}}


def estimate_by_start(values: ArrayLike, maps: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """The mean of values (N,) as ``estimate`` gives it, with the values themselves."""
    return estimate(values, maps, seed=seed) | by_start(values, maps)


def by_start_at(table: ArrayLike, maps: ArrayLike, columns: Sequence[int]) -> dict[str, Any]:
    """The same for chosen columns of a curve's table (N, H), by the number of the column."""
    values = np.asarray(table)
    return {KEY: {str(h): by_start(values[:, h], maps)[KEY] for h in columns}}


def error_ratio(errors: Mapping[str, NDArray], name: str, than: str, maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """How many times the mean error ``than`` the error ``name`` is, with its interval over maps."""
    found = estimate(
        errors[than], maps, seed=seed, statistic=lambda i: float(errors[name][i].mean() / errors[than][i].mean())
    )
    return found | by_start(errors[name], maps, errors[than])


def reported_chunks(chunks: int) -> list[int]:
    """The chunks, from 1, of a horizon whose numbers stand in tables."""
    return sorted({chunk for chunk in (*REPORTED, chunks) if chunk <= chunks})


def without_starts(results: Any) -> Any:
    """Results without the values of single starts."""
    if isinstance(results, Mapping):
        return {key: without_starts(value) for key, value in results.items() if key != KEY}
    return [without_starts(value) for value in results] if isinstance(results, list) else results


@dataclass(frozen=True)
class Starts:
    """A measure's values (N,), what it is a ratio over (N,), and the maps (N,); NaN: a start that does not count."""

    values: NDArray[np.float64]
    over: NDArray[np.float64] | None
    maps: NDArray[np.int64]

    @staticmethod
    def of(kept: Any) -> "Starts | None":
        """Read what ``by_start`` kept; None where there is nothing of that form."""
        if not isinstance(kept, Mapping) or not {"values", "maps"} <= set(kept):
            return None
        try:
            values = np.array(kept["values"], np.float64)
            over = None if kept.get("over") is None else np.array(kept["over"], np.float64)
            maps = np.array(kept["maps"], np.int64)
        except (TypeError, ValueError, OverflowError):
            return None
        shapes = {column.shape for column in (values, over, maps) if column is not None}
        return Starts(values, over, maps) if shapes == {(len(values),)} else None

    def measure(self, rows: NDArray[np.int64]) -> float:
        """The measure over some starts; NaN where none of them counts."""
        parts = (self.values[rows], None if self.over is None else self.over[rows])
        above, below = (None if part is None else part[~np.isnan(part)] for part in parts)
        if above is None or not len(above) or (below is not None and (not len(below) or below.mean() == 0)):
            return float("nan")
        return float(above.mean() if below is None else above.mean() / below.mean())


def paired(first: Starts, last: Starts, seed: int = 0) -> dict[str, Any]:
    """By how much ``last`` is above ``first``, both measured on the same starts: an estimate with its interval.

    Maps are drawn with replacement, of both alike.

    Raises:
        ValueError: the starts are of other maps.
    """
    if not np.array_equal(first.maps, last.maps):
        raise ValueError(f"{len(first.maps)} starts and {len(last.maps)} starts, not of the same maps")
    return estimate(
        np.zeros(len(first.maps)),
        first.maps,
        statistic=lambda rows: last.measure(rows) - first.measure(rows),
        seed=seed,
    )
