"""Charts of points over a logarithmic axis, one by one or several as one SVG file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldsim.plotting.render import TIP, WIDTH, plain, svg
from worldsim.plotting.style import CURVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 260
# Free space at both ends of an axis, as a share of what the points span.
MARGIN = 0.1
# Decades up to which the axis has ticks at 2 and 5 too.
FINE_DECADES = 2.5


@dataclass(frozen=True)
class Point:
    """A point: what it is, where (``x`` above 0), its value, and the bounds of its interval, if it has one."""

    name: str
    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """Points with their intervals, and a line through (x, value) of ``joined``; made by ``scatter``."""

    title: str
    points: tuple[Point, ...]
    joined: tuple[tuple[float, float], ...]
    x_label: str = ""
    y_label: str = ""

    def svg(self) -> str:
        """As an element of a page, without the title above it."""
        return svg(lambda figure: _draw(figure.add_subplot(), self), self.title, height=HEIGHT)


def scatter(
    points: Sequence[Point],
    joined: Sequence[tuple[float, float]],
    title: str,
    *,
    x_label: str = "",
    y_label: str = "",
) -> Chart:
    """Points with their intervals over a logarithmic axis, and a line through (x, value) of ``joined``.

    Raises:
        ValueError: there is no point, or one whose x is not above 0.
    """
    if not points or min(p.x for p in points) <= 0:
        raise ValueError(f"points need an x above 0, got {[p.x for p in points]}")
    return Chart(title, tuple(points), tuple(joined), x_label, y_label)


def standing_alone(charts: Sequence[Chart], title: str, columns: int = 2) -> str:
    """Charts below and beside each other as the text of one SVG file, with its own style, light and dark."""
    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)

    def draw(figure: "Figure") -> None:
        figure.suptitle(plain(title), x=0.01, ha="left")
        for i, chart in enumerate(charts):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.set_title(plain(chart.title))
            _draw(axes, chart)

    return svg(draw, title, width=columns * WIDTH, height=rows * (HEIGHT + 30) + 30, standalone=True)


def _draw(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(xlabel=plain(chart.x_label), ylabel=plain(chart.y_label), xscale="log")
    places = [math.log10(p.x) for p in chart.points]
    span = max(places) - min(places)
    room = MARGIN * span or 0.1
    axes.set_xlim(10 ** (min(places) - room), 10 ** (max(places) + room))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < FINE_DECADES else (1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: _tick(value))
    axes.margins(y=MARGIN)
    axes.plot([x for x, _ in chart.joined], [value for _, value in chart.joined], color=CURVES[0])
    for i, p in enumerate(chart.points):
        if p.low is not None and p.high is not None:
            axes.vlines(p.x, p.low, p.high, color=axes.spines["bottom"].get_edgecolor(), linewidth=1.2)
        [mark] = axes.plot(p.x, p.value, "o", color=CURVES[0], markersize=6)
        mark.set_gid(f"{TIP}{plain(p.name)}: {p.value:g} at {p.x:.4g}")
        # In the left half the name stands on the right of its point.
        right = places[i] <= min(places) + span / 2
        above = _above(chart, i, right)
        axes.annotate(
            plain(p.name),
            (p.x, p.value),
            (6 if right else -6, 6 if above else -6),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if above else "top",
        ).set_in_layout(False)


def _above(chart: Chart, number: int, right: bool) -> bool:
    """Whether the name of a point stands above it: of several at one x the higher, else where the line is not."""
    p = chart.points[number]
    same = [i for i, other in enumerate(chart.points) if math.isclose(other.x, p.x, rel_tol=1e-3)]
    if len(same) > 1:
        ranked = sorted(same, key=lambda i: (chart.points[i].value, -i))
        return ranked.index(number) >= len(same) / 2
    falling = len(chart.joined) > 1 and chart.joined[-1][1] < chart.joined[0][1]
    return right == falling


def _tick(value: float) -> str:
    """A tick of a logarithmic axis: 0.5, 20, 1,000, 10⁶, 2·10⁶."""
    if 1e-3 <= value < 1e5:
        return f"{value:,.10g}"
    front, power = f"{value:.10e}".split("e")
    digits = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if float(front) == 1 else f"{float(front):g}·10{digits}"
