"""Charts as SVG and as pixels: their text is valid and the same every time, and marks stand where values are."""

import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import jinja2
import matplotlib
import numpy as np
import pytest
from markupsafe import Markup

from worldsim.plotting.charts import bars, columns, line_picture, lines
from worldsim.plotting.pages import render_page
from worldsim.plotting.scatter import Point, scatter, standing_alone
from worldsim.plotting.style import CURVES, rgb

NASTY = "_a & <b> \"$x$ $y$\" -- 'c' \x07 雪"
RISING = [float(i) for i in range(10)]


def curve(values: list[float | None], low: list[float | None] | None = None, high: list[float | None] | None = None):
    return values, low, high


def charts_of(name: str) -> list[str]:
    """A chart of every kind that shows a name."""
    points = [Point(name, 1, 2, 1, 3), Point("other", 10, 3)]
    chart = scatter(points, [(1, 2), (10, 3)], "scatter", x_label="TFLOP", y_label="dB")
    low, high = [v - 1 for v in RISING], [v + 1 for v in RISING]
    return [
        lines({name: (RISING, low, high)}, "lines", (1, 10)),
        lines({"curve": (RISING, None, None)}, "references", (1, 10), references={name: 4.0}),
        lines({"curve": (RISING, None, None)}, "labels", (1, 10), x_label=name),
        bars([(name, 0.5, "50 %"), ("other", 0.0, "0 %")], "bars"),
        columns([(name, 3.0), ("other", -1.0)], "columns", marked=0),
        columns([(name, 3.0), ("none", 0.0), ("many", 2000.0)], "log", log=True),
        chart.svg(),
        standing_alone([chart, chart, chart], "all"),
    ]


@pytest.fixture(scope="module")
def made() -> list[str]:
    """A chart of every kind, made once for the tests that compare with it."""
    return charts_of("name")


def parsed(svg: str) -> ElementTree.Element:
    """An SVG as XML; only charts that are files of their own have a namespace."""
    return ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter("text")]


def curve_of(svg: str, colour: str = CURVES[0]) -> list[np.ndarray]:
    """Points of the pieces of a curve, in the SVG's own pixels."""
    found = []
    for path in parsed(svg).iter("path"):
        # A legend's mark is a path of two points and has no clip.
        if f"stroke: {colour}" in path.get("style", "") and path.get("clip-path"):
            pieces = path.get("d", "").split("M ")[1:]
            found += [np.array(re.findall(r"-?[\d.]+", piece), float).reshape(-1, 2) for piece in pieces]
    return found


def marks(svg: str) -> list[tuple[float, float]]:
    """Places of all marks with a tooltip."""
    groups = [g for g in parsed(svg).iter("g") if g.find("title") is not None]
    return [(float(use.get("x", "")), float(use.get("y", ""))) for g in groups for use in g.iter("use")]


def test_charts_are_valid_and_show_names_as_they_are():
    for chart in charts_of(NASTY):
        assert NASTY.replace("\x07", " ") in texts(chart), chart[:200]
        assert "mathdefault" not in chart and "<!--" not in chart


def test_charts_share_no_id_on_a_page(made: list[str]):
    ids = [re.findall(r' id="([^"]+)"', chart) for chart in made]
    assert all(len(set(own)) == len(own) for own in ids)
    assert len(set().union(*ids)) == sum(map(len, ids))
    assert not any("date" in chart or "matplotlib" in chart for chart in made)


def test_a_chart_is_small_and_takes_the_colour_of_the_page():
    chart = lines({"a": (RISING, RISING, RISING), "b": (RISING[::-1], None, None)}, "title", (1, 10), y_label="dB")
    assert len(chart) < 12_000 and "#1c2430" not in chart and chart.count("currentColor") > 10
    root = parsed(chart)
    assert root.get("role") == "img" and root.get("aria-label") == "title" and root.get("width") is None
    # Of a file: with its own size and colours.
    alone = parsed(standing_alone([scatter([Point("a", 1, 2)], [], "t")], "all"))
    assert alone.get("width") == "640" and "prefers-color-scheme: dark" in (alone.findtext("style") or "")


@pytest.mark.slow
def test_charts_are_the_same_every_time_whatever_the_users_own_settings(made: list[str]):
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "text.parse_math": True, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert charts_of("name") == made
        assert dict(matplotlib.rcParams) == before


def test_curves_stand_where_their_values_are():
    [points] = curve_of(lines({"a": (RISING, None, None)}, "t", (1, 10)))
    across, up = np.diff(points[:, 0]), -np.diff(points[:, 1])
    assert (across > 0).all() and np.ptp(across) < 0.05 and (up > 0).all() and np.ptp(up) < 0.05


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_what_is_not_known_leaves_a_gap(gap: float | None):
    values = [0.0, 1.0, 2.0, gap, 4.0, 5.0, gap, 7.0]
    chart = lines({"a": curve(values, values, values)}, "t", (1, 8))
    pieces = curve_of(chart)
    assert [len(piece) for piece in pieces] == [3, 2, 1]
    # No line goes through a single value: a dot.
    [dot] = [use for use in parsed(chart).iter("use") if f"stroke: {CURVES[0]}" in use.get("style", "")]
    assert (float(dot.get("x", "")), float(dot.get("y", ""))) == tuple(pieces[2][0])


def test_fixed_limits_hold_the_axis():
    shown = texts(lines({"a": ([0.4, 0.5], None, None)}, "t", (0, 1), fixed=(0, 1)))
    assert {"0.0", "1.0"} <= set(shown)


def test_empty_series_say_so():
    empty = [
        lines({}, "t", (0, 1)),
        lines({"a": ([], None, None)}, "t", (1, 1)),
        lines({"a": ([None, None], [None, None], [None, None])}, "t", (1, 2)),
        bars([], "t"),
        columns([], "t"),
        columns([], "t", log=True),
    ]
    assert all("no values" in texts(chart) for chart in empty)
    one = lines({"a": ([3.0], [2.0], [4.0])}, "t", (1, 1))
    assert "no values" not in texts(one) and "1" in texts(one)


def test_bars_are_as_long_as_their_values():
    chart = parsed(bars([("a", 1.0, "1"), ("b", 0.5, "half"), ("c", 0.0, "0")], "t"))
    wide = []
    for path in chart.iter("path"):
        if f"fill: {CURVES[0]}" in path.get("style", ""):
            across = np.array(re.findall(r"-?[\d.]+", path.get("d", "")), float)[::2]
            wide.append(np.ptp(across))
    assert wide[1] == pytest.approx(wide[0] / 2, abs=0.02) and wide[2] == 0


def test_columns_have_tooltips_and_a_marked_one():
    chart = columns([("-1", 0.25), ("0", 2.0), ("+1", 0.5)], "t", marked=1)
    titles = [title.text for title in parsed(chart).iter("title")]
    assert titles == ["t", "-1: 0.25", "0: 2", "+1: 0.5"] and chart.count(f"fill: {CURVES[2]}") == 1


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    points = [Point("a", 2, 1), Point("b", 20, 2), Point("c", 200, 3), Point("d", 2e4, 4)]
    x = np.array(marks(scatter(points, [(p.x, p.value) for p in points], "t").svg()))[:, 0]
    np.testing.assert_allclose(np.diff(x) / (x[1] - x[0]), [1, 1, 2], atol=1e-3)


@pytest.mark.parametrize(("first", "last", "shown"), [(1, 8, "5"), (3e3, 2e8, "10⁶"), (900, 2e4, "2,000"), (7, 7, "7")])
def test_logarithmic_axes_have_readable_ticks(first: float, last: float, shown: str):
    ticks = texts(scatter([Point("a", first, 1), Point("b", last, 2)], [], "t").svg())
    assert shown in ticks and not any("e+" in tick for tick in ticks)


def test_names_of_points_at_one_x_stand_apart():
    chart = scatter([Point("low", 1, 2.0), Point("high", 1, 2.1), Point("right", 9, 2.5)], [(1, 2.05), (9, 2.5)], "t")
    at = {e.text: (float(e.get("x", "")), float(e.get("y", ""))) for e in _text_elements(chart.svg())}
    assert at["low"][1] - at["high"][1] > 12 and at["right"][0] > at["low"][0]


def _text_elements(svg: str) -> list[ElementTree.Element]:
    return [e for e in parsed(svg).iter("text") if e.get("x")]


def test_many_curves_make_the_chart_higher_and_long_names_shorter():
    few, many = (lines({f"run {i} " + "x" * 80: (RISING, None, None) for i in range(n)}, "t", (1, 10)) for n in (1, 6))
    heights = [float(parsed(chart).get("viewBox", "").split()[3]) for chart in (few, many)]
    assert heights[1] - heights[0] == pytest.approx(5 * 20 * 0.75)
    assert any(text.startswith("run 5 xxx") and text.endswith("…") and len(text) == 60 for text in texts(many))


def test_a_picture_has_the_asked_size_and_curves_of_their_colours():
    gap = [np.nan] * 10
    picture = line_picture({"rising": (RISING, None, None), "n" * 99: (gap, None, None)}, "title", (1, 10))
    assert picture.shape == (360, 900, 3) and picture.dtype == np.uint8
    inside = picture[:, :600]
    line = np.argwhere((inside == rgb(CURVES[0])).all(-1))
    assert np.corrcoef(line[:, 0], line[:, 1])[0, 1] < -0.99
    # A curve without values is in the legend alone.
    second = (picture == rgb(CURVES[1])).all(-1)
    assert not second[:, :600].any() and second[:, 600:].any()
    assert line_picture({}, "nothing", (1, 1), width=300, height=200).shape == (200, 300, 3)
    assert line_picture({f"{i}": (RISING, None, None) for i in range(40)}, "many", (1, 10)).shape == (360, 900, 3)


def test_pages_escape_values_and_name_what_is_missing():
    report = SimpleNamespace(name="<b>", about={}, trained="1")
    values = {"title": "<i>", "rows": [], "caveats": [], "reports": [report]}
    with pytest.raises(jinja2.UndefinedError, match="'sections' is undefined"):
        render_page("compare.html", package="worldsim.evaluation.reports", **values)
    page = render_page(
        "compare.html",
        package="worldsim.evaluation.reports",
        sections=[("Curves", "", [("t", Markup("<svg/>")), ("u", "<svg/>")])],
        **values,
    )
    assert page.count("<svg/>") == 1 and page.count("&lt;svg/&gt;") == 1
    assert "<title>&lt;i&gt;</title>" in page and "<h1>&lt;i&gt;</h1>" in page
    assert "<b>" not in page and "light-dark(" in page and page.rstrip().endswith("</html>")


@pytest.mark.slow
def test_matplotlib_is_loaded_by_charts_alone():
    modules = "worldsim, worldsim.envs.play.play, worldsim.envs.rollouts.rollout, worldsim.datasets.checks.report"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == "False"
    code = (
        "import sys; from worldsim.plotting.charts import lines; lines({'a': ([1.0], None, None)}, 't', (1, 1)); "
        "import matplotlib; print('matplotlib.pyplot' in sys.modules, matplotlib.get_backend(auto_select=False))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "None"]
