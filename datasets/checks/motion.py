"""Does the mouse move when the picture does? The lag between camera actions and the motion of the picture.

Action t leads from frame t to frame t + 1. So the motion of the picture from t to t + 1 has to answer to the mouse of t
(lag 0); at lag 1 it answers to the mouse of t - 1, as in a recording whose actions are one frame early.

W windows, F frames of a window, L lags from -reach to reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

REACH = 5
# The lowest fifth of a first-person picture shows a hand and a hotbar, which do not move with the world.
WORLD_ROWS = 0.78
# Bands that a picture is averaged into across the motion, and points along it: more would cost time, not precision.
BANDS, POINTS = 12, 160
# Peaks of the correlation below this many times its spread are noise; of n points the clearest has sqrt(n).
CLEAR_PEAK, CLEAR_SHARE = 6.0, 0.6
# Bootstrap resamples behind a confidence.
RESAMPLES = 400

Float = NDArray[np.float64]


def shifts(frames: NDArray[np.uint8], axis: int) -> tuple[Float, Float]:
    """How far the picture moved between successive frames, by phase correlation along one axis.

    Args:
        frames: uint8 (F, H, W, 3).
        axis: 2 for motion to the right, 1 for motion downwards.

    Returns:
        Pixels (F - 1,) and weights (F - 1,), 0 where no motion can be told.

    What never moves (a hand, a hotbar, a border) is the mean over time, and is taken away first.
    """
    lines = _lines(frames, axis)
    scale = frames.shape[axis] / lines.shape[-1]
    if axis == 1:
        scale *= WORLD_ROWS
    spectra = np.fft.rfft(lines * np.hanning(lines.shape[-1]), axis=-1)
    cross = (np.conj(spectra[:-1]) * spectra[1:]).sum(1)
    curves = np.fft.irfft(cross / (np.abs(cross) + 1e-9), lines.shape[-1])
    peaks = curves.argmax(-1)
    rows, size = np.arange(len(curves)), lines.shape[-1]
    before, here, after = (curves[rows, (peaks + d) % size] for d in (-1, 0, 1))
    fraction = 0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-9)
    moved = (peaks + np.clip(fraction, -0.5, 0.5) + size / 2) % size - size / 2
    least = min(CLEAR_PEAK, CLEAR_SHARE * size**0.5)
    clear = (here > least * curves.std(-1)) & (np.abs(moved) < 0.4 * size)
    return moved * scale, clear.astype(np.float64)


def _lines(frames: NDArray[np.uint8], axis: int) -> NDArray[np.float32]:
    """Brightness (F, bands, points along the axis), without what stands still and without slow gradients."""
    seen = frames[:, : max(1, round(frames.shape[1] * WORLD_ROWS))]
    # A sum of integers: a mean over the last axis costs ten times as much.
    grey = (seen[..., 0].astype(np.uint16) + seen[..., 1] + seen[..., 2]).astype(np.float32)
    across, along = (1, 2) if axis == 2 else (2, 1)
    grey = np.moveaxis(grey, (across, along), (1, 2))
    for at, parts in ((1, BANDS), (2, POINTS)):
        edges = np.linspace(0, grey.shape[at], min(parts, grey.shape[at]) + 1).astype(int)[:-1]
        widths = np.diff([*edges, grey.shape[at]]).reshape([-1 if i == at else 1 for i in range(3)])
        grey = np.add.reduceat(grey, edges, at) / widths
    grey = grey - grey.mean(0)
    return grey - uniform_filter1d(grey, max(3, grey.shape[-1] // 6), axis=-1)


@dataclass(frozen=True)
class MotionWindow:
    """The normal equations of one window: how far the picture's motion answers to the mouse at each lag.

    Attributes:
        gram: (L, L), mouse against mouse.
        answer: (L,), mouse against the picture's motion.
        energy: the motion's own sum of squares.
        rows: transitions that count.
        degrees: the mouse's sum of squares.
    """

    gram: Float
    answer: Float
    energy: float
    rows: float
    degrees: float


def motion_window(mouse: NDArray[np.floating], moved: Float, weights: Float, reach: int = REACH) -> MotionWindow:
    """Normal equations of a window.

    Args:
        mouse: degrees (F - 1,), row t leads from frame t to t + 1.
        moved: pixels (F - 1,) by which the picture moved in the same transitions.
        weights: (F - 1,), 0 for transitions that do not count.
        reach: largest lag on either side.
    """
    lags = range(-reach, reach + 1)
    padded = np.pad(np.asarray(mouse, np.float64), reach)
    columns = np.stack([padded[reach - lag : reach - lag + len(moved)] for lag in lags], 1)
    known = weights.copy()
    known[:reach] = known[len(known) - reach :] = 0
    mean = known.sum() or 1.0
    columns = columns - (columns * known[:, None]).sum(0) / mean
    moved = moved - (moved * known).sum() / mean
    weighted = columns * known[:, None]
    return MotionWindow(
        gram=weighted.T @ columns,
        answer=weighted.T @ moved,
        energy=float((known * moved * moved).sum()),
        rows=float(known.sum()),
        degrees=float((known * columns[:, reach] ** 2).sum()),
    )


@dataclass(frozen=True)
class Lag:
    """What was found.

    Attributes:
        frames: by how many frames the picture answers late (positive) or early (negative); 0 is right.
        confidence: share of resampled recordings in which the same lag wins, 0 to 1.
        correlation: of the picture's motion with what the mouse predicts, 0 to 1.
        gain: pixels of motion per degree at that lag; a turn to the right moves the picture to the left (negative).
        response: pixels per degree at each lag, from -reach to reach.
        transitions: how many were used.
    """

    frames: int
    confidence: float
    correlation: float
    gain: float
    response: tuple[float, ...]
    transitions: int


def find_lag(windows: Sequence[MotionWindow], seed: int = 0) -> Lag | None:
    """The lag at which the picture answers to the mouse, by least squares over all lags at once.

    A plain correlation is flat when the mouse moves evenly for long; the regression asks which lag explains what the
    others do not. Returns None where the mouse hardly moved or no motion could be told.
    """
    rows, degrees = sum(w.rows for w in windows), sum(w.degrees for w in windows)
    if rows < 50 or degrees < 0.01 * rows:
        return None
    gram, answer = np.stack([w.gram for w in windows]), np.stack([w.answer for w in windows])
    response = _solve(gram.sum(0), answer.sum(0))
    best, reach = int(np.abs(response).argmax()), len(response) // 2
    draws = np.random.default_rng(seed).integers(len(windows), size=(RESAMPLES, len(windows)))
    counts = np.stack([np.bincount(draw, minlength=len(windows)) for draw in draws]).astype(np.float64)
    again = _solve(np.einsum("rw,wij->rij", counts, gram), counts @ answer)
    explained = float(answer.sum(0) @ response) / max(sum(w.energy for w in windows), 1e-9)
    return Lag(
        frames=best - reach,
        confidence=float((np.abs(again).argmax(-1) == best).mean()),
        correlation=float(np.sqrt(np.clip(explained, 0, 1))),
        gain=float(response[best]),
        response=tuple(round(float(r), 4) for r in response),
        transitions=int(rows),
    )


def _solve(gram: Float, answer: Float) -> Float:
    """Ridge regression; the ridge is small beside the mouse's own variance."""
    size = gram.shape[-1]
    ridge = 0.02 * np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / size + 1e-6
    return np.linalg.solve(gram + ridge * np.eye(size), answer[..., None])[..., 0]
