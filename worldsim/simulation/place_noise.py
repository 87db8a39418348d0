"""Noise that belongs to places: what lies in one direction is dreamt from the same noise, picture after picture.

What a network cannot know it samples. With noise drawn anew for every picture, each holds another sample of the same
hill, and what a memory pieces together of many samples is fog. Here noise hangs on spheres around the player: it stays
where it is while the camera turns, and becomes another, little by little, as the player walks. It depends on seed and
pose alone, so replays and forks are exact, and futures that come by the same place dream of the same there.

B worlds, C channels, h w latent grid.
"""

import hashlib
import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics

# Degrees between knots of noise, about what a cell of the latent grid sees; knots from the zenith down, and around.
SPACING = 6.0
DOWN, AROUND = round(180 / SPACING) + 1, round(360 / SPACING)
# Spheres that are kept: four a world, for 64 worlds.
KEPT = 256


def place_noise(
    seeds: Iterable[int], poses_B5: Tensor, lens: Intrinsics, shape: tuple[int, int, int], metres: float
) -> Tensor:
    """Standard normal noise (B, C, h, w) on the CPU; row b depends on seeds[b] and its pose alone, continuously.

    Args:
        seeds: of the worlds.
        poses_B5: of the camera: x, y, z (m), yaw, pitch (degrees).
        lens: of the pictures.
        shape: C, h, w.
        metres: between the places whose noises have nothing in common.
    """
    poses = poses_B5.tolist()
    return torch.stack([_row(int(seed), pose, lens, shape, metres) for seed, pose in zip(seeds, poses, strict=True)])


def _row(seed: int, pose: list[float], lens: Intrinsics, shape: tuple[int, int, int], metres: float) -> Tensor:
    x, _, z, yaw, pitch = pose
    (left, rightwards), (near, onwards) = (_knots(np.array(place / metres)) for place in (x, z))
    around, down = _directions(lens, shape[1], shape[2], pitch)
    (column, turned), (row, lowered) = _knots(around + yaw / SPACING), _knots(down)
    columns, rows = np.stack([column, column + 1]) % AROUND, np.stack([row, row + 1]).clip(0, DOWN - 1)
    # Directions: two knots down by two around.
    weights = lowered.astype(np.float32)[:, None] * turned.astype(np.float32)[None]
    out = np.zeros(shape, np.float32)
    for i, across in enumerate(rightwards):
        for j, along in enumerate(onwards):
            knots = _sphere(seed, int(left) + i, int(near) + j, shape[0])[:, rows[:, None], columns[None]]
            out += np.float32(across * along) * (knots * weights).sum((1, 2))
    return torch.from_numpy(out)


def _directions(lens: Intrinsics, h: int, w: int, pitch: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the middle of each cell, relative to the heading: knots around, and knots down from the zenith, (h, w)."""
    u, v = (
        torch.arange(n, dtype=torch.float64) * side / n + side / n / 2 - 0.5
        for n, side in ((w, lens.width), (h, lens.height))
    )
    x, y = (slope.numpy() for slope in torch.broadcast_tensors(*lens.directions(u[None], v[:, None])))
    sin, cos = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
    ahead, below = cos - y * sin, y * cos + sin
    around = np.degrees(np.arctan2(x, ahead))
    return around / SPACING, (np.degrees(np.arctan2(below, np.hypot(x, ahead))) + 90) / SPACING


def _knots(places: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The knots before places (...), and the weights (2, ...) of these and the next.

    Their squares sum to 1, so that the sum of independent noises is standard normal again.
    """
    before = np.floor(places)
    angle = (places - before) * (math.pi / 2)
    return before.astype(np.int64), np.stack([np.cos(angle), np.sin(angle)])


@lru_cache(maxsize=KEPT)
def _sphere(seed: int, x: int, z: int, channels: int) -> NDArray[np.float16]:
    """Noise (C, DOWN, AROUND) of a knot of places."""
    digest = hashlib.blake2b(f"{seed}:{x}:{z}".encode(), digest_size=8).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(channels, DOWN, AROUND, generator=generator, device="cpu", dtype=torch.float32).half().numpy()
