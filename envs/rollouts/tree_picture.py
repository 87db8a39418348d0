"""A tree of futures as one picture: the past on the left, thumbnails along the segments, rewards at the ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.plotting.drawing import FAINT, INK, Canvas, Colour, Picture, colour_of, fitting
from worldsim.plotting.pictures import enlarge
from worldsim.simulation.branching import Tree

Frames = NDArray[np.uint8]
MARGIN, GAP, LABEL, ROW_GAP, LABEL_WIDTH, HEADING = 18, 44, 36, 20, 120, 20
# Thumbnails of small pictures are enlarged to about this width.
THUMB = 144


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the thumbnails of a tree stand: one column a depth, ends in the last column, one row a branch.

    Attributes:
        ends: the branch that ends with a segment, by the segment's number.
        columns, rows: of each segment; the row of a shared segment is the middle of what follows it.
        scale: pixels per pixel of a frame; ``high`` and ``wide`` are the size of a thumbnail.
        gap: between columns.
        top: of the first row.
    """

    ends: dict[int, int]
    columns: list[int]
    rows: list[float]
    scale: int
    high: int
    wide: int
    gap: int
    top: int

    @property
    def last(self) -> int:
        """The column in which all branches end."""
        return max(self.columns)

    def corner(self, column: int, row: float) -> tuple[float, float]:
        """Upper left corner of a thumbnail; column 0 is the past."""
        x = MARGIN + column * (self.wide + self.gap)
        return x, self.top + row * (self.high + LABEL + ROW_GAP) + LABEL

    def place(self, segment: int) -> tuple[float, float]:
        """Upper left corner of a segment's thumbnail."""
        return self.corner(self.columns[segment], self.rows[segment])

    def colour(self, segment: int) -> Colour:
        """The branch's own colour at its end, ink for what several branches may share."""
        return colour_of(self.ends[segment]) if segment in self.ends else INK


def draw_tree(
    past: Frames, tree: Tree, *, labels: Sequence[str], truth: Sequence[Frames] | None = None, columns: int = 6
) -> Picture:
    """Draw a tree.

    Args:
        past: frames (F, H, W, 3); the last one is the root.
        tree: as it grew.
        labels: a few words at the end of each branch, such as its reward.
        truth: the engine's frames of each branch (F, H, W, 3), shown beside the dream's end.
        columns: a tree deeper than this has narrower gaps.

    Returns:
        uint8 (H', W', 3).
    """
    heading = HEADING if truth is not None else 0
    layout = _layout(tree, past.shape[1:3], columns, MARGIN + heading)
    width, height = layout.corner(layout.last + (2 if truth is not None else 1), len(tree.branches))
    canvas = Canvas(round(width) + LABEL_WIDTH + MARGIN, round(height) - LABEL + MARGIN)
    below_past = [row for row, segment in zip(layout.rows, tree.segments, strict=True) if segment.parent < 0]
    root = layout.corner(0, float(np.mean(below_past)))
    _draw_links(canvas, layout, tree, root)
    _thumb(canvas, past[-1], root, layout.scale, INK, "the past")
    for i in range(len(tree.segments)):
        _draw_segment(canvas, layout, tree, i)
    for segment, branch in layout.ends.items():
        _draw_end(canvas, layout, segment, labels[branch], None if truth is None else truth[branch][-1])
    if truth is not None:
        canvas.text("dreamed", layout.corner(layout.last, 0)[0], MARGIN - 8, 20)
        canvas.text("in the engine", layout.corner(layout.last + 1, 0)[0], MARGIN - 8, 20)
    return canvas.picture()


def _layout(tree: Tree, size: tuple[int, ...], columns: int, top: int) -> _Layout:
    """Place the segments of a tree whose frames have a ``size`` (H, W)."""
    scale = max(1, round(THUMB / size[1]))
    ends = {branch.segments[-1]: number for number, branch in enumerate(tree.branches)}
    depths: list[int] = []
    # A parent stands before its children.
    for segment in tree.segments:
        depths.append(1 if segment.parent < 0 else depths[segment.parent] + 1)
    deepest = max(depths)
    return _Layout(
        ends=ends,
        columns=[deepest if i in ends else depth for i, depth in enumerate(depths)],
        rows=_rows(tree, ends),
        scale=scale,
        high=size[0] * scale,
        wide=size[1] * scale,
        gap=GAP if deepest <= columns else GAP // 2,
        top=top,
    )


def _rows(tree: Tree, ends: dict[int, int]) -> list[float]:
    """The row of each segment: a branch's own, or the middle of what follows it."""
    rows = [float(ends.get(i, 0)) for i in range(len(tree.segments))]
    for i in reversed(range(len(tree.segments))):
        below = [rows[k] for k, s in enumerate(tree.segments) if s.parent == i]
        if below:
            rows[i] = (below[0] + below[-1]) / 2
    return rows


def _draw_links(canvas: Canvas, layout: _Layout, tree: Tree, root: tuple[float, float]) -> None:
    """Lines from each thumbnail to those that follow it."""
    # What several branches share lies above what is one branch's own.
    for i in sorted(range(len(tree.segments)), key=lambda i: i not in layout.ends):
        parent = tree.segments[i].parent
        begin = root if parent < 0 else layout.place(parent)
        x, y = layout.place(i)
        middle = layout.high / 2
        _bend(canvas, (begin[0] + layout.wide, begin[1] + middle), (x, y + middle), layout.colour(i), layout.gap)


def _draw_segment(canvas: Canvas, layout: _Layout, tree: Tree, number: int) -> None:
    """The last frame of a segment, and above it its name and which frames it is."""
    segment = tree.segments[number]
    frames = next(branch.frames for branch in tree.branches if number in branch.segments)
    last = len(frames) if number in layout.ends else segment.last
    shown = frames[max(0, min(last, len(frames)) - 1)]
    text = f"{segment.name} ({segment.first + 1}-{last})"
    _thumb(canvas, shown, layout.place(number), layout.scale, layout.colour(number), text)


def _draw_end(canvas: Canvas, layout: _Layout, segment: int, label: str, truth: Picture | None) -> None:
    """On the right of a branch's last thumbnail: the engine's frame, if there is one, and the words."""
    x, y = layout.place(segment)
    left = x + layout.wide + 12
    if truth is not None:
        _thumb(canvas, truth, (x + layout.wide + layout.gap, y), layout.scale, FAINT, "")
        left += layout.wide + layout.gap
    for n, line in enumerate(fitting(label, LABEL_WIDTH, 20, 4)):
        canvas.text(line, left, y + layout.high / 2 - 20 + 20 * n, 20, layout.colour(segment))


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
