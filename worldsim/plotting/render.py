"""Renders matplotlib figures as SVG text or as pixels, without pyplot and without changing the process's settings.

matplotlib is imported on first use: it takes a second, and playing a world needs no charts.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from worldsim.plotting.style import CHART_STYLE, INK, PAPER, SVG_STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]
# Width in pixels of a chart in a page that gives it enough room. Sizes in charts are relative to it.
WIDTH = 640
DPI = 96
FONTS = "system-ui, 'DejaVu Sans', Arial, sans-serif"
# An artist with a gid that starts with this becomes an SVG group with the rest as its tooltip.
TIP = "tip:"
# matplotlib's settings are global: one chart at a time changes them and puts them back.
_LOCK = threading.Lock()


def svg(
    draw: Callable[["Figure"], None], title: str, *, width: int = WIDTH, height: int = 260, standalone: bool = False
) -> str:
    """Draw a figure and return it as an ``<svg>`` element; the same input gives the same text.

    Texts stay text. Axes and texts use ``currentColor``, so that a chart is readable on light and dark pages.

    Args:
        draw: adds axes and artists to an empty figure.
        title: for screen readers and as the tooltip; escaped.
        width, height: in pixels.
        standalone: the text of a file: with a size, and with its own light and dark style.
    """
    out = io.StringIO()
    with _settings(title):
        figure = _figure(width, height)
        draw(figure)
        for part in (figure, *figure.axes):
            part.patch.set_visible(False)
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _compact(out.getvalue(), plain(title), standalone)


def picture(draw: Callable[["Figure"], None], *, width: int = 900, height: int = 360) -> Picture:
    """Draw a figure and return its pixels, uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _settings():
        figure = _figure(width, height)
        figure.set_facecolor(PAPER)
        draw(figure)
        for axes in figure.axes:
            axes.set_facecolor(PAPER)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plain(text: str) -> str:
    """A text on one line without control characters, which XML forbids."""
    return "".join(c if c.isprintable() else " " for c in text)


def _figure(width: int, height: int) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")


@contextmanager
def _settings(salt: str = "") -> Iterator[None]:
    import matplotlib.style

    # The salt makes ids of a page's charts differ, and is the same every time.
    more = {"svg.fonttype": "none", "svg.hashsalt": salt or "chart"}
    with _LOCK, warnings.catch_warnings(), matplotlib.style.context(["default", CHART_STYLE | more]):
        # The reader's browser has fonts with the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _compact(text: str, title: str, standalone: bool) -> str:
    """matplotlib's SVG without what a page does not need: ids, comments, list of fonts, long decimals."""
    root = ElementTree.fromstring(text)
    # Its style sheet would hold for the whole page; the two properties in it go to the root below.
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        _clean(element)
    size = {key: str(round(float(root.attrib.pop(key).removesuffix("pt")) * DPI / 72)) for key in ("width", "height")}
    base = f"font-family: {FONTS}; stroke-linejoin: round; stroke-linecap: butt"
    root.attrib |= {"role": "img", "aria-label": title, "style": base}
    head = [ElementTree.Element("title")]
    head[0].text = title
    if standalone:
        # Within an HTML page the namespace is known.
        root.attrib |= size | {"xmlns": "http://www.w3.org/2000/svg"}
        head.append(ElementTree.Element("style"))
        head[1].text = SVG_STYLE
    root[:0] = head
    return ElementTree.tostring(root, encoding="unicode") + ("\n" if standalone else "")


def _clean(element: ElementTree.Element) -> None:
    if element.tag != "text":
        element.text = None
    element.tail = None
    name = element.attrib.get("id", "")
    if element.tag == "g" and name:
        del element.attrib["id"]
        if name.startswith(TIP):
            tip = ElementTree.Element("title")
            tip.text = name.removeprefix(TIP)
            element.insert(0, tip)
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for key, value in list(element.attrib.items()):
        if key.endswith("}href"):
            element.attrib["href"] = element.attrib.pop(key)
        elif key == "style":
            value = re.sub(r"font-family: [^;]*;? ?", "", value)
            value = re.sub(r"(font: [^;]*?px)[^;]*", rf"\1 {FONTS}", value)
            element.attrib[key] = value.replace(INK, "currentColor")
        elif key in ("d", "x", "y", "width", "height", "transform") and element.tag != "svg":
            short = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
            element.attrib[key] = " ".join(short.split())
