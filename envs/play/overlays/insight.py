"""Pictures of what a world knows beside the frame that it shows: depth, and whose each pixel is.

H W pixels.
"""

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
# From near to far: colours that also differ in lightness (viridis, from its yellow end).
NEAR_TO_FAR = np.array([(253, 231, 37), (94, 201, 98), (33, 145, 140), (59, 82, 139), (68, 1, 84)], np.float32)
NEAREST, FARTHEST = 1.0, 64.0
# Of memory's pixels, those of the screen (hand, hotbar), and those that the network made: as ``SOURCES`` has them.
TINTS = np.array([(60, 220, 90), (80, 140, 255), (255, 90, 60)], np.float32)
TINT, SKY = 0.45, (20, 20, 40)


def depth_picture(frame: Frame, inverse_depth: NDArray[np.floating], confidence: NDArray[np.uint8]) -> Frame:
    """Depth (H, W) as colours, on a scale of doublings from 1 to 64 m; darkened picture where nothing tells the depth.

    Args:
        frame: uint8 (H, W, 3).
        inverse_depth: 1/m, 0 is infinitely far.
        confidence: 0 where the picture does not show the world.
    """
    inverse = np.asarray(inverse_depth, np.float32)
    with np.errstate(divide="ignore"):
        doublings = -np.log2(np.maximum(inverse, 1e-6)) / np.log2(FARTHEST / NEAREST)
    place = np.clip(doublings, 0, 1) * (len(NEAR_TO_FAR) - 1)
    low = np.minimum(place.astype(int), len(NEAR_TO_FAR) - 2)
    share = (place - low)[..., None]
    out = NEAR_TO_FAR[low] * (1 - share) + NEAR_TO_FAR[low + 1] * share
    out[inverse <= 0] = SKY
    unknown = confidence == 0
    out[unknown] = frame[unknown] * 0.35
    return out.round().astype(np.uint8)


def sources_picture(frame: Frame, sources: NDArray[np.uint8]) -> Frame:
    """A frame uint8 (H, W, 3), tinted by whose each pixel is (H, W): memory green, screen blue, network red."""
    return (frame * (1 - TINT) + TINTS[sources] * TINT).round().astype(np.uint8)


def difference_picture(one: Frame, other: Frame) -> Frame:
    """How far two frames are apart in each value, three times as bright, so that small differences are seen."""
    return np.minimum(3 * np.abs(one.astype(np.int16) - other), 255).astype(np.uint8)
