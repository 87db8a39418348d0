"""Types of what is measured and shown."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pictures uint8 (B, n, H, W, 3) by name.
Films = Mapping[str, NDArray[np.uint8]]
# What JSON can hold, by name.
Results = dict[str, Any]
# Is called with the stage, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]
