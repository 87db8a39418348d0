"""A tree of futures as one picture: the past on the left, thumbnails along the stretches, rewards at the ends."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.drawing import FAINT, INK, Canvas, Colour, Picture, colour_of, fitting
from worldsim.envs.pictures import enlarge
from worldsim.simulation.branching import Tree

Frames = NDArray[np.uint8]
MARGIN, GAP, LABEL, ROW_GAP, TOLD = 18, 44, 36, 20, 120
# Thumbnails of small pictures are enlarged to about this width.
THUMB = 144


def draw_tree(
    past: Frames, tree: Tree, *, told: Sequence[str], truth: Sequence[Frames] | None = None, columns: int = 6
) -> Picture:
    """Draw a tree.

    Args:
        past: frames (F, H, W, 3); the last one is the root.
        tree: as it grew.
        told: a few words at the end of each branch, such as its reward.
        truth: the engine's frames of each branch (F, H, W, 3), shown beside the dream's end.
        columns: stretches deeper than this one are drawn narrower, not dropped.

    Returns:
        uint8 (H', W', 3).
    """
    scale = max(1, round(THUMB / past.shape[2]))
    high, wide = past.shape[1] * scale, past.shape[2] * scale
    depths = [len(_above(tree, i)) for i in range(len(tree.segments))]
    ends = {branch.segments[-1]: number for number, branch in enumerate(tree.branches)}
    row = high + LABEL + ROW_GAP
    gap = GAP if max(depths) <= columns else GAP // 2
    heights = _rows(tree, ends)
    right = MARGIN + (max(depths) + 1) * (wide + gap)
    # Ends stand in one column, with the engine's pictures beside them.
    width = right + (wide + gap if truth is not None else 0) + TOLD + MARGIN
    canvas = Canvas(width, 2 * MARGIN + len(tree.branches) * row + (20 if truth is not None else 0))
    top = MARGIN + (20 if truth is not None else 0)

    def corner(depth: int, level: float) -> tuple[float, float]:
        return MARGIN + depth * (wide + gap), top + level * row + LABEL

    root = corner(0, float(np.mean([heights[i] for i, s in enumerate(tree.segments) if s.parent < 0])))
    columns_of = {i: (max(depths) if i in ends else depths[i]) for i in range(len(tree.segments))}
    # What several branches share lies above what is one branch's own.
    for i in sorted(range(len(tree.segments)), key=lambda i: i not in ends):
        segment = tree.segments[i]
        begin = root if segment.parent < 0 else corner(columns_of[segment.parent], heights[segment.parent])
        x, y = corner(columns_of[i], heights[i])
        colour = colour_of(ends[i]) if i in ends else INK
        _bend(canvas, (begin[0] + wide, begin[1] + high / 2), (x, y + high / 2), colour, gap)
    _thumb(canvas, past[-1], root, scale, INK, "the past")
    for i, segment in enumerate(tree.segments):
        place = corner(columns_of[i], heights[i])
        frames = next(b.frames for b in tree.branches if i in b.segments)
        shown = frames[-1] if i in ends else frames[max(0, min(segment.last, len(frames)) - 1)]
        colour = colour_of(ends[i]) if i in ends else INK
        last = len(frames) if i in ends else segment.last
        _thumb(canvas, shown, place, scale, colour, f"{segment.name} ({segment.first + 1}-{last})")
        if i in ends:
            left = place[0] + wide + 12
            if truth is not None:
                _thumb(canvas, truth[ends[i]][-1], (place[0] + wide + gap, place[1]), scale, FAINT, "")
                left += wide + gap
            for n, line in enumerate(fitting(told[ends[i]], TOLD, 20, 4)):
                canvas.text(line, left, place[1] + high / 2 - 20 + 20 * n, 20, colour)
    if truth is not None:
        canvas.text("dreamed", corner(max(depths), 0)[0], MARGIN - 8, 20)
        canvas.text("in the engine", corner(max(depths) + 1, 0)[0], MARGIN - 8, 20)
    return canvas.picture()


def _above(tree: Tree, number: int) -> list[int]:
    """A stretch and those before it, the root last."""
    path = [number]
    while tree.segments[path[-1]].parent >= 0:
        path.append(tree.segments[path[-1]].parent)
    return path


def _rows(tree: Tree, ends: dict[int, int]) -> list[float]:
    """The row of each stretch: a branch's own, or the middle of what follows it."""
    rows = [float(ends.get(i, 0)) for i in range(len(tree.segments))]
    for i in reversed(range(len(tree.segments))):
        below = [rows[k] for k, s in enumerate(tree.segments) if s.parent == i]
        if below:
            rows[i] = (below[0] + below[-1]) / 2
    return rows


def _bend(canvas: Canvas, a: tuple[float, float], b: tuple[float, float], colour: Colour, gap: int) -> None:
    """From one thumbnail to the next: out, up or down, and on."""
    middle = a[0] + gap / 2
    canvas.line([a, (middle, a[1]), (middle, b[1]), b], colour, 3)


def _thumb(canvas: Canvas, frame: Picture, place: tuple[float, float], scale: int, colour: Colour, text: str) -> None:
    large = enlarge(frame, scale)
    x, y = place
    canvas.box(x - 3, y - 3, large.shape[1] + 6, large.shape[0] + 6, colour)
    canvas.paste(large, x, y)
    lines = fitting(text, large.shape[1] + GAP - 8, 18, 2)
    for n, line in enumerate(lines):
        canvas.text(line, x, y - 3 - 16 * (len(lines) - n), 18)
