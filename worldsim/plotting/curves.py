"""A line chart as a picture: curves over frames, one colour a branch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.plotting.drawing import FAINT, INK, Canvas, Colour, Picture, fitting

LEFT, TOP, BOTTOM, LEGEND = 62, 40, 46, 230


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Values over frames; those that are not finite leave a gap."""

    name: str
    values: NDArray[np.float64]
    colour: Colour
    first: int = 1


def draw_curves(
    curves: Sequence[Curve], *, title: str, across: str = "frame", width: int = 900, height: int = 360
) -> Picture:
    """Draw curves (each of any length) with axes, a grid and a legend; uint8 (height, width, 3)."""
    canvas = Canvas(width, height)
    known = [v for curve in curves for v in curve.values[np.isfinite(curve.values)]]
    low, high = min([0.0, *known]), max(known, default=0.0)
    step = nice_step(high - low)
    low, high = math.floor(low / step) * step, max(math.ceil(high / step) * step, low + step)
    last = max((curve.first + len(curve.values) - 1 for curve in curves), default=1)
    first = min((curve.first for curve in curves), default=1)
    wide, tall = width - LEFT - LEGEND, height - TOP - BOTTOM

    def place(frame: float, value: float) -> tuple[float, float]:
        x = LEFT + wide * (frame - first) / max(1, last - first)
        return x, TOP + tall * (1 - (value - low) / (high - low))

    canvas.text(title, LEFT, 12, 22)
    for tick in range(round((high - low) / step) + 1):
        value = low + tick * step
        canvas.line([place(first, value), place(last, value)], FAINT)
        canvas.text(f"{value:g}", LEFT - 8, place(first, value)[1] - 7, 18, INK, right=True)
    stride = max(1, round(nice_step(last - first)))
    for frame in sorted({first, *range(stride, last + 1, stride)}):
        canvas.text(f"{frame}", place(frame, low)[0] - 6, TOP + tall + 8, 18)
    canvas.text(across, LEFT + wide / 2 - 16, height - 20, 18)
    canvas.line([place(first, low), place(last, low)], INK, 2)
    for number, curve in enumerate(curves):
        run: list[tuple[float, float]] = []
        for i, value in enumerate(curve.values):
            if np.isfinite(value):
                run.append(place(curve.first + i, float(value)))
                continue
            canvas.line(run, curve.colour, 2)
            run = []
        canvas.line(run, curve.colour, 2)
        below = TOP + 20 * number
        if below < height - 24:
            canvas.box(LEFT + wide + 16, below + 3, 14, 8, curve.colour)
            canvas.text(fitting(curve.name, LEGEND - 44, 18, 1)[0], LEFT + wide + 36, below, 18)
    return canvas.picture()


def nice_step(span: float, most: int = 6) -> float:
    """1, 2 or 5 times a power of ten, so that at most about ``most`` of it fill the span."""
    if span <= 0:
        return 1.0
    rough = span / most
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
