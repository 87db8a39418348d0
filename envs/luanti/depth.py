"""Depth as the engine's OpenGL has it, to the inverse depth that is recorded. H W pixels of the window."""

import numpy as np
from numpy.typing import NDArray

from worldsim.spec.camera import INVERSE_DEPTH_STEPS

UNITS_PER_METRE = 10.0  # of the game's own coordinates


def inverse_depth(window: NDArray[np.float32], projection: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / metre (H, W) along the camera's axis from OpenGL's window depth (0 near, 1 far: there 0, the sky).

    OpenGL keeps ((p10 z + p14) / (p11 z) + 1) / 2 of a point at z (glFrustum; z may be negative in front).

    Args:
        window: depth (H, W) as glReadPixels gives it.
        projection: elements 0, 10, 11 and 14 of the projection matrix.
    """
    _, p10, p11, p14 = map(float, projection)
    inverse = np.abs((2 * window - 1) * p11 - p10) * (UNITS_PER_METRE / abs(p14))
    return np.where(window < 1, inverse, 0).astype(np.float32)


def shrink_depth(inverse: NDArray[np.float32], blocks: tuple[int, int]) -> NDArray[np.uint16]:
    """Inverse depth of each block of pixels (rows, columns), as it is recorded: ``INVERSE_DEPTH_STEPS`` for 1 / metre.

    A block takes the upper median of its pixels. A mean would put points into the air between a thing and what is
    behind it.
    """
    high, wide = blocks
    rows, columns = inverse.shape[0] // high, inverse.shape[1] // wide
    steps = np.minimum(np.rint(inverse * INVERSE_DEPTH_STEPS), np.iinfo(np.uint16).max).astype(np.uint16)
    if high == wide == 1:
        return steps
    samples = steps.reshape(rows, high, columns, wide).swapaxes(1, 2).reshape(rows, columns, high * wide)
    return np.partition(samples, high * wide // 2, axis=-1)[..., high * wide // 2]
