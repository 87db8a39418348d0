"""Ways to look at a game: its picture, the real game, both with their difference, depth, memory.

H W pixels.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.overlays.insight import difference_picture
from worldsim.envs.play.pace import BOTH, DREAM, REAL, Insight
from worldsim.plotting.window import Window

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game

Frame = NDArray[np.uint8]
WHITE, CURVE, GROUND = (255, 255, 255), (255, 220, 120), (24, 24, 28)
# The difference of 255 that fills the curve's height at least; a larger one that is seen does.
LEAST = 1.0


@dataclass(frozen=True)
class Panel:
    """A picture with a name; "" for none."""

    name: str
    picture: Frame


@dataclass
class Views:
    """The way that somebody looks at a game.

    Attributes:
        name: of the view; one that the frame's insight lacks shows the plain picture.
        differences: between dream and real game, mean absolute of 255, the latest frames that both were shown of.
    """

    name: str = ""
    differences: deque[float] = field(default_factory=lambda: deque(maxlen=400))

    def note(self, frame: Frame, insight: Insight) -> None:
        """A frame was shown."""
        if (real := insight.get(REAL)) is not None:
            self.differences.append(_mean_difference(frame, real))

    def panels(self, frame: Frame, insight: Insight) -> list[Panel]:
        """What is drawn of a frame."""
        real = insight.get(REAL)
        if self.name == BOTH and real is not None:
            apart = _mean_difference(frame, real)
            words, curve = f"difference {apart:.1f} of 255", self.curve(frame.shape[0], frame.shape[1])
            return [
                Panel(DREAM, frame), Panel("real game", real), Panel(words, difference_picture(frame, real)),
                Panel(f"over time, up to {max([LEAST, *self.differences]):.1f}", curve),
            ]  # fmt: skip
        if self.name in insight:
            return [Panel("real game" if self.name == REAL else self.name, insight[self.name])]
        return [Panel("" if real is None else DREAM, frame)]

    def curve(self, height: int, width: int) -> Frame:
        """The difference over the latest frames, one column each, the newest at the right edge."""
        out, most = np.full((height, width, 3), GROUND, np.uint8), max([LEAST, *self.differences])
        for back, value in enumerate(list(self.differences)[: -width - 1 : -1]):
            high = round(value / most * height)
            out[height - high :, width - 1 - back] = CURVE
        return out


def grid(panels: Sequence[Panel], across: int, down: int) -> tuple[Frame, list[tuple[int, int]]]:
    """Panels of one size on one picture, as a window of that size shows them largest; and each one's corner (x, y)."""
    height, width = panels[0].picture.shape[:2]
    count = len(panels)

    def scale(columns: int) -> float:
        rows = -(-count // columns)
        return min(across / (columns * width), down / (rows * height))

    columns = max(range(1, count + 1), key=scale)
    out = np.zeros((-(-count // columns) * height, columns * width, 3), np.uint8)
    corners = [(i % columns * width, i // columns * height) for i in range(count)]
    for (x, y), panel in zip(corners, panels, strict=True):
        out[y : y + height, x : x + width] = panel.picture
    return out, corners


def draw_panels(window: Window, panels: Sequence[Panel]) -> list[tuple[tuple[int, int], bool, int]]:
    """Fill the window with panels; returns for each name its place, whether it is written below that, and its width.

    Names stand where status and timeline leave them free: below the pictures of the upper row, on top of the others.
    """
    picture, corners = grid(panels, *window.screen.get_size())
    window.draw(picture)
    place, high = window.place(picture.shape[1], picture.shape[0]), panels[0].picture.shape[0]
    factor = place.height / picture.shape[0]
    wide = int(panels[0].picture.shape[1] * factor)
    return [
        ((place.left + round(x * factor), place.top + round((y if y else high) * factor)), bool(y), wide)
        for x, y in corners
    ]


def draw_names(
    window: Window,
    panels: Sequence[Panel],
    places: Sequence[tuple[tuple[int, int], bool, int]],
    taken: Sequence[pygame.Rect],
) -> None:
    """Write the names of panels, but not over what stands in the places that are taken."""
    for panel, (corner, below, wide) in zip(panels, places, strict=True):
        if panel.name:
            window.tag(panel.name, corner, WHITE, below=below, width=wide, free_of=taken)


def flat(panels: Sequence[Panel]) -> Frame:
    """Panels as one picture for a film: of the shape of one of them, as nearly as whole panels allow."""
    height, width = panels[0].picture.shape[:2]
    return grid(panels, width, height)[0]


def filmed(name: str) -> Callable[["Game", Frame], list[Frame]]:
    """The pictures that a film in a view has of a game's frames."""
    views = Views(name)

    def film(game: "Game", frames: Frame) -> list[Frame]:
        out, known = [], game.insight()
        for i, frame in enumerate(frames):
            insight = {what: pictures[i] for what, pictures in known.items()}
            views.note(frame, insight)
            out.append(flat(views.panels(frame, insight)))
        return out

    return film


def next_view(views: Sequence[str], name: str) -> str:
    """The view after one."""
    return views[(views.index(name) + 1) % len(views)] if name in views else views[0]


def _mean_difference(one: Frame, other: Frame) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())
