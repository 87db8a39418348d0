"""What the tensors of a world's state are: for states that come from files.

L temporal layers, S cache slots, N picture tokens, R registers, K key/value heads, E head width, C channels, h w latent
grid, X sentence embedding, D width of the network.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from worldsim.models.dit import WorldDiT
from worldsim.models.tokenizer import VideoTokenizer

# Kept in whichever of these the world that wrote them computes in.
CACHE_TYPES = (torch.float32, torch.bfloat16)
Kind = tuple[tuple[int, ...], tuple[torch.dtype, ...]]


def kinds_of(dit: WorldDiT, tokenizer: VideoTokenizer, grid: tuple[int, int]) -> dict[str, Kind]:
    """Shape without the rows, and types, of each tensor of a state with a latent grid (h, w)."""
    cache = tuple(dit.empty_cache(0, grid).keys.shape[1:])
    real, whole = (torch.float32,), (torch.int64,)
    kinds: dict[str, Kind] = {
        "ring_keys": (cache, CACHE_TYPES),
        "ring_values": (cache, CACHE_TYPES),
        "count": ((), whole),
        "latent": ((dit.config.channels, *grid), real),
        "pose": ((5,), real),
        "furthest": ((), real),
        "text": ((dit.config.text_size,), real),
        "features": ((2 * dit.config.width,), real),
        "uncertainty": ((2,), real),
        "trust": ((), real),
        "seeds": ((), whole),
        "steps": ((), whole),
    }
    return kinds | {f"decoder{i}": (shape, real) for i, shape in enumerate(tokenizer.stream_shapes(grid))}


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Whether all numbers of a state are finite.

    Raises:
        ValueError: one is not; says of which tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")


def check_tensors(tensors: Mapping[str, Tensor], kinds: Mapping[str, Kind], where: str) -> None:
    """Whether tensors are those of a world's state; others beside them are not looked at, nor are values.

    Raises:
        ValueError: one is missing, of another shape or type, or counts below nothing; says which.
    """
    if missing := sorted(kinds.keys() - tensors.keys()):
        raise ValueError(f"{where}: {missing[0]} is missing")
    for name, (shape, types) in kinds.items():
        tensor = tensors[name]
        if tuple(tensor.shape[1:]) != shape or tensor.dtype not in types:
            found = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"{where}: {name} must be {types[0]} of (rows, {', '.join(map(str, shape))}), got {found}")
    frames, steps = int(tensors["count"].min()), int(tensors["steps"].min())
    if frames < 1 or steps < 0:
        raise ValueError(f"{where}: it counts {frames} frames of past and {steps} steps")
