"""Noise as a function of (seed, step): branches of one world share it, and replay is exact."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def noise(
    seeds: Iterable[int], steps: Iterable[int], shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise (B, *shape) on a device; row b depends on seeds[b] and steps[b] alone.

    It is drawn on the CPU and moved: GPUs have other generators, and a seed is to give the same noise everywhere.
    """
    rows = []
    for seed, step in zip(seeds, steps, strict=True):
        digest = hashlib.blake2b(f"{int(seed)}:{int(step)}".encode(), digest_size=8).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
        rows.append(torch.randn(shape, generator=generator, device="cpu"))
    return torch.stack(rows).to(device)
