"""A window that shows small frames large, without smoothing, at their own pace."""

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
        scale: whole number of window pixels per frame pixel at first; default: what fills about 960 pixels.

    Raises:
        UserError: there is no display.
    """

    def __init__(self, width: int, height: int, title: str, scale: int | None = None):
        self.width, self.height = width, height
        scale = scale or max(1, round(960 / width))
        self.size = (width * scale, height * scale)
        try:
            pygame.display.init()
            pygame.font.init()
            self.screen = pygame.display.set_mode(self.size, pygame.RESIZABLE)
        except pygame.error as error:
            raise UserError(f"no window can be opened ({error}): use --headless or render_mode='rgb_array'") from error
        pygame.display.set_caption(title)
        self.closed = False
        self._due = 0.0

    def draw(self, frame: NDArray[np.uint8]) -> None:
        """Draw a frame, uint8 (H, W, 3), as large as fits with its proportions, without showing it yet."""
        surface = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        across, down = self.screen.get_size()
        factor = min(across / self.width, down / self.height)
        size = (max(1, int(self.width * factor)), max(1, int(self.height * factor)))
        self.screen.fill((0, 0, 0))
        self.screen.blit(pygame.transform.scale(surface, size), ((across - size[0]) // 2, (down - size[1]) // 2))

    def text(
        self, lines: Sequence[str], *, size: int, colour: tuple[int, int, int], line: int = 0, middle: bool = False
    ) -> None:
        """Write lines on a dark ground: from the top left corner, ``line`` lines down, or in the middle."""
        font = _font(size * 3 // 4)
        written = [font.render(text, True, colour) for text in lines]
        width, height = max(w.get_width() for w in written) + 16, font.get_linesize() * len(written) + 8
        left, top = (0, line * (font.get_linesize() + 8))
        if middle:
            left, top = (self.screen.get_width() - width) // 2, (self.screen.get_height() - height) // 2
        ground = pygame.Surface((width, height), pygame.SRCALPHA)
        ground.fill((0, 0, 0, 150))
        for i, text in enumerate(written):
            ground.blit(text, (8, 4 + i * font.get_linesize()))
        self.screen.blit(ground, (left, top))

    def resize(self, full_screen: bool) -> None:
        """Fill the screen, or go back to a window."""
        if full_screen:
            self.screen = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            self.screen = pygame.display.set_mode(self.size, pygame.RESIZABLE)

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
    """Found once: looking takes long. Fonts themselves are not kept: pygame.quit() invalidates them."""
    return pygame.font.match_font("dejavusansmono,monospace")


def _font(size: int) -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(_font_file(), size)
