"""A window that shows small frames large, at their own pace."""

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError

# Silences the greeting that pygame prints when it is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

Colour = tuple[int, int, int]
HIGHLIGHT: Colour = (255, 220, 120)
# Points of the smallest letters that can be read.
SMALLEST = 7


def has_display() -> bool:
    """Whether a window can be opened (or a dummy one was asked for)."""
    if os.environ.get("SDL_VIDEODRIVER") == "dummy":
        return True
    return os.name == "nt" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Window:
    """A resizable pygame window.

    Args:
        width, height: size of the frames in pixels.
        title: of the window.
        scale: whole number of window pixels per frame pixel at first; default: what fills about 960 pixels. A window
            is never larger than the screen.
        smooth: blend pixels, and fill the window; otherwise each becomes a square of whole pixels.

    Raises:
        UserError: there is no display.
    """

    def __init__(self, width: int, height: int, title: str, scale: int | None = None, *, smooth: bool = False):
        self.smooth, self.full_screen = smooth, False
        try:
            pygame.display.init()
            if pygame.display.get_driver() == "offscreen" != os.environ.get("SDL_VIDEODRIVER"):
                # SDL takes it where no screen answers: a window that nobody sees, and that nobody closes.
                raise pygame.error(f"nothing answers at DISPLAY={os.environ.get('DISPLAY', '')}")
            pygame.font.init()
            self.size = self._size(width, height, scale)
            self.screen = pygame.display.set_mode(self.size, pygame.RESIZABLE)
        except pygame.error as error:
            raise UserError(f"no window can be opened ({error}): use --headless or render_mode='rgb_array'") from error
        self._first = self.size
        # Fonts of a window die with it: after anybody's pygame.quit(), using an older one crashes.
        self._fonts: dict[int, pygame.font.Font] = {}
        pygame.display.set_caption(title)
        self.closed = False
        self._due = 0.0

    def _size(self, width: int, height: int, scale: int | None) -> tuple[int, int]:
        across, down = pygame.display.get_desktop_sizes()[0]
        # Title bar and panels need some of the screen.
        most = min(int(0.95 * across) / width, int(0.85 * down) / height)
        scale = max(1, int(min(scale or max(1, round(960 / width)), most)))
        return width * scale, height * scale

    def fit(self, width: int, height: int, title: str) -> None:
        """Take the shape of frames that were not known at first, unless somebody has chosen another size."""
        pygame.display.set_caption(title)
        if not self.full_screen and self.screen.get_size() == self._first:
            self.size = self._first = self._size(width, height, None)
            self.screen = pygame.display.set_mode(self.size, pygame.RESIZABLE)

    def place(self, width: int, height: int) -> pygame.Rect:
        """Where a frame of that size is drawn: as large as fits, in whole pixels unless the window is smooth."""
        across, down = self.screen.get_size()
        factor = min(across / width, down / height)
        if not self.smooth and factor >= 1:
            factor = int(factor)
        size = (max(1, int(width * factor)), max(1, int(height * factor)))
        return pygame.Rect((across - size[0]) // 2, (down - size[1]) // 2, *size)

    def draw(self, frame: NDArray[np.uint8]) -> None:
        """Draw a frame, uint8 (H, W, 3), as large as fits with its proportions, without showing it yet."""
        surface = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        place = self.place(frame.shape[1], frame.shape[0])
        # A window smaller than the frame would lose rows of it.
        blend = self.smooth or place.width < frame.shape[1]
        self.screen.fill((0, 0, 0))
        scaled = (pygame.transform.smoothscale if blend else pygame.transform.scale)(surface, place.size)
        self.screen.blit(scaled, place)

    def text(
        self, lines: Sequence[str], *, size: int, colour: Colour, line: int = 0, middle: bool = False, chosen: int = -1,
        low: bool = False,
    ) -> pygame.Rect:  # fmt: skip
        """Write lines on a dark ground: from the top left corner, ``line`` lines down, in the middle, or ``low``.

        Letters become smaller where lines would not fit; a line too long even then is cut. Returns where the ground
        is. ``chosen``: a line that stands out.
        """
        across, down = self.screen.get_size()
        points = size * 3 // 4
        font = self._font(points)
        while points > SMALLEST and (
            max(font.size(text)[0] for text in lines) + 16 > across or font.get_linesize() * len(lines) + 8 > down
        ):
            points -= 1
            font = self._font(points)
        high = font.get_linesize()
        written = [font.render(text, True, HIGHLIGHT if i == chosen else colour) for i, text in enumerate(lines)]
        width, height = min(across, max(w.get_width() for w in written) + 16), high * len(written) + 8
        left, top = (0, line * (high + 8))
        if middle:
            left, top = (across - width) // 2, max(0, (down - height) // 2)
        elif low:
            left, top = (across - width) // 2, max(0, down - height)
        ground = pygame.Surface((width, height), pygame.SRCALPHA)
        ground.fill((0, 0, 0, 170))
        for i, text in enumerate(written):
            ground.blit(text, (8, 4 + i * high))
        self.screen.blit(ground, (left, top))
        return pygame.Rect(left, top, width, height)

    def tag(self, text: str, corner: tuple[int, int], colour: Colour, size: int = 16, *, below: bool = False) -> None:
        """Write a line on a dark ground, its lower left corner at a place of the window; ``below``: its upper left."""
        written = self._font(size * 3 // 4).render(text, True, colour)
        ground = pygame.Surface((written.get_width() + 8, written.get_height() + 2), pygame.SRCALPHA)
        ground.fill((0, 0, 0, 170))
        ground.blit(written, (4, 1))
        self.screen.blit(ground, (corner[0], corner[1] - (0 if below else ground.get_height())))

    def _font(self, points: int) -> pygame.font.Font:
        if points not in self._fonts:
            self._fonts[points] = pygame.font.Font(_font_file(), points)
        return self._fonts[points]

    def resize(self, full_screen: bool) -> None:
        """Fill the screen, or go back to the window as it was."""
        if full_screen and not self.full_screen:
            self.size = self.screen.get_size()
        self.full_screen = full_screen
        size, flags = ((0, 0), pygame.FULLSCREEN) if full_screen else (self.size, pygame.RESIZABLE)
        self.screen = pygame.display.set_mode(size, flags)
        if not full_screen and self.screen.get_size() != self.size:
            # Some drivers leave full screen first and take the size only then.
            self.screen = pygame.display.set_mode(size, flags)

    def picture(self) -> NDArray[np.uint8]:
        """What the window shows, uint8 (H, W, 3)."""
        return np.ascontiguousarray(pygame.surfarray.array3d(self.screen).swapaxes(0, 1))

    def wait(self, fps: float) -> None:
        """Sleep until the next frame is due at ``fps`` frames a second; after a pause, start counting anew."""
        now = time.perf_counter()
        if now > self._due + 0.25:
            self._due = now
        time.sleep(max(0.0, self._due - now))
        self._due += 1 / fps

    def show(self, frame: NDArray[np.uint8], fps: float) -> None:
        """Draw a frame and show it when it is due; events are looked at only for the close button."""
        if self.closed:
            return
        for event in self.events():
            if event.type == pygame.QUIT:
                self.close()
                return
        self.draw(frame)
        self.wait(fps)
        pygame.display.flip()

    def events(self) -> list[Any]:
        """What happened since the last call."""
        return pygame.event.get()

    def close(self) -> None:
        """Close the window; showing frames afterwards does nothing."""
        if not self.closed:
            self.closed = True
            pygame.display.quit()


@lru_cache(maxsize=1)
def _font_file() -> str | None:
    """Found once: looking takes long."""
    return pygame.font.match_font("dejavusansmono,monospace")
