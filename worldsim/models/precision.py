"""Which number format a machine multiplies matrices fastest in: bf16 on a CPU only where it has instructions for it."""

from functools import cache
from pathlib import Path

import torch
from torch import nn


@cache
def fast_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices faster than fp32 ones (without instructions: 100 times slower)."""
    return "avx512_bf16" in _flags() or has_amx() or "bf16" in _flags()


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies bf16 matrices by tiles."""
    return "amx_bf16" in _flags()


@cache
def _flags() -> frozenset[str]:
    cpuinfo = Path("/proc/cpuinfo")
    return frozenset(cpuinfo.read_text().split()) if cpuinfo.exists() else frozenset()


def fast_precision(device: torch.device | str = "cpu") -> torch.autocast:
    """A context in which matrix products run in bf16 where that pays (on any GPU), else as they are."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or fast_bf16())


def hold_in_bf16(*networks: nn.Module) -> None:
    """Keep the weights of products and convolutions in bf16: autocast would cast every one again at every call."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.bfloat16()
