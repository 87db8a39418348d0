"""Which pixels of a picture a world must keep, and PSNR over those alone.

B pictures, H W pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.store import EpisodeStore
from worldsim.evaluation.measures.metrics import WORLD_ROWS

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]
# Sky and water: blue is the strongest channel, by so much over red (of 255). Depth tells the sky, and water alone is
# left to colour: it is bluer than snow in the shade.
BLUER, WATER_BLUER = 15, 50
# Where less of the picture than this share is left, all of it is judged.
LEAST_LEFT = 0.1


def judged_pixels(first: Frames, world_rows: bool, sky: bool, depth: NDArray[np.uint16] | None = None) -> Mask:
    """Pixels (B, H, W) of pictures (B, H, W, 3) that are to stand, or to be there again.

    Args:
        first: the pictures.
        world_rows: leave out the lowest rows, which show hand and hotbar.
        sky: leave out sky and water, which live by themselves.
        depth: recorded inverse depth (B, H, W), 0 in the sky. Without it, whatever is blue is taken for sky or water:
            white clouds are then judged, and snow in the shade is not.
    """
    out = np.ones(first.shape[:-1], bool)
    if sky:
        red, green, blue = np.moveaxis(first.astype(np.int16), -1, 0)
        out &= ~((blue > red + (BLUER if depth is None else WATER_BLUER)) & (blue >= green))
        if depth is not None:
            out &= depth > 0
    if world_rows:
        out[:, round(first.shape[1] * WORLD_ROWS) :] = False
        whole = WORLD_ROWS
    else:
        whole = 1.0
    bare = out.mean((1, 2)) < LEAST_LEFT * whole
    out[bare, : round(first.shape[1] * whole)] = True
    return out


def judged_in_recordings(
    store: EpisodeStore, places: Sequence[tuple[str, int]], frames: Frames, world_rows: bool = True
) -> Mask:
    """Pixels (B, H, W) that are to be there again, of recorded pictures (B, H, W, 3) at (episode, frame).

    Sky and water are left out where the recordings show Luanti's, whose look is known; by depth where it was recorded.
    """
    sky = of_luanti(store, [name for name, _ in places])
    out = []
    for (name, t), frame in zip(places, frames, strict=True):
        depth = None
        if sky and f"state/{DEPTH}" in store.manifest(name)["arrays"]:
            depth = store.read(name, t, t + 1).state[DEPTH]
        out.append(judged_pixels(frame[None], world_rows, sky, depth)[0])
    return np.stack(out)


def judged_psnr(shown: Frames, target: Frames, judged: Mask) -> NDArray[np.float64]:
    """PSNR in dB (B,) over the judged pixels (B, H, W) of pictures (B, H, W, 3), at most 60."""
    error = np.square(shown.astype(np.float64) - target).mean(-1)
    mean = (error * judged).sum((1, 2)) / np.maximum(judged.sum((1, 2)), 1)
    return 10 * np.log10(255**2 / np.maximum(mean, 255**2 / 1e6))


def of_luanti(store: EpisodeStore, names: Sequence[str]) -> bool:
    """Whether the recordings show Luanti's sky, whose look is known."""
    return all(store.manifest(name)["provenance"].get("engine") == "luanti" for name in names)
