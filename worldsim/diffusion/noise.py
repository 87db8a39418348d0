"""Noise as a function of (seed, step): branches of one world share it, and replay is exact."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def noise(seeds: Iterable[int], steps: Iterable[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (B, *shape); row b depends on seeds[b] and steps[b] alone."""
    rows = []
    for seed, step in zip(seeds, steps, strict=True):
        digest = hashlib.blake2b(f"{int(seed)}:{int(step)}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows)
