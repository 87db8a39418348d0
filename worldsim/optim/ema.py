"""Exponential moving average of a module's parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from worldsim.optim.distributed.engines import local


class Ema:
    """Exponential moving average of a module's parameters, warmed up so that early weights do not linger."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {n: p.detach().clone() for n, p in module.named_parameters()}

    def update(self, module: nn.Module, step: int) -> None:
        """Blend in the parameters after optimizer step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            names, parameters = zip(*module.named_parameters(), strict=True)
            averages = local([self.shadow[name] for name in names])
            torch._foreach_lerp_(averages, local(parameters), 1 - decay)  # pyright: ignore

    @contextmanager
    def averaged(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module has the averaged weights; afterwards its own again."""
        self._exchange(module)
        try:
            yield
        finally:
            self._exchange(module)

    @torch.no_grad()
    def _exchange(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            own, average = local([parameter.detach(), self.shadow[name]])
            held = own.clone()
            own.copy_(average)
            average.copy_(held)
