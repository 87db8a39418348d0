"""Measures on pictures: PSNR, and which way the camera turned or went over a few frames. No learned parts.

Frames are uint8 (H, W, 3), or stacks of them with further leading axes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Frames = NDArray[np.uint8]
# The lowest fifth shows hand and hotbar, which do not move with the world.
WORLD_ROWS = 0.78
# Side of the square around the middle that the crosshair may touch.
CROSSHAIR = 11
FIELD_OF_VIEW = 72.0  # of the pictures' height, degrees
WALLS = (3.0, 12.0)  # metres


def psnr(predicted: Frames, target: Frames, axes: int = 3) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB over the last ``axes`` axes, at most 60 (identical pictures)."""
    error = np.square(predicted.astype(np.float64) - target).mean(tuple(range(-axes, 0)))
    return 10 * np.log10(255**2 / np.maximum(error, 255**2 / 1e6))


def texture(frame: Frames) -> NDArray[np.float32]:
    """Local contrast of the part of the picture that moves with the world, normalised to about unit variance.

    The crosshair, which stands still, is painted over.
    """
    rows = round(frame.shape[0] * WORLD_ROWS)
    grey = (frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) / 255
    y, x, half = frame.shape[0] // 2, frame.shape[1] // 2, CROSSHAIR // 2
    around = grey[y - half - 4 : y + half + 5, x - half - 4 : x + half + 5]
    grey[y - half : y + half + 1, x - half : x + half + 1] = np.median(around)
    detail = grey[:rows] - gaussian_filter(grey[:rows], 4)
    return (detail / (np.sqrt(gaussian_filter(detail * detail, 6)) + 0.02)).astype(np.float32)


def turn_evidence(frames: Sequence[Frames], reach: int = 28) -> float:
    """Positive if the scene moved right over successive frames (the camera turned left), negative if left.

    Best mean correlation of each frame with the next at one common shift to the right, less the best at one to the
    left, in pixels up to ``reach``.
    """
    pictures = [texture(f) for f in frames]
    width = pictures[0].shape[1]

    def correlation(shift: int) -> float:
        total = 0.0
        for a, b in zip(pictures[:-1], pictures[1:], strict=True):
            x, y = (a[:, : width - shift], b[:, shift:]) if shift > 0 else (a[:, -shift:], b[:, : width + shift])
            total += float((x * y).mean())
        return total / (len(pictures) - 1)

    return max(map(correlation, range(1, reach + 1))) - max(map(correlation, range(-reach, 0)))


def walk_evidence(frames: Sequence[Frames], pitch: float = 0.0, *, metres: float = 0.4, eye: float = 1.625) -> float:
    """Positive if the camera went forward over successive frames (the scene expanded), negative if it went back.

    The scene is taken to be level ground with a wall at the end of it. Best mean correlation of each frame with the
    next one, as a step forward would show it, less the best after a step back, over the distances of the wall.

    Args:
        frames: equally far apart in time.
        pitch: of the camera, in degrees, positive down.
        metres: length of a step between two frames.
        eye: height of the camera above the ground in metres.
    """
    pictures = [texture(f) for f in frames]

    def correlation(wall: float, step: float) -> float:
        y, x, seen = before_step(frames[0].shape[:2], len(pictures[0]), pitch, wall, step, eye)
        pairs = zip(pictures[:-1], pictures[1:], strict=True)
        return float(np.mean([(map_coordinates(a, [y, x], order=1) * b[seen]).mean() for a, b in pairs]))

    return max(correlation(w, metres) for w in WALLS) - max(correlation(w, -metres) for w in WALLS)


def before_step(
    size: tuple[int, int], rows: int, pitch: float, wall: float, step: float, eye: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Where the points of a picture were in the picture before a step forward (metres; negative: back).

    Pinhole camera of height and width ``size`` in pixels, of which the upper ``rows`` are used, over level ground
    ``eye`` metres below, before a wall at ``wall`` metres.

    Returns:
        Rows and columns (P,) in the picture before, and the mask (rows, width) of the P pixels that were in it.
    """
    height, width = size
    focal = height / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    y, x = np.mgrid[:rows, :width].astype(np.float64)
    right, down = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
    cos, sin = np.cos(np.deg2rad(pitch)), np.sin(np.deg2rad(pitch))
    # The rays, turned level: how far they go ahead and how far down.
    ahead, below = cos - sin * down, sin + cos * down
    ground = np.where(below > 1e-3, eye / np.maximum(below, 1e-3), np.inf)
    depth = np.minimum(ground, wall / np.maximum(np.hypot(ahead, right), 1e-3))
    ahead, below, right = depth * ahead + step, depth * below, depth * right
    z = cos * ahead + sin * below
    seen = z > 0.05
    z = np.where(seen, z, 1.0)
    column = right / z * focal + (width - 1) / 2
    row = (cos * below - sin * ahead) / z * focal + (height - 1) / 2
    seen &= (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= rows - 1)
    return row[seen], column[seen], seen
