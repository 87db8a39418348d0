"""Charts and pictures for reports: inline SVG, and JPEG as data URIs, so that a report is one file."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from worldsim.plotting.style import CURVES

Picture = NDArray[np.uint8]
WIDTH, BAR, GAP, LABEL = 640, 18, 4, 130
# Of charts with two axes: room for the numbers on the left, below, and beyond the axes.
LEFT, BELOW, MARGIN = 56, 20, 8
_ANCHOR = {0.0: "start", 0.5: "middle", 1.0: "end"}


def jpeg(picture: Picture, quality: int = 4) -> bytes:
    """A picture uint8 (H, W, 3) as JPEG; quality 2 (best) to 31, FFmpeg's scale."""
    height, width = picture.shape[:2]
    codec = cast(VideoCodecContext, av.CodecContext.create("mjpeg", "w"))
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj444p"
    codec.time_base = Fraction(1, 1)
    codec.options = {"qmin": str(quality), "qmax": str(quality)}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuvj444p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def picture_uri(picture: Picture) -> str:
    """A picture as a data URI for ``<img src=...>``."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode()


def sheet(pictures: Sequence[Picture], columns: int = 8) -> Picture:
    """Pictures (H, W, 3) in rows, each in a cell of the size of the largest."""
    height, width = max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures)
    rows = -(-len(pictures) // columns)
    out = np.full((rows * height, min(columns, len(pictures)) * width, 3), 24, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * height, i % columns * width
        out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out


def bars(rows: Sequence[tuple[str, float, str]], title: str) -> str:
    """Horizontal bars: label, length (0 or more), and the text behind the bar."""
    most = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for i, (name, value, text) in enumerate(rows):
        y, length = i * (BAR + GAP), (WIDTH - LABEL - 90) * value / most
        parts.append(
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LABEL}" y="{y}" width="{max(length, 0.5):.1f}" height="{BAR}" rx="2"/>'
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{escape(text)}</text>'
        )
    return svg(len(rows) * (BAR + GAP), "".join(parts), title)


def columns(rows: Sequence[tuple[str, float]], title: str, *, marked: int | None = None, height: int = 150) -> str:
    """Upright columns from a zero line: label and value, which may be negative; one may be marked."""
    low = min(0.0, *(value for _, value in rows))
    span = (max(0.0, *(value for _, value in rows)) - low) or 1.0
    step = WIDTH / max(1, len(rows))
    zero = height * (1 + low / span)
    parts = [f'<line x1="0" x2="{WIDTH}" y1="{zero:.1f}" y2="{zero:.1f}"/>']
    for i, (name, value) in enumerate(rows):
        top, tall = zero - max(value, 0) / span * height, abs(value) / span * height
        kind = ' class="marked"' if i == marked else ""
        parts.append(
            f'<rect{kind} x="{i * step + 2:.1f}" y="{top:.1f}" width="{step - 4:.1f}" height="{max(tall, 0.5):.1f}">'
            f"<title>{escape(name)}: {value:g}</title></rect>"
            f'<text x="{(i + 0.5) * step:.1f}" y="{height + 16}" text-anchor="middle">{escape(name)}</text>'
        )
    return svg(height + 22, "".join(parts), title)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Two axes in a chart of ``height`` pixels, whose upright one goes from ``low`` to ``high``."""

    low: float
    high: float
    height: int

    def across(self, share: float) -> float:
        """Pixels from the left of a share (0 to 1) of the level axis."""
        return LEFT + (WIDTH - LEFT - MARGIN) * share

    def up(self, value: float) -> float:
        """Pixels from the top of a value, cut to what is shown."""
        bottom, span = self.height - BELOW, (self.high - self.low) or 1.0
        return bottom - (bottom - MARGIN) * (min(max(value, self.low), self.high) - self.low) / span

    def drawn(self, mark: Callable[[float], float]) -> str:
        """The level line and three numbers on each axis; ``mark`` tells what a share of the level axis stands for."""
        bottom, span = self.height - BELOW, (self.high - self.low) or 1.0
        parts = [f'<line x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{bottom}" y2="{bottom}"/>']
        for share in (0.0, 0.5, 1.0):
            value, x = self.low + share * span, self.across(share)
            y = bottom - (bottom - MARGIN) * share + 4
            parts.append(f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end">{value:.3g}</text>')
            parts.append(
                f'<text x="{x:.1f}" y="{self.height - 4}" text-anchor="{_ANCHOR[share]}">{mark(share):.3g}</text>'
            )
        return "".join(parts)


def lines(
    curves: Mapping[str, tuple[Sequence[float | None], Sequence[float | None] | None, Sequence[float | None] | None]],
    title: str,
    x: tuple[float, float],
    *,
    height: int = 220,
    fixed: tuple[float, float] | None = None,
) -> str:
    """Curves with their intervals.

    Args:
        curves: by name, the values and their lower and upper bounds (None without), evenly spaced; None leaves a gap.
        title: of the chart.
        x: what the first and the last value stand for.
        height: in the chart's pixels.
        fixed: lowest and highest value shown; default: what the curves need.
    """
    known = [v for c in curves.values() for part in c if part is not None for v in part if v is not None]
    low, high = fixed or (min(known, default=0.0), max(known, default=1.0))
    axes = Axes(low=low, high=high, height=height)

    def at(i: int, count: int, value: float) -> str:
        return f"{axes.across(i / max(1, count - 1)):.1f},{axes.up(value):.1f}"

    parts = [axes.drawn(lambda share: x[0] + share * (x[1] - x[0]))]
    for number, (name, (values, lower, upper)) in enumerate(curves.items()):
        colour = CURVES[number % len(CURVES)]
        if lower is not None and upper is not None:
            band = [(i, a, b) for i, (a, b) in enumerate(zip(lower, upper, strict=True)) if None not in (a, b)]
            there = [at(i, len(values), cast(float, b)) for i, _, b in band]
            back = [at(i, len(values), cast(float, a)) for i, a, _ in reversed(band)]
            parts.append(f'<polygon points="{" ".join(there + back)}" fill="{colour}"/>')
        points = " ".join(at(i, len(values), v) for i, v in enumerate(values) if v is not None)
        parts.append(f'<polyline points="{points}" stroke="{colour}"><title>{escape(name)}</title></polyline>')
        parts.append(f'<text x="{LEFT + 8}" y="{22 + 15 * number}" style="fill:{colour}">{escape(name)}</text>')
    return svg(height, "".join(parts), title)


def svg(height: float, inside: str, title: str) -> str:
    """A chart as an element of a page, with what is ``inside`` its WIDTH x ``height`` pixels."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )
