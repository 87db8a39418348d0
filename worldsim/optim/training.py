"""What both trainings share: averaged weights, schedule, optimizers, and training state that resumes exactly."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.optim.muon import Muon


def check_settings(settings: Any, *, positive: Iterable[str], shares: Iterable[str]) -> None:
    """Numbers of a dataclass that no training can mean.

    Args:
        settings: an instance.
        positive: fields above 0; all other numbers are at least 0.
        shares: fields of at most 1.

    Raises:
        ValueError: names the first field that is out of its range.
    """
    above, parts = set(positive), set(shares)
    for name, value in asdict(settings).items():
        if not isinstance(value, int | float):
            continue
        low = "above 0" if name in above else "at least 0"
        if not math.isfinite(value) or value < 0 or (name in above and value == 0) or (name in parts and value > 1):
            raise ValueError(f"{name} must be {low}{' and at most 1' if name in parts else ''}, got {value:g}")


def learning_rate_factor(step: int, warmup: int, steps: int, cooldown: float = 0.3) -> float:
    """Linear warm-up, a plateau, and a linear cool-down to 5 % over the last ``cooldown`` of all steps."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = (steps - step) / max(1.0, cooldown * steps)
    return rise * max(0.05, min(1.0, fall))


class Ema:
    """Exponential moving average of a module's parameters, warmed up so that early weights do not linger."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {n: p.detach().clone() for n, p in module.named_parameters()}

    def update(self, module: nn.Module, step: int) -> None:
        """Blend in the parameters after optimizer step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                self.shadow[name].lerp_(parameter, 1 - decay)

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
            held = parameter.detach().clone()
            parameter.copy_(self.shadow[name])
            self.shadow[name].copy_(held)


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


def split_optimizers(module: nn.Module, matrices: str, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices under the prefix ``matrices``, AdamW for the rest."""
    muon, adam, plain = [], [], []
    for name, parameter in module.named_parameters():
        if name.startswith(matrices) and parameter.ndim == 2 and "modulation" not in name:
            muon.append(parameter)
        else:
            (adam if parameter.ndim >= 2 else plain).append(parameter)
    groups = [{"params": adam, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)]
    if muon:
        optimizers.append(Muon(muon, rate=matrix_rate))
    return optimizers


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's first learning rate by ``factor``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("first_lr", group["lr"]) * factor


def descend(module: nn.Module, optimizers: Iterable[torch.optim.Optimizer], ema: Ema, step: int) -> float:
    """Step ``step`` (from 0) along the gradients there are, then clear them; returns their length, uncut."""
    # Cut to 1: a rare batch would throw the weights far away.
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ema.update(module, step)
    return float(norm)


@dataclass(frozen=True)
class Restored:
    """Of a training that is resumed: steps done, and what it keeps beside weights and optimizers."""

    step: int
    more: dict[str, Tensor]
    about: dict[str, Any]


def save_training(
    path: Path,
    step: int,
    module: nn.Module,
    ema: Ema | None,
    optimizers: list[torch.optim.Optimizer],
    more: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that resuming needs to one safetensors file.

    ``more`` and ``about``, values as JSON can hold them, are what ``load_training`` gives back.
    """
    tensors: dict[str, Tensor] = {f"model/{n}": t for n, t in module.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema/{n}": t for n, t in ema.shadow.items()}
    tensors |= {f"more/{n}": t for n, t in (more or {}).items()}
    for i, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer{i}/{key}/{n}": torch.as_tensor(v) for n, v in state.items()}
    save_tensors(path, tensors, {"step": step, "about": dict(about or {})})


def load_training(path: Path, module: nn.Module, ema: Ema | None, optimizers: list[torch.optim.Optimizer]) -> Restored:
    """Restore ``save_training``'s file into live objects; returns its step and the rest.

    Raises:
        ValueError: the file belongs to another model.
    """
    tensors, metadata = load_tensors(path)
    own = module.state_dict()
    found = {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
    if found.keys() != own.keys() or any(found[n].shape != own[n].shape for n in own):
        raise ValueError(
            f"{path} belongs to a model of other sizes: choose another run folder or the same configuration"
        )
    module.load_state_dict(found)
    if ema is not None:
        for name in ema.shadow:
            ema.shadow[name].copy_(tensors[f"ema/{name}"])
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer{i}/"):
                _, key, field = name.split("/")
                state.setdefault(int(key), {})[field] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                # The fused optimizer walks through memory: moments have to lie as their (channels-last) weights do.
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    more = {name.removeprefix("more/"): tensor for name, tensor in tensors.items() if name.startswith("more/")}
    return Restored(int(metadata["step"]), more, metadata.get("about", {}))


def finite(loss: Tensor, step: int) -> float:
    """The loss as a number.

    Raises:
        FloatingPointError: it is not finite; the last checkpoint is intact.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"loss is {value} at step {step}: lower the learning rate and resume")
    return value
