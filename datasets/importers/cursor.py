"""The mouse cursor that recordings of an open inventory lack."""

import numpy as np
from numpy.typing import NDArray

# An arrow, its tip at the top left: # outline, o inside. At this size it belongs to a picture of 360 rows.
_ARROW = """\
#...........
##..........
#o#.........
#oo#........
#ooo#.......
#oooo#......
#ooooo#.....
#oooooo#....
#ooooooo#...
#oooooooo#..
#ooooo#####.
#oo#oo#.....
#o##oo#.....
##..#oo#....
....#oo#....
.....##.....
"""
_ROWS = 360
_INK = {".": (0, 0, 0), "#": (0, 0, 0), "o": (255, 255, 255)}


def draw_cursor(frame: NDArray[np.uint8], x: float, y: float) -> None:
    """Draw an arrow into a frame, uint8 (H, W, 3), in place; its tip at (x, y) in the frame's pixels.

    It grows with the frame, to 16 rows at H = 360; what lies outside the frame is cut off.
    """
    colours, mask = _arrow(max(1.0 / 4, frame.shape[0] / _ROWS))
    top, left = round(y), round(x)
    rows = slice(max(0, -top), max(0, min(mask.shape[0], frame.shape[0] - top)))
    columns = slice(max(0, -left), max(0, min(mask.shape[1], frame.shape[1] - left)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    place = frame[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
    np.copyto(place, colours[rows, columns], where=mask[rows, columns, None])


def _arrow(scale: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    art = np.array([list(line) for line in _ARROW.splitlines()])
    rows = (np.arange(max(1, round(art.shape[0] * scale))) / scale).astype(int).clip(max=art.shape[0] - 1)
    columns = (np.arange(max(1, round(art.shape[1] * scale))) / scale).astype(int).clip(max=art.shape[1] - 1)
    art = art[rows][:, columns]
    colours = np.array([[_INK[cell] for cell in row] for row in art], np.uint8)
    return colours, art != "."
