"""The loop of a training that resumes exactly: optimizer steps, validation, saves."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.models.checkpoint import read_metadata
from worldsim.optim.distributed.checkpoints import ShardedStates, newest_step, read_state, step_folder
from worldsim.optim.distributed.engines import Engine, whole
from worldsim.optim.distributed.ranks import ranks
from worldsim.optim.distributed.shares import Share, share_of
from worldsim.optim.ema import Ema
from worldsim.optim.muon import Muon
from worldsim.optim.train_state import (
    Restored,
    load_training,
    save_training,
    state_tensors,
    take_over,
    tensors_alike,
)
from worldsim.spec.damage import reading


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
    norm = whole(torch.nn.utils.get_total_norm(gradients))
    if not norm <= 1.0:
        torch.nn.utils.clip_grads_with_norm_(module.parameters(), 1.0, norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ema.update(module, step)
    return float(norm)


def finite(loss: Tensor | float, step: int) -> float:
    """The loss as a number.

    Raises:
        FloatingPointError: it is not finite; the last checkpoint is intact.
    """
    value = float(loss.detach() if isinstance(loss, Tensor) else loss)
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
    saved, together = time.monotonic(), ranks()
    for step in range(first, steps):
        metrics = learn(step)
        done, last = step + 1, step + 1 == steps
        if done % validate_every == 0 or last:
            metrics |= {f"validation/{name}": value for name, value in validate().items()}
        if together.any(last or time.monotonic() - saved > 60 * save_minutes):
            save(done)
            saved = time.monotonic()
        try:
            yield done, metrics
        except GeneratorExit:
            # One rank of several cannot save without the others.
            if together.alone or together.stopping:
                save(done)
            raise


def has_state(path: Path) -> bool:
    """Whether a run whose state is kept at ``path`` has one to go on from."""
    return path.exists() or newest_step(path.with_suffix("")) >= 0


@dataclass
class TrainedModule:
    """A module in training with its optimizers, averaged weights and the file that its state is kept in.

    Several ranks keep their state in a folder beside that file (``worldsim.optim.distributed.checkpoints``). What one
    process saved goes on with several, and the other way round.

    Attributes:
        module: that is trained.
        optimizers: of its parameters.
        ema: averaged weights.
        path: ``state.safetensors`` of the run.
        share: of each step's batch, that this rank learns from.
        sharded: the module's weights are spread over the ranks.
    """

    module: nn.Module
    optimizers: list[torch.optim.Optimizer]
    ema: Ema
    path: Path
    share: Share = field(default_factory=lambda: share_of(1))
    sharded: bool = False

    def __post_init__(self) -> None:
        self.path = self.path.absolute()
        self.engine = Engine(self.module, self.sharded)
        self._states = ShardedStates(self.path.with_suffix(""), self.share.ranks)

    def restore(self, wanted: Callable[[str], bool] = lambda name: True) -> Restored | None:
        """Load the newest state where there is one; None where the run is new.

        Args:
            wanted: names of auxiliary tensors that this rank needs.

        Raises:
            ValueError: it belongs to another model.
        """
        states = self._states.folder
        # Each rank could see another folder's content for a moment: the first one says which it is.
        step = self.share.ranks.agreed(newest_step(states))
        single = self.share.ranks.agreed(self._single_step(step))
        if single < 0 and step < 0:
            return None
        if single >= step:
            return load_training(self.path, self.module, self.ema, self.optimizers)

        def needed(name: str) -> bool:
            return not name.startswith("more/") or wanted(name.removeprefix("more/"))

        tensors, about = read_state(states, step, tensors_alike(self.module, self.optimizers), needed)
        place = step_folder(states, step)
        return take_over(place, tensors, about, self.module, self.ema, self.optimizers)

    def _single_step(self, newest: int) -> int:
        """Step of the state that one process left; -1 where there is none, 0 where no other is to be compared with."""
        if not self.path.exists() or newest < 0:
            return 0 if self.path.exists() else -1
        with reading(self.path, "the state of a training"):
            return int(read_metadata(self.path)["step"])

    def save(self, step: int, more: Mapping[str, Tensor] | None = None, about: Mapping[str, Any] | None = None) -> None:
        """Write the state after ``step`` steps; several ranks go on while it is written."""
        if self.share.ranks.alone:
            save_training(self.path, step, self.module, self.ema, self.optimizers, more, about)
        else:
            self._states.save(step, state_tensors(self.module, self.ema, self.optimizers, more), about or {})

    def run(self, *args: Any, **options: Any) -> Generator[tuple[int, dict[str, float]]]:
        """``run_steps``; at the end, what was saved is written."""
        try:
            yield from run_steps(*args, **options)
        finally:
            self._states.finish()

    def backward(self, output: Tensor, gradient: Tensor | None = None) -> None:
        """Add a part's gradient: of a loss, or, given the loss's gradient there, of another output of ``engine``."""
        # Where a part of the network alone learns, some losses have nothing to do with it.
        if not output.requires_grad:
            return
        if (scale := self.share.scale) != 1:
            output, gradient = (output * scale, None) if gradient is None else (output, gradient * scale)
        output.backward(gradient)

    def step(self, step: int) -> float:
        """Optimizer step ``step`` (from 0); returns the gradients' norm."""
        return optimizer_step(self.module, self.optimizers, self.ema, step)
