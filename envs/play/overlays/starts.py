"""Pictures of the moments that play can begin at, to choose from."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.plotting.window import HIGHLIGHT, Window

GAP = 8


class StartPage:
    """A grid of pictures: arrows and Enter, or a click, begin there; Esc leaves.

    Args:
        pictures: uint8 (N, H, W, 3).
        begin: told the number that was chosen.
    """

    def __init__(self, pictures: NDArray[np.uint8], begin: Callable[[int], None]):
        self._begin, self._shape = begin, pictures.shape[1:3]
        self._surfaces = [pygame.surfarray.make_surface(picture.swapaxes(0, 1)) for picture in pictures]
        self.open, self.chosen, self._columns = False, 0, 1
        self.places: list[pygame.Rect] = []

    def feed(self, event: Any) -> None:
        """Take in an event."""
        count = len(self._surfaces)
        if event.type == pygame.KEYDOWN and event.key in (pygame.K_ESCAPE, pygame.K_BACKSPACE):
            self.open = False
        elif event.type == pygame.KEYDOWN and event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE):
            self._choose(self.chosen)
        elif event.type == pygame.KEYDOWN:
            steps = {pygame.K_LEFT: -1, pygame.K_RIGHT: 1, pygame.K_UP: -self._columns, pygame.K_DOWN: self._columns}
            there = self.chosen + steps.get(event.key, 0)
            self.chosen = there if 0 <= there < count else self.chosen
        elif event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            under = next((i for i, place in enumerate(self.places) if place.collidepoint(event.pos)), None)
            self.chosen = self.chosen if under is None else under
            if under is not None and event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self._choose(under)

    def _choose(self, number: int) -> None:
        self.open = False
        self._begin(number)

    def draw(self, window: Window) -> None:
        """Fill the window with the pictures, as large as all of them fit."""
        across, down = window.screen.get_size()
        (height, width), count = self._shape, len(self._surfaces)

        def scale(columns: int) -> float:
            rows = math.ceil(count / columns)
            return min((across - GAP) / columns / width, (down - GAP) / rows / height)

        self._columns = max(range(1, count + 1), key=scale)
        cell = (scale(self._columns) * width, scale(self._columns) * height)
        window.screen.fill((0, 0, 0))
        self.places = []
        for i, surface in enumerate(self._surfaces):
            corner = (GAP + int(i % self._columns * cell[0]), GAP + int(i // self._columns * cell[1]))
            place = pygame.Rect(*corner, max(1, int(cell[0]) - GAP), max(1, int(cell[1]) - GAP))
            self.places.append(place)
            window.screen.blit(pygame.transform.smoothscale(surface, place.size), place)
            if i == self.chosen:
                pygame.draw.rect(window.screen, HIGHLIGHT, place.inflate(4, 4), 3)
