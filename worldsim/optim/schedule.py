"""The learning rate's schedule, and checks of a training's settings."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch


def check_settings(settings: Any, *, positive: Iterable[str] = (), shares: Iterable[str], group: str = "") -> None:
    """Check the ranges of the numbers of a dataclass; groups inside it check their own.

    Args:
        settings: an instance.
        positive: fields above 0; all other numbers are at least 0.
        shares: fields of at most 1.
        group: that the settings are in, for the message.

    Raises:
        ValueError: names the first field that is out of its range.
    """
    above, parts = set(positive), set(shares)
    for name, value in asdict(settings).items():
        if not isinstance(value, int | float):
            continue
        low = "above 0" if name in above else "at least 0"
        if not math.isfinite(value) or value < 0 or (name in above and value == 0) or (name in parts and value > 1):
            full = f"{group}.{name}" if group else name
            raise ValueError(f"{full} must be {low}{' and at most 1' if name in parts else ''}, got {value:g}")


def learning_rate_factor(step: int, warmup: int, steps: int, cooldown: float = 0.3) -> float:
    """Linear warm-up, a plateau, and a linear cool-down to 5 % over the last ``cooldown`` of all steps."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = (steps - step) / max(1.0, cooldown * steps)
    return rise * max(0.05, min(1.0, fall))


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's first learning rate by ``factor``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("first_lr", group["lr"]) * factor
