"""Which number format a machine multiplies matrices fastest in: bf16 on a CPU only where it has instructions for it."""

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import nn

# Layers whose weights are held in bf16 where products run in it.
HELD = (nn.Linear, nn.Conv2d)


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


@contextlib.contextmanager
def apart_from_gradient() -> Iterator[None]:
    """A context of passes that a step of training makes without a gradient, before the one that has it.

    Autocast keeps weights that it has cast. In PyTorch 2.9, those of a pass without a gradient would serve the one that
    has it, and the weights would get none.
    """
    with torch.no_grad():
        yield
    torch.clear_autocast_cache()


def hold_in_bf16(*networks: nn.Module) -> None:
    """Keep the weights of products and convolutions in bf16: autocast would cast every one again at every call."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, HELD):
                module.bfloat16()


def rounded_names(network: nn.Module) -> frozenset[str]:
    """Names of the weights that ``hold_in_bf16`` rounds."""
    layers = ((name, module) for name, module in network.named_modules() if isinstance(module, HELD))
    return frozenset(f"{name}.{weight}" for name, module in layers for weight, _ in module.named_parameters())
