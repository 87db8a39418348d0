"""Charts of points over a logarithmic axis, and several of them as one SVG file that stands alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from worldsim.plotting.charts import WIDTH, Axes, svg
from worldsim.plotting.style import CURVES, SVG_STYLE

HEIGHT, HEAD, APART = 220, 26, 24
# Free room at the ends of both axes, as a share of what the points need.
ROOM = 0.08


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
    """What is drawn ``inside`` the pixels of a chart, and its title."""

    title: str
    inside: str

    def svg(self) -> str:
        """As an element of a page."""
        return svg(HEIGHT, self.inside, self.title)


def scatter(points: Sequence[Point], joined: Sequence[tuple[float, float]], title: str) -> Chart:
    """Points with their intervals over a logarithmic level axis, and a line through (x, value) of ``joined``.

    Raises:
        ValueError: there is no point, or one whose x is not above 0.
    """
    if not points or min(p.x for p in points) <= 0:
        raise ValueError(f"points need an x above 0, got {[p.x for p in points]}")
    known = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    low, high = _with_room(min(known), max(known))
    first, last = _with_room(math.log10(min(p.x for p in points)), math.log10(max(p.x for p in points)))
    axes = Axes(low=low, high=high, height=HEIGHT)

    def across(x: float) -> float:
        return axes.across((math.log10(x) - first) / (last - first))

    parts = [axes.drawn(lambda share: 10 ** (first + share * (last - first)))]
    path = " ".join(f"{across(x):.1f},{axes.up(value):.1f}" for x, value in joined)
    parts.append(f'<polyline points="{path}" stroke="{CURVES[0]}"/>')
    for i, p in enumerate(points):
        x, y = across(p.x), axes.up(p.value)
        if p.low is not None and p.high is not None:
            ends = f'y1="{axes.up(p.low):.1f}" y2="{axes.up(p.high):.1f}"'
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        told = f"<title>{escape(p.name)}: {p.value:g} at {p.x:.4g}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4">{told}</circle>')
        # Equal x: names above and below in turn.
        down = 16 if sum(math.isclose(other.x, p.x, rel_tol=1e-3) for other in points[:i]) % 2 else -6
        aside, anchor = (8, "start") if x < WIDTH / 2 else (-8, "end")
        parts.append(f'<text x="{x + aside:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{escape(p.name)}</text>')
    return Chart(title, "".join(parts))


def standing_alone(charts: Sequence[Chart], title: str, columns: int = 2) -> str:
    """Charts below and beside each other as the text of one SVG file, with its own style, light and dark."""
    columns = min(columns, len(charts))
    tall, wide = HEAD + HEIGHT + APART, WIDTH + APART
    width, height = columns * wide + APART, HEAD + APART + -(-len(charts) // columns) * tall
    cells = [
        f'<g transform="translate({APART + i % columns * wide} {HEAD + APART + i // columns * tall})">'
        f'<text class="head" x="0" y="14">{escape(chart.title)}</text>'
        f'<g transform="translate(0 {HEAD})">{chart.inside}</g></g>'
        for i, chart in enumerate(charts)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}"><title>{escape(title)}</title><style>{SVG_STYLE}</style>'
        f'<rect class="back" width="{width}" height="{height}"/>'
        f'<text class="head" x="{APART}" y="{HEAD}">{escape(title)}</text>{"".join(cells)}</svg>\n'
    )


def _with_room(low: float, high: float) -> tuple[float, float]:
    room = ROOM * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
