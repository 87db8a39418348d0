"""Measures on pictures: PSNR, and which way the scene turned or grew over a few frames. No learned parts.

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
ZOOMS = (0.02, 0.035, 0.05, 0.07, 0.09, 0.12)


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


def growth_evidence(frames: Sequence[Frames]) -> float:
    """Positive if the scene grew about the middle of the picture (walking forward), negative if it shrank.

    Best mean correlation of each frame, enlarged by one common factor, with the next, less the best when shrunk.
    """
    pictures = [texture(f) for f in frames]
    rows, columns = pictures[0].shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    middle_y, middle_x = (frames[0].shape[0] - 1) / 2, (columns - 1) / 2

    def correlation(zoom: float) -> float:
        from_y = middle_y + (y - middle_y) / (1 + zoom)
        from_x = middle_x + (x - middle_x) / (1 + zoom)
        inside = (from_y >= 0) & (from_y <= rows - 1) & (from_x >= 0) & (from_x <= columns - 1)
        at = [from_y[inside], from_x[inside]]
        pairs = zip(pictures[:-1], pictures[1:], strict=True)
        return float(np.mean([(map_coordinates(a, at, order=1) * b[inside]).mean() for a, b in pairs]))

    return max(correlation(z) for z in ZOOMS) - max(correlation(-z) for z in ZOOMS)
