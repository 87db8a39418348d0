"""What a part shows beside its numbers: curves, pictures, videos and tables, as values that a report lays out.

n pictures, H W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = Sequence[float | None]
# Values of a curve, and the lower and upper bounds of their interval (None without).
Curve = tuple[Numbers, Numbers | None, Numbers | None]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over one axis.

    Attributes:
        title: of the chart.
        curves: by name, evenly spaced; None leaves a gap.
        ends: what the first and the last value stand for.
        fixed: lowest and highest value shown; None: what the curves need.
        across, unit: what the axes say, with units.
    """

    title: str
    curves: Mapping[str, Curve]
    ends: tuple[float, float]
    fixed: tuple[float, float] | None = None
    across: str = "chunk"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A curve that the reports of several worlds are compared by: one curve a report.

    Attributes:
        title: of the chart.
        where: of the values among the part's results, key by key.
        at: the number of the first value, the others follow one by one; or where their places stand.
        across, unit: what the axes say, with units.
    """

    title: str
    where: tuple[str, ...]
    at: int | tuple[str, ...] = 1
    across: str = "chunk"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Frames uint8 (n, H, W, 3) in rows of ``columns`` (default: one row), and what they show."""

    frames: NDArray[np.uint8]
    caption: str = ""
    columns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Video:
    """A file in the folder of the run, and what it shows."""

    file: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a head; the first column is words, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a report."""

    title: str
    words: str = ""
    pictures: Sequence[Picture] = field(default_factory=tuple)
    videos: Sequence[Video] = field(default_factory=tuple)
    table: Table | None = None


def band(found: Mapping[str, Any]) -> Curve:
    """A curve with its interval, from results that have ``value``, ``low`` and ``high``."""
    return found["value"], found["low"], found["high"]


def plain(values: Numbers) -> Curve:
    """A curve without an interval."""
    return values, None, None
