"""Objects that come and go by themselves while nobody does anything.

B rollouts, F pictures, h w cells, H W pixels. A cell is 8x8 pixels; what it holds shows in its local contrast.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from worldsim.evaluation.config import EvalThresholds
from worldsim.evaluation.metrics import cells
from worldsim.evaluation.starts import estimate_by_start
from worldsim.evaluation.statistics import estimate

Frames = NDArray[np.uint8]


def object_changes(first: Frames, later: Frames, limits: EvalThresholds) -> tuple[int, int]:
    """How many objects appeared and disappeared between pictures (H, W, 3) of one standing view.

    An object is ``object_cells`` neighbouring cells that change together: appeared, from next to nothing in them to
    ``object_contrast`` and more; disappeared, the other way round. Contrast is compared in units of the whole
    picture's, so that a picture that blurs all over does not count as many objects lost.
    """
    before, after = cells(np.stack([first, later]))
    full = before >= limits.object_contrast
    # How much contrast is left where there was some: the picture's own blur.
    left = float(np.median(after[full] / before[full])) if full.any() else 1.0
    # A picture that is all blur has lost its view, not one object: that is collapse.
    fair = after / np.clip(left, 0.25, 1.0)
    appeared = (before < limits.object_contrast / limits.object_gain) & (after >= limits.object_contrast)
    vanished = full & (fair < before / limits.object_gain)
    return _clusters(appeared, limits.object_cells), _clusters(vanished, limits.object_cells)


def object_counts(first: Frames, chunks: Frames, limits: EvalThresholds) -> NDArray[np.int64]:
    """Objects appeared and disappeared (B, 2) by the end of rollouts (B, K, H, W, 3) that started at (B, H, W, 3).

    Counted where they last: the smaller count of two pictures, the last and the one a sixth of the time earlier.
    """
    late = (chunks.shape[1] - 1, max(0, chunks.shape[1] - 1 - max(1, chunks.shape[1] // 6)))
    counts = [[object_changes(a, row[k], limits) for k in late] for a, row in zip(first, chunks, strict=True)]
    return np.array(counts).min(1)


def windowed_counts(first: Frames, chunks: Frames, width: int, limits: EvalThresholds) -> NDArray[np.int64]:
    """Objects appeared and disappeared (B, 2) in successive windows of ``width`` chunks, summed.

    A rate depends on the length over which changes are counted, since those that do not last cancel out: rates that are
    compared are counted over windows of one length.
    """
    shown = np.concatenate([first[:, None], chunks], 1)
    windows = range(0, chunks.shape[1] - width + 1, width)
    return np.sum([object_counts(shown[:, t], shown[:, t + 1 : t + 1 + width], limits) for t in windows], axis=0)


def object_report(counts: NDArray[np.int64], frames: int, maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Rates per 100 frames of doing nothing, and the share of rollouts with any."""
    per_hundred = counts * 100 / frames
    return {
        "starts": len(counts),
        "frames": frames,
        "appeared_per_100_frames": estimate_by_start(per_hundred[:, 0], maps, seed),
        "disappeared_per_100_frames": estimate_by_start(per_hundred[:, 1], maps, seed),
        "rollouts_with_appearance": estimate(counts[:, 0] > 0, maps, seed=seed),
        "rollouts_with_disappearance": estimate(counts[:, 1] > 0, maps, seed=seed),
        "per_start": counts.tolist(),
    }


def _clusters(changed: NDArray[np.bool_], least: int) -> int:
    numbered = np.empty(changed.shape, np.int32)
    label(changed, output=numbered)
    return int((np.bincount(numbered.ravel())[1:] >= least).sum())
