"""Measures on pictures: PSNR, and which way the camera turned or went over a few frames. No learned parts.

Frames are uint8 (H, W, 3), or stacks of them with further leading axes.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Frames = NDArray[np.uint8]
# The lowest fifth shows hand and hotbar, which do not move with the world.
WORLD_ROWS = 0.78
# Side of the square around the middle that the crosshair may touch.
CROSSHAIR = 11
FIELD_OF_VIEW = 72.0  # of the pictures' height, degrees
WALLS = (3.0, 12.0)  # metres
WALK = 0.2  # metres a frame of somebody who walks, at 20 frames a second
BLOCK = 4  # half the side of the blocks that are compared, in pixels


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


def walk_evidence(
    frames: Sequence[Frames], pitch: float = 0.0, *, metres: float = 2 * WALK, eye: float = 1.625
) -> float:
    """Positive if the camera went forward over successive frames (the scene expanded), negative if it went back.

    The scene is taken to be level ground with a wall at the end of it. Half a step before and half a step after the
    moment between two frames, its points stand some pixels apart; small blocks of the first frame and the second are
    correlated at that displacement, and at its opposite. Best mean correlation over the distances of the wall, less
    the best at the opposite displacements.

    Both hypotheses look at the same blocks, and blocks are shifted without scaling. So a picture that stands still, or
    that gets blurred, or ghosts of itself, speak for neither; and turning time round turns the sign round.

    Args:
        frames: equally far apart in time.
        pitch: of the camera, in degrees, positive down.
        metres: length of a step between two frames.
        eye: height of the camera above the ground in metres.
    """
    pictures = np.stack([texture(f) for f in frames])
    before, after = pictures[:-1], pictures[1:]
    size, rows = frames[0].shape[:2], pictures.shape[1]
    forward, back = [], []
    for wall in WALLS:
        y, x, dy, dx = step_blocks(size, rows, round(float(pitch), 1), wall, metres, eye)
        first, second = (y - dy, x - dx), (y + dy, x + dx)
        forward.append(_likeness(_sample(before, *first), _sample(after, *second)))
        back.append(_likeness(_sample(before, *second), _sample(after, *first)))
    return max(forward) - max(back)


def _likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean correlation of blocks (N, K, P); blocks with next to nothing in them hardly count."""
    product, squares = (a * b).mean(-1), (a * a).mean(-1) * (b * b).mean(-1)
    return float((product / (np.sqrt(squares) + 0.1)).mean())


@lru_cache(maxsize=512)
def step_blocks(
    size: tuple[int, int], rows: int, pitch: float, wall: float, step: float, eye: float
) -> tuple[NDArray[np.float32], ...]:
    """Blocks of a picture taken in the middle of a step forward, and half of what they move by during that step.

    Pinhole camera of height and width ``size`` in pixels, of which the upper ``rows`` are used, over level ground
    ``eye`` metres below, before a wall at ``wall`` metres; ``step`` in metres, ``pitch`` in degrees.

    Returns:
        Rows and columns (K, P) of P pixels in each of K blocks, and half their displacement in rows and columns (K, 1):
        blocks that stay inside the picture when shifted by it either way.
    """
    height, width = size
    focal = height / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    reach = np.arange(-BLOCK, BLOCK + 1, 2)
    y, x = (part.reshape(-1, 1) for part in np.mgrid[BLOCK : rows - BLOCK : 4, BLOCK : width - BLOCK : 4].astype(float))
    right, down = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
    cos, sin = np.cos(np.deg2rad(pitch)), np.sin(np.deg2rad(pitch))
    # The rays, turned level: how far they go ahead and how far down.
    ahead, below = cos - sin * down, sin + cos * down
    ground = np.where(below > 1e-3, eye / np.maximum(below, 1e-3), np.inf)
    depth = np.minimum(ground, wall / np.maximum(np.hypot(ahead, right), 1e-3))

    def seen_from(nearer: float) -> tuple[NDArray, NDArray]:
        along, under = depth * ahead - nearer, depth * below
        z = np.maximum(cos * along + sin * under, 0.05)
        return (cos * under - sin * along) / z * focal + (height - 1) / 2, depth * right / z * focal + (width - 1) / 2

    (y0, x0), (y1, x1) = seen_from(-step / 2), seen_from(step / 2)
    dy, dx = (y1 - y0) / 2, (x1 - x0) / 2
    inside = (y - BLOCK - abs(dy) >= 0) & (y + BLOCK + abs(dy) <= rows - 1)
    inside &= (x - BLOCK - abs(dx) >= 0) & (x + BLOCK + abs(dx) <= width - 1)
    kept = inside[:, 0]
    offset_y, offset_x = (part.reshape(1, -1) for part in np.meshgrid(reach, reach, indexing="ij"))
    return tuple(v[kept].astype(np.float32) for v in (y + offset_y, x + offset_x, dy, dx))


def _sample(pictures: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (N, H, W) at points (K, P) between their pixels, bilinearly: (N, K, P)."""
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    below, beside = np.minimum(top + 1, pictures.shape[1] - 1), np.minimum(left + 1, pictures.shape[2] - 1)
    down, right = y - top, x - left
    upper = pictures[:, top, left] * (1 - right) + pictures[:, top, beside] * right
    lower = pictures[:, below, left] * (1 - right) + pictures[:, below, beside] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)


def ssim(predicted: Frames, target: Frames, sigma: float = 1.5) -> NDArray[np.float64]:
    """Structural similarity (Wang et al. 2004) of colour pictures (..., H, W, 3): mean over pixels and channels (...,).

    Gaussian windows of 11x11 pixels, constants .01 and .03 of 255, borders of half a window left out: as scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)``.

    Raises:
        ValueError: the shapes differ, or a side has fewer than 11 pixels.
    """
    if predicted.shape != target.shape or min(predicted.shape[-3:-1]) < 11:
        raise ValueError(f"pictures of 11x11 pixels or more and equal shape, got {predicted.shape} and {target.shape}")
    width = (0,) * (predicted.ndim - 3) + (sigma, sigma, 0)

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(gaussian_filter(x, width, truncate=3.5), np.float32)

    a, b = predicted.astype(np.float32), target.astype(np.float32)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return score[..., 5:-5, 5:-5, :].mean((-3, -2, -1), dtype=np.float64)


def grey(frames: Frames) -> NDArray[np.float32]:
    """Brightness (..., H, W) of the part of pictures that moves with the world, 0 to 255."""
    rows = round(frames.shape[-3] * WORLD_ROWS)
    return (frames[..., :rows, :, :].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(
        np.float32
    )


def sharpness(frames: Frames) -> NDArray[np.float64]:
    """Mean absolute difference of neighbouring pixels' brightness (...,), of 255: falls when a picture blurs."""
    g = grey(frames)
    across, down = np.abs(np.diff(g, axis=-1)).mean((-2, -1)), np.abs(np.diff(g, axis=-2)).mean((-2, -1))
    return (across + down).astype(np.float64) / 2


def colours(frames: Frames, bins: int = 16) -> NDArray[np.float64]:
    """Cumulative histograms (..., 3, bins) of colour channels; their mean difference is an earth mover's distance."""
    flat = frames.reshape(*frames.shape[:-3], -1, 3)
    level = (flat // (256 // bins)).astype(np.int64)
    counts = np.stack([(level == b).mean(-2) for b in range(bins)], -1)
    return np.cumsum(counts, -1)


def cells(frames: Frames, side: int = 8) -> NDArray[np.float32]:
    """Local contrast (..., h, w): standard deviation of brightness in cells of ``side`` x ``side`` pixels."""
    g = grey(frames)
    high, wide = g.shape[-2] // side, g.shape[-1] // side
    split = g[..., : high * side, : wide * side].reshape(*g.shape[:-2], high, side, wide, side)
    return split.std((-3, -1)).astype(np.float32)
