"""Charts for reports: curves with intervals, horizontal bars and columns, as inline SVG or as pixels."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.plotting.render import TIP, Picture, picture, plain, svg
from worldsim.plotting.style import CURVES, MARKED, curve_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float | None]
# By name: the values, and their lower and upper bounds (None without an interval). None and NaN leave a gap.
Curves = Mapping[str, tuple[Numbers, Numbers | None, Numbers | None]]
BAR_HEIGHT = 22
# Characters of a legend's line, and of one name in a legend.
LEGEND_LINE, LEGEND_NAME = 76, 60
# Of a legend beside the curves: characters of a name, and number of names.
BESIDE_NAME, BESIDE_ROWS = 26, 16
LEGEND_ROW_HEIGHT = 20
# Characters of all labels of columns up to which they fit side by side.
COLUMN_LABELS = 84


def lines(
    curves: Curves,
    title: str,
    x: tuple[float, float],
    *,
    height: int = 260,
    fixed: tuple[float, float] | None = None,
    x_label: str = "",
    y_label: str = "",
    references: Mapping[str, float] | None = None,
) -> str:
    """Curves with their intervals as SVG, the legend above them.

    Args:
        curves: by name, the values and their lower and upper bounds (None without), evenly spaced; None leaves a gap.
        title: of the chart; not drawn, but known to screen readers.
        x: what the first and the last value stand for.
        height: in pixels of a chart 640 pixels wide.
        fixed: lowest and highest value shown; default: what the curves need.
        x_label, y_label: of the axes, with units.
        references: horizontal lines by name.
    """
    draw = partial(_draw_lines, curves=curves, x=x, fixed=fixed, labels=(x_label, y_label), references=references or {})
    # A legend of several lines does not take room from the curves.
    rows = -(-len(curves) // _legend_columns(_legend_names(curves, LEGEND_NAME))) if curves else 1
    return svg(draw, title, height=height + LEGEND_ROW_HEIGHT * (rows - 1))


def line_picture(
    curves: Curves,
    title: str,
    x: tuple[float, float],
    *,
    width: int = 900,
    height: int = 360,
    x_label: str = "",
    y_label: str = "",
) -> Picture:
    """The same curves as pixels, uint8 (height, width, 3), with the title above and the legend beside them."""
    draw = partial(_draw_lines, curves=curves, x=x, labels=(x_label, y_label), title=title)
    return picture(draw, width=width, height=height)


def bars(rows: Sequence[tuple[str, float, str]], title: str) -> str:
    """Horizontal bars as SVG: label, length (0 or more), and the text behind the bar."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.set_xlim(0, max((value for _, value, _ in rows), default=0) or 1)
        axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [plain(name) for name, _, _ in rows])
        for i, (_, value, text) in enumerate(rows):
            axes.barh(i, value, 0.8, color=CURVES[0])
            axes.annotate(plain(text), (value, i), (5, 0), textcoords="offset points", va="center")
        if not rows:
            _note_empty(axes)

    return svg(draw, title, height=BAR_HEIGHT * max(2, len(rows)) + 8)


def columns(
    rows: Sequence[tuple[str, float]],
    title: str,
    *,
    marked: int | None = None,
    height: int = 200,
    x_label: str = "",
    y_label: str = "",
    log: bool = False,
) -> str:
    """Upright columns from a zero line as SVG.

    Args:
        rows: label and value of each column; values may be negative.
        title: of the chart; not drawn, but known to screen readers.
        marked: number of the column with another colour.
        height: in pixels of a chart 640 pixels wide.
        x_label, y_label: of the axes, with units.
        log: logarithmic, for counts: 0 has no column.
    """

    def draw(figure: "Figure") -> None:
        from matplotlib.ticker import NullLocator

        axes = figure.add_subplot()
        axes.tick_params(axis="x", length=0)
        axes.set(xlabel=plain(x_label), ylabel=plain(y_label), xlim=(-0.6, max(1, len(rows)) - 0.4))
        axes.set_xticks(range(len(rows)), [plain(name) for name, _ in rows])
        if len(rows) * max((len(name) + 1 for name, _ in rows), default=0) > COLUMN_LABELS:
            axes.tick_params(axis="x", rotation=45, pad=1)
        if log:
            axes.set_yscale("log")
            axes.set_ylim(0.7, 2 * max([1.0, *(value for _, value in rows)]))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.yaxis.set_minor_locator(NullLocator())
        elif any(value < 0 for _, value in rows):
            axes.axhline(0, color=axes.spines["bottom"].get_edgecolor(), linewidth=0.8)
        for i, (name, value) in enumerate(rows):
            if not log or value > 0:
                [column] = axes.bar(i, value, 0.8, color=MARKED if i == marked else CURVES[0])
                column.set_gid(f"{TIP}{plain(name)}: {value:g}")
        if not rows:
            _note_empty(axes)

    return svg(draw, title, height=height)


def _draw_lines(
    figure: "Figure",
    *,
    curves: Curves,
    x: tuple[float, float],
    labels: tuple[str, str],
    fixed: tuple[float, float] | None = None,
    references: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    axes.set(xlabel=plain(labels[0]), ylabel=plain(labels[1]), title=plain(title))
    handles = [_draw_curve(axes, x, *curve, curve_colour(i)) for i, curve in enumerate(curves.values())]
    for name, value in (references or {}).items():
        axes.axhline(value, color="#7f7f7f", linewidth=1.2, dashes=(4, 3))
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        axes.annotate(plain(name), (1, value), (5, 0), **place)
    if x[0] == x[1]:
        axes.set_xlim(x[0] - 0.5, x[0] + 0.5)
        axes.set_xticks([x[0]])
    else:
        axes.set_xlim(x)
        whole = all(float(end).is_integer() for end in x)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=whole, steps=[1, 2, 5, 10]))
    if fixed is not None:
        axes.set_ylim(fixed)
    if not any(np.isfinite(_floats(values)).any() for values, _, _ in curves.values()):
        _note_empty(axes)
    axes.margins(y=0.06)
    _add_legend(figure, handles, curves, beside=bool(title))


def _draw_curve(
    axes: "Axes", x: tuple[float, float], values: Numbers, lower: Numbers | None, upper: Numbers | None, colour: str
) -> Any:
    heights = _floats(values)
    places = np.linspace(x[0], x[1], len(heights)) if len(heights) > 1 else np.full(len(heights), x[0])
    [line] = axes.plot(places, heights, color=colour)
    known = np.pad(np.isfinite(heights), 1)
    # A value between two gaps has no line.
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    axes.plot(places[alone], heights[alone], "o", color=colour, markersize=4)
    if lower is not None and upper is not None:
        axes.fill_between(places, _floats(lower), _floats(upper), color=colour, alpha=0.16, linewidth=0)
    return line


def _add_legend(figure: "Figure", handles: list[Any], curves: Curves, beside: bool) -> None:
    if not handles:
        return
    names = _legend_names(curves, BESIDE_NAME if beside else LEGEND_NAME)
    shown = handles[:BESIDE_ROWS] if beside else handles
    place = "outside right upper" if beside else "outside upper left"
    across = 1 if beside else min(_legend_columns(names), len(shown))
    texts = figure.legend(shown, ["x"] * len(shown), loc=place, ncols=across).get_texts()
    # Set later: matplotlib leaves out names that begin with an underscore.
    for text, name in zip(texts, names, strict=False):
        text.set_text(name)
    if len(shown) < len(handles):
        texts[-1].set_text(f"… and {len(handles) - len(shown) + 1} more")


def _legend_names(curves: Curves, longest: int) -> list[str]:
    names = [plain(name) for name in curves]
    return [name if len(name) <= longest else name[: longest - 1] + "…" for name in names]


def _legend_columns(names: Sequence[str]) -> int:
    return max(1, LEGEND_LINE // (max(map(len, names)) + 6))


def _note_empty(axes: "Axes") -> None:
    axes.set_yticks([])
    axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", alpha=0.6)


def _floats(values: Numbers) -> NDArray[np.float64]:
    """Values as an array; what is not finite or not known is NaN."""
    array = np.array([np.nan if v is None else v for v in values], np.float64)
    return np.where(np.isfinite(array), array, np.nan)
