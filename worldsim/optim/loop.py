"""The loop of a training that resumes exactly: optimizer steps, validation, saves."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.optim.ema import Ema
from worldsim.optim.muon import Muon
from worldsim.optim.train_state import Restored, load_training, save_training


def split_optimizers(module: nn.Module, matrices: str, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices under the prefix ``matrices``, AdamW for the rest of what learns."""
    muon, adam, plain = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(matrices) and parameter.ndim == 2 and "modulation" not in name:
            muon.append(parameter)
        else:
            (adam if parameter.ndim >= 2 else plain).append(parameter)
    groups = [{"params": adam, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)]
    if muon:
        optimizers.append(Muon(muon, rate=matrix_rate))
    return optimizers


def optimizer_step(module: nn.Module, optimizers: Iterable[torch.optim.Optimizer], ema: Ema, step: int) -> float:
    """Optimizer step ``step`` (from 0), then clear the gradients; returns their norm before clipping."""
    # Clipped to 1: a rare batch would throw the weights far away.
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not norm <= 1.0:
        torch.nn.utils.clip_grads_with_norm_(module.parameters(), 1.0, norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ema.update(module, step)
    return float(norm)


def finite(loss: Tensor, step: int) -> float:
    """The loss as a number.

    Raises:
        FloatingPointError: it is not finite; the last checkpoint is intact.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"loss is {value} at step {step}: lower the learning rate and resume")
    return value


def run_steps(
    first: int,
    steps: int,
    learn: Callable[[int], dict[str, float]],
    validate: Callable[[], dict[str, float]],
    save: Callable[[int], None],
    *,
    validate_every: int,
    save_minutes: float,
) -> Generator[tuple[int, dict[str, float]]]:
    """Steps ``first`` to ``steps``; yields (steps done, metrics). Saves every few minutes, at the end, and when closed.

    Args:
        first: step to begin with.
        steps: of the whole run.
        learn: does a step (from 0), returns its metrics.
        validate: metrics on held-out clips, of every ``validate_every``-th step and the last.
        save: writes the state after so many steps.
        validate_every: steps.
        save_minutes: between saves.
    """
    saved = time.monotonic()
    for step in range(first, steps):
        metrics = learn(step)
        done, last = step + 1, step + 1 == steps
        if done % validate_every == 0 or last:
            metrics |= {f"validation/{name}": value for name, value in validate().items()}
        if last or time.monotonic() - saved > 60 * save_minutes:
            save(done)
            saved = time.monotonic()
        try:
            yield done, metrics
        except GeneratorExit:
            save(done)
            raise


@dataclass
class TrainedModule:
    """A module in training with its optimizers, averaged weights and the file that its state is kept in.

    Attributes:
        module: that is trained.
        optimizers: of its parameters.
        ema: averaged weights.
        path: ``state.safetensors`` of the run.
    """

    module: nn.Module
    optimizers: list[torch.optim.Optimizer]
    ema: Ema
    path: Path

    def __post_init__(self) -> None:
        self.path = self.path.absolute()

    def restore(self) -> Restored | None:
        """Load the state where there is one; None where the run is new.

        Raises:
            ValueError: it belongs to another model.
        """
        return load_training(self.path, self.module, self.ema, self.optimizers) if self.path.exists() else None

    def save(self, step: int, more: Mapping[str, Tensor] | None = None, about: Mapping[str, Any] | None = None) -> None:
        """Write the state after ``step`` steps."""
        save_training(self.path, step, self.module, self.ema, self.optimizers, more, about)

    def step(self, step: int) -> float:
        """Optimizer step ``step`` (from 0); returns the gradients' norm."""
        return optimizer_step(self.module, self.optimizers, self.ema, step)
