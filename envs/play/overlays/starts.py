"""The page of starts: pictures of moments that play can begin at, and of other worlds; a text can be typed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.overlays.prompt_field import PromptField
from worldsim.envs.play.pace import Prompt, Start
from worldsim.plotting.window import HIGHLIGHT, Window

GAP, WHITE = 8, (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """A picture that can be chosen, with a name below it, or ""."""

    name: str
    surface: pygame.Surface
    choose: Callable[[], None]


class StartPage:
    """A grid of pictures: arrows and Enter, or a click, begin there; Esc leaves.

    Args:
        pictures: uint8 (N, H, W, 3) of starts; None where there is nothing to choose.
        begin: told the number of the start that was chosen, or the text.
        prompts: texts that the world knows; none: it takes no text.
        own: whether a picture or video of the player's own can be begun from.
    """

    def __init__(
        self,
        pictures: NDArray[np.uint8] | None,
        begin: Callable[[Start], None],
        *,
        prompts: Sequence[str] = (),
        own: bool = False,
    ):
        self.tiles: list[Tile] = []
        self.field, self._begin, self._own = PromptField(prompts), begin, own
        for number, picture in enumerate(() if pictures is None else pictures):
            self.add("", picture, lambda number=number: begin(number))
        self.open, self.chosen, self._columns = False, 0, 1
        self.places: list[pygame.Rect] = []

    def add(self, name: str, picture: NDArray[np.uint8], choose: Callable[[], None]) -> None:
        """Add a picture uint8 (H, W, 3), drawn in the shape of the first."""
        self.tiles.append(Tile(name, pygame.surfarray.make_surface(picture.swapaxes(0, 1)), choose))

    def feed(self, event: Any) -> None:
        """Take in an event."""
        count = len(self.tiles)
        if self.field.takes(event):
            if (text := self.field.feed(event)) is not None:
                self.open = False
                self._begin(Prompt(text))
        elif event.type == pygame.KEYDOWN and event.key in (pygame.K_ESCAPE, pygame.K_BACKSPACE):
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
        self.tiles[number].choose()

    def draw(self, window: Window) -> None:
        """Fill the window with the pictures, as large as all of them fit."""
        window.screen.fill((0, 0, 0))
        across, down = window.screen.get_size()
        down -= window.text(self._hints(), size=20, colour=WHITE, low=True).height
        (width, height), count = self.tiles[0].surface.get_size(), len(self.tiles)

        def scale(columns: int) -> float:
            rows = math.ceil(count / columns)
            return min((across - GAP) / columns / width, (down - GAP) / rows / height)

        self._columns = max(range(1, count + 1), key=scale)
        cell = (scale(self._columns) * width, scale(self._columns) * height)
        left = GAP + int(across - GAP - self._columns * cell[0]) // 2
        self.places = []
        for i, tile in enumerate(self.tiles):
            corner = (left + int(i % self._columns * cell[0]), GAP + int(i // self._columns * cell[1]))
            place = pygame.Rect(*corner, max(1, int(cell[0]) - GAP), max(1, int(cell[1]) - GAP))
            self.places.append(place)
            # Of another shape: as large as fits, in the middle.
            inner = tile.surface.get_rect().fit(place)
            window.screen.blit(
                pygame.transform.smoothscale(tile.surface, (max(1, inner.width), max(1, inner.height))), inner
            )
            if tile.name:
                window.tag(tile.name, place.bottomleft, WHITE, width=place.width)
            if i == self.chosen:
                pygame.draw.rect(window.screen, HIGHLIGHT, place.inflate(4, 4), 3)
        if self.field.text:
            self.field.draw(window)

    def _hints(self) -> list[str]:
        """What can be done here."""
        ways = ["drop a picture or video here"] * self._own + ["type a text"] * bool(self.field.prompts)
        lines = ["Enter or click: begin there   Esc: leave"]
        return [*lines, f"Or {', or '.join(ways)}"] if ways else lines
