"""Text, lines and thumbnails on a picture with pixels in known places, for pictures of trees."""

from collections.abc import Sequence

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.plotting import style
from worldsim.plotting.style import curve_colour, rgb

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
PAPER, INK, FAINT = rgb(style.PAPER), rgb(style.INK), rgb(style.FAINT)


def colour_of(number: int) -> Colour:
    """The colour of a branch, the same as that of its curve."""
    return rgb(curve_colour(number))


def _font(size: int) -> pygame.font.Font:
    # Not kept: after anybody's pygame.quit(), using an older font crashes.
    pygame.font.init()
    return pygame.font.Font(None, size)


class Canvas:
    """A picture to draw on, in pixels from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.surface = pygame.Surface((width, height))
        self.surface.fill(PAPER)

    def picture(self) -> Picture:
        """uint8 (H, W, 3)."""
        return np.ascontiguousarray(pygame.surfarray.array3d(self.surface).swapaxes(0, 1))

    def paste(self, picture: Picture, left: float, top: float) -> None:
        """Put a picture (H, W, 3) down."""
        self.surface.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (round(left), round(top)))

    def box(self, left: float, top: float, width: float, height: float, colour: Colour, thick: int = 0) -> None:
        """A rectangle, filled where ``thick`` is 0."""
        pygame.draw.rect(self.surface, colour, pygame.Rect(round(left), round(top), round(width), round(height)), thick)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, thick: int = 1) -> None:
        """A line through points."""
        if len(points) > 1:
            if thick > 1:
                pygame.draw.lines(self.surface, colour, False, points, thick)
            pygame.draw.aalines(self.surface, colour, False, points)

    def text(
        self, text: str, left: float, top: float, size: int = 18, colour: Colour = INK, right: bool = False
    ) -> None:
        """A line of text from its upper left (or, with ``right``, upper right) corner."""
        drawn = _font(size).render(text, True, colour)
        self.surface.blit(drawn, (round(left - drawn.get_width() if right else left), round(top)))


def fitting(text: str, width: int, size: int = 18, lines: int = 2) -> list[str]:
    """Break text into lines of at most ``width`` pixels; what does not fit ends in dots."""
    words, done = text.split(), [""]
    for i, word in enumerate(words):
        longer = f"{done[-1]} {word}".strip()
        if done[-1] == "" or _font(size).size(longer)[0] <= width:
            done[-1] = longer
        elif len(done) < lines:
            done.append(word)
        else:
            done[-1] += " ..." if i < len(words) else ""
            break
    for number, line in enumerate(done):
        while len(line) > 4 and _font(size).size(line)[0] > width:
            line = line.removesuffix("...").rstrip()[:-1] + "..."
        done[number] = line
    return done
