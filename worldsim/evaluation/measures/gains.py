"""Gain over repeating the last frame, where there is something to gain. B clips, K chunks."""

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.measures.starts import estimate_by_start, reported_chunks
from worldsim.evaluation.measures.types import Results

# A last frame this near to the truth (dB) stands: nothing that one would see has moved.
MOVED = 30.0


def gain_where_it_moves(gain: NDArray[np.float64], repeat: NDArray[np.float64], maps: NDArray, seed: int) -> Results:
    """Gain (B, K) over repeating the last frame at the reported chunks, over the clips whose picture has changed.

    Where nothing moves the last frame is the truth: no world can gain there, and a loss from 60 to 50 dB, which nobody
    sees, weighs as much as one from 25 to 15.
    """
    out: Results = {}
    for chunk in reported_chunks(gain.shape[1]):
        moved = repeat[:, chunk - 1] < MOVED
        if moved.any():
            out[str(chunk)] = estimate_by_start(gain[moved, chunk - 1], maps[moved], seed)
    return out
