"""Curves of several evaluation reports, one chart a measure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worldsim.evaluation.interface.figures import Curve, Overlay, band
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.reports.compare_reports import Report
from worldsim.plotting.charts import lines


def overlaid(reports: Sequence[Report]) -> Iterator[tuple[str, str]]:
    """Titles and charts (SVG) of the curves that two reports have, or more: one curve a report, with its interval."""
    for name, curve in ((name, curve) for name, part in PARTS.items() for curve in part.overlays):
        found = {report.name: taken for report in reports if (taken := _taken(name, curve, report)) is not None}
        if len(found) < 2:
            continue
        places = [place for at, _ in found.values() for place in at]
        grid = range(min(places), max(places) + 1)
        drawn = {name: _on(grid, at, parts) for name, (at, parts) in found.items()}
        yield curve.title, lines(drawn, curve.title, (grid[0], grid[-1]), x_label=curve.across, y_label=curve.unit)


def _taken(part: str, curve: Overlay, report: Report) -> tuple[list[int], Curve] | None:
    """Places and values, lower and upper bounds of a report's curve; None where it has none."""
    found = _at(report.results.get(part), curve.where)
    if isinstance(found, Mapping) and {"value", "low", "high"} <= set(found):
        values, low, high = band(found)
    else:
        values, low, high = found, None, None
    at = _at(report.results.get(part), curve.at) if isinstance(curve.at, tuple) else None
    if not isinstance(values, list) or not values:
        return None
    if isinstance(curve.at, int):
        at = list(range(curve.at, curve.at + len(values)))
    columns = [column for column in (at, values, low, high) if column is not None]
    if at is None or any(not isinstance(column, list) or len(column) != len(values) for column in columns):
        return None
    return [int(place) for place in at], (values, low, high)


def _at(results: Any, where: tuple[str, ...]) -> Any:
    for key in where:
        results = results.get(key) if isinstance(results, Mapping) else None
    return results


def _on(grid: range, at: Sequence[int], parts: Curve) -> Curve:
    """The same curve with a value for every place of a grid, None where it has none: charts space them evenly."""
    values, low, high = (None if part is None else dict(zip(at, part, strict=True)) for part in parts)
    assert values is not None
    bounds = (None if part is None else [part.get(place) for place in grid] for part in (low, high))
    return ([values.get(place) for place in grid], *bounds)  # pyright: ignore[reportReturnType]
