"""When one picture counts as another one standing still."""

import numpy as np
from numpy.typing import NDArray

# Mean absolute difference of two pictures, of 255, below which the second counts as frozen: under the noise of an
# engine that draws water and clouds, far under a turn by a tenth of a degree.
FROZEN_DIFFERENCE = 0.15


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean absolute difference, of 255, of pictures (..., H, W, 3)."""
    # Unsigned: the larger less the smaller, without widening the pictures.
    return (np.maximum(a, b) - np.minimum(a, b)).mean((-3, -2, -1))
