"""Lines of text made to fit a space: letters become smaller, lines are wrapped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pygame

# Points of the smallest letters that can be read; of those that lines are wrapped for rather than made smaller.
SMALLEST, READABLE = 9, 12
PADDING = 8


@dataclass(frozen=True)
class Lettering:
    """Text as it is written.

    Attributes:
        font: of it.
        rows: its rows, each with the number of the line that it belongs to.
    """

    font: "pygame.font.Font"
    rows: list[tuple[str, int]]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels across and down, with the ground around it."""
        widest = max((self.font.size(text)[0] for text, _ in self.rows), default=0)
        return widest + 2 * PADDING, self.font.get_linesize() * len(self.rows) + PADDING


def lay_out(
    fonts: "Callable[[int], pygame.font.Font]",
    lines: Sequence[str],
    points: int,
    space: tuple[int, int],
    *,
    table: bool,
) -> Lettering:
    """Lines in the largest letters, up to ``points``, that fit a space (pixels across, down).

    Prose is wrapped, and becomes smaller only where it is too high. Columns of a ``table`` stand below each other, so
    it becomes smaller before it is wrapped. What does not even fit in the smallest letters ends with "...".
    """
    across, down = space[0] - 2 * PADDING, space[1] - PADDING
    out = Lettering(fonts(SMALLEST), [])
    for size in range(max(points, SMALLEST), SMALLEST - 1, -1):
        font = fonts(size)
        rows = [(row, number) for number, line in enumerate(lines) for row in wrapped(font, line, across)]
        out = Lettering(font, rows)
        if font.get_linesize() * len(rows) <= down and (not table or len(rows) == len(lines)):
            return out
    most = max(1, down // out.font.get_linesize())
    if len(out.rows) > most:
        text, number = out.rows[most - 1]
        while text and out.font.size(f"{text} ...")[0] > across:
            text = text[:-1]
        out = Lettering(out.font, [*out.rows[: most - 1], (f"{text} ...", number)])
    return out


def wrapped(font: "pygame.font.Font", text: str, across: int) -> list[str]:
    """A line as rows of at most so many pixels: parted at spaces, and within words that are too long for a row."""
    rows, rest = [], text
    while font.size(rest)[0] > across and len(rest) > 1:
        fits = next((n for n in range(len(rest) - 1, 0, -1) if font.size(rest[:n])[0] <= across), 1)
        # A space right after what fits counts, one in front of all words does not. Wider gaps part what belongs less
        # together, if the row is not left half empty.
        gap, space = rest.rfind("  ", 0, fits + 2), rest.rfind(" ", 0, fits + 1)
        at = gap if gap > fits // 2 else space
        at = at if rest[: max(at, 0)].strip() else fits
        rows.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*rows, rest] if rest or not rows else rows
