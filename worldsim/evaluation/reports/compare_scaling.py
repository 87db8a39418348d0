"""How measures go with training compute: a chart each, over a logarithmic axis."""

import math
from collections.abc import Sequence

from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.reports.compare_differences import Row
from worldsim.evaluation.reports.compare_reports import Report
from worldsim.plotting.scatter import Chart, Point, scatter

AXIS = "training compute, TFLOP"
# Relative difference up to which trainings count as equally long.
EQUAL = 1e-3


def scaling_charts(reports: Sequence[Report], rows: Sequence[Row], chosen: Sequence[str] = ()) -> list[Chart]:
    """A chart of every measure whose name begins with one of ``chosen``; none where fewer than two compute are known.

    By default the headlines of all parts are drawn. Every report is a point, with its interval. The line goes through
    the means of equally long trainings, by compute.
    """
    charts, headlines = [], tuple(start for part in PARTS.values() for start in part.headlines)
    for row in rows:
        if not row.name.startswith(tuple(chosen) or headlines):
            continue
        scale = 100 if row.unit == "%" else 1
        points = [
            Point(
                name=report.name,
                x=report.tflop,
                value=scale * measure.value,
                low=_times(scale, measure.low),
                high=_times(scale, measure.high),
            )
            for report, measure in zip(reports, row.measures, strict=True)
            if report.tflop is not None and measure is not None and measure.value is not None
        ]
        if len(points) > 1:
            title = f"{row.name}{f', {row.unit}' if row.unit else ''}"
            line = mean_line([(p.x, p.value) for p in points])
            charts.append(scatter(points, line, title, x_label=AXIS, y_label=row.unit))
    return charts


def mean_line(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (compute, value) in order of compute, equally long trainings as one of their mean value."""
    groups: list[list[tuple[float, float]]] = []
    for point in sorted(points):
        if groups and math.isclose(groups[-1][0][0], point[0], rel_tol=EQUAL):
            groups[-1].append(point)
        else:
            groups.append([point])
    return [(group[0][0], sum(value for _, value in group) / len(group)) for group in groups]


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
