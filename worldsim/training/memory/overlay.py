"""Pixels that a game fixes to the screen, found in recordings: a crosshair, say.

F frames, H W pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.datasets.store.store import EpisodeStore

# Frames an episode is looked at, and frames of all of them at most.
EACH, MOST = 10, 400
# Pixels that are brighter or darker than those around them by more than so many times their own spread are fixed. In
# recordings of Luanti a crosshair has 1.05 or more, no pixel of the world more than .53.
FIXED = 0.7
# Pixels to each side whose median a pixel is compared with: thin lines are a small part of them.
AROUND = 3
# Levels of 255 that a picture's noise has at least.
NOISE = 4.0


def spread_frames(store: EpisodeStore, names: Sequence[str]) -> Tensor:
    """Frames uint8 (F, H, W, 3) far apart from one another."""
    found = []
    for name in names[: MOST // EACH]:
        frames = store.read(name, depth=False).frames
        found.append(frames[np.linspace(0, len(frames) - 1, EACH).astype(int)])
    return torch.from_numpy(np.concatenate(found))


def fixed_pixels(frames_FHWC: Tensor) -> Tensor:
    """Which pixels (H, W) differ from those around them alike in all frames, whatever the camera sees."""
    pictures = frames_FHWC.movedim(-1, 1).float()
    total = square = torch.zeros(1)
    for some in pictures.split(50):
        wide = F.pad(some, (AROUND,) * 4, mode="replicate")
        around = wide.unfold(2, 2 * AROUND + 1, 1).unfold(3, 2 * AROUND + 1, 1).flatten(4).median(-1)
        stands_out = some - around.values
        total, square = total + stands_out.sum(0), square + stands_out.square().sum(0)
    mean = total / len(pictures)
    spread = (square / len(pictures) - mean.square()).clamp(min=0).sqrt()
    return (mean.abs() / (spread + NOISE)).amax(0) > FIXED
