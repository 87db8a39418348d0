"""A window that shows small frames large, at their own pace."""

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.plotting.lettering import PADDING, Lettering, lay_out

# Silences the greeting that pygame prints when it is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

Colour = tuple[int, int, int]
HIGHLIGHT: Colour = (255, 220, 120)


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
        self,
        lines: Sequence[str],
        *,
        size: float,
        colour: Colour,
        middle: bool = False,
        low: bool = False,
        chosen: int = -1,
        table: bool = False,
        area: pygame.Rect | None = None,
    ) -> pygame.Rect:
        """Write lines on a dark ground, in the upper left corner of an area of the window or in the window's middle.

        Lines that are too long are wrapped; letters become smaller where they would not fit (``lay_out``).

        Args:
            lines: to write.
            size: pixels of the letters, of which the font takes three quarters as its points.
            colour: of the letters.
            middle: as near to the window's middle as the area allows.
            low: in the middle of the area's lower edge.
            chosen: a line that stands out.
            table: its columns stay together as long as they can be read.
            area: that it stays in; default: all of the window.

        Returns:
            Where the ground is.
        """
        area = self.screen.get_rect() if area is None else area
        written = lay_out(self._font, lines, int(size * 3 / 4), area.size, table=table)
        ground = pygame.Rect(area.topleft, (min(area.width, written.size[0]), min(area.height, written.size[1])))
        if middle:
            ground.center = self.screen.get_rect().center
            ground.clamp_ip(area)
        elif low:
            ground.midbottom = area.midbottom
        self._write(written, ground, colour, chosen)
        return ground

    def _write(self, written: Lettering, place: pygame.Rect, colour: Colour, chosen: int = -1) -> None:
        ground = pygame.Surface(place.size, pygame.SRCALPHA)
        ground.fill((0, 0, 0, 170))
        for i, (text, line) in enumerate(written.rows):
            row = written.font.render(text, True, HIGHLIGHT if line == chosen else colour)
            ground.blit(row, (PADDING, PADDING // 2 + i * written.font.get_linesize()))
        self.screen.blit(ground, place)

    def fits(self, lines: Sequence[str], points: int, area: pygame.Rect) -> bool:
        """Whether lines fit an area as they are in letters of so many points."""
        written = Lettering(self._font(points), [(line, i) for i, line in enumerate(lines)])
        return written.size[0] <= area.width and written.size[1] <= area.height

    def rows(self, area: pygame.Rect, points: int) -> int:
        """How many lines in letters of so many points an area has room for."""
        return (area.height - PADDING) // self._font(points).get_linesize()

    def tag(
        self,
        text: str,
        corner: tuple[int, int],
        colour: Colour,
        size: int = 16,
        *,
        below: bool = False,
        width: int | None = None,
        free_of: Sequence[pygame.Rect] = (),
    ) -> pygame.Rect | None:
        """Write a line on a dark ground, its lower left corner at a place of the window; ``below``: its upper left.

        Args:
            text: to write.
            corner: the place.
            colour: of the letters.
            size: pixels of the letters.
            below: see above.
            width: pixels that it may take; default: up to the right edge of the window.
            free_of: where other things stand.

        Returns:
            Where it is; None: it is left out, because something else stands there.
        """
        across, down = self.screen.get_size()
        space = (across - corner[0] if width is None else width, down)
        written = lay_out(self._font, [text], size * 3 // 4, space, table=True)
        place = pygame.Rect(corner, written.size)
        if not below:
            place.bottomleft = corner
        if place.collidelist(list(free_of)) >= 0:
            return None
        self._write(written, place, colour)
        return place

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
