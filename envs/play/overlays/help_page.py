"""The list of keys: on one page where it fits, in two columns, else page by page."""

from collections.abc import Sequence
from typing import Any

import pygame

from worldsim.envs.play.pads.gamepads import as_key
from worldsim.plotting.lettering import READABLE, SMALLEST
from worldsim.plotting.window import Window

LARGEST, WHITE = 18, (255, 255, 255)
BETWEEN = "   "
FORWARD, BACK = (pygame.K_DOWN, pygame.K_PAGEDOWN), (pygame.K_UP, pygame.K_PAGEUP)


class HelpPage:
    """Remembers which page is looked at."""

    def __init__(self) -> None:
        self.page, self.pages = 0, 1

    def turn(self, event: Any) -> bool:
        """Take in an event; whether it turned a page, or would have: anything else that is pressed closes the help."""
        event = as_key(event)
        if self.pages < 2:
            return False
        step = int(-event.y) if event.type == pygame.MOUSEWHEEL else 0
        if event.type == pygame.KEYDOWN:
            step = (event.key in FORWARD) - (event.key in BACK)
        self.page = max(0, min(self.pages - 1, self.page + step))
        return step != 0

    def draw(self, window: Window, lines: Sequence[str], area: pygame.Rect) -> None:
        """Write the lines into an area of the window."""
        for columns, smallest in ((1, READABLE), (2, SMALLEST + 1)):
            shown = in_columns(lines, columns)
            if (points := largest(window, shown, area, smallest)) is not None:
                self.page, self.pages = 0, 1
                break
        else:
            points = READABLE
            rows = max(1, window.rows(area, points) - 1)
            self.pages = -(-len(lines) // rows)
            self.page = min(self.page, self.pages - 1)
            turn = f"page {self.page + 1} of {self.pages}: Up, Down; any other key leaves"
            shown = [*lines[self.page * rows : (self.page + 1) * rows], turn]
        window.text(shown, size=points * 4 / 3, colour=WHITE, middle=True, table=True, area=area)


def in_columns(lines: Sequence[str], columns: int) -> list[str]:
    """Lines side by side, the first column filled first."""
    rows, wide = -(-len(lines) // columns), max(len(line) for line in lines)
    parts = [lines[i * rows : (i + 1) * rows] for i in range(columns)]
    joined = [[part[i] if i < len(part) else "" for part in parts] for i in range(rows)]
    return [BETWEEN.join(line.ljust(wide) for line in row).rstrip() for row in joined]


def largest(window: Window, lines: Sequence[str], area: pygame.Rect, smallest: int) -> int | None:
    """The largest letters that lines fit an area in; None: none of at least so many points."""
    sizes = range(LARGEST, smallest - 1, -1)
    return next((points for points in sizes if window.fits(lines, points, area)), None)
