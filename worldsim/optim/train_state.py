"""State of a training run, saved and restored exactly: weights, averaged weights, optimizers, auxiliary tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.models.checkpoint import load_tensors, misfits, save_tensors
from worldsim.optim.distributed.engines import spread_like
from worldsim.optim.ema import Ema
from worldsim.spec.damage import reading


@dataclass(frozen=True)
class Restored:
    """Step count and auxiliary state of a resumed run."""

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
    tensors = state_tensors(module, ema, optimizers, more)
    save_tensors(path, tensors, {"step": step, "about": dict(about or {})})


def state_tensors(
    module: nn.Module,
    ema: Ema | None,
    optimizers: list[torch.optim.Optimizer],
    more: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """All tensors of a training by the names that they are saved under."""
    tensors: dict[str, Tensor] = {f"model/{n}": t for n, t in module.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema/{n}": t for n, t in ema.shadow.items()}
    tensors |= {f"more/{n}": t for n, t in (more or {}).items()}
    for i, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer{i}/{key}/{n}": torch.as_tensor(v) for n, v in state.items()}
    return tensors


def tensors_alike(module: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Live tensors that saved ones are typed and sharded as, by the names that these are saved under."""
    like = {f"model/{n}": t for n, t in module.state_dict().items()}
    like |= {f"ema/{n}": p for n, p in module.named_parameters()}
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for key, parameter in enumerate(parameters):
            like |= {f"optimizer{i}/{key}/{n}": parameter for n in ("exp_avg", "exp_avg_sq", "momentum_buffer")}
    return like


def load_training(path: Path, module: nn.Module, ema: Ema | None, optimizers: list[torch.optim.Optimizer]) -> Restored:
    """Restore ``save_training``'s file into live objects; returns its step and the rest.

    Nothing is changed unless all of it fits.

    Raises:
        ValueError: the file is damaged or belongs to another model.
    """
    tensors, metadata = load_tensors(path)
    like = tensors_alike(module, optimizers)
    tensors = {n: spread_like(t, like[n]) if n in like else t for n, t in tensors.items()}
    return take_over(path, tensors, metadata, module, ema, optimizers)


def take_over(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    module: nn.Module,
    ema: Ema | None,
    optimizers: list[torch.optim.Optimizer],
) -> Restored:
    """Put saved tensors, sharded as the live ones are, into live objects.

    Nothing is changed unless all of it fits.

    Raises:
        ValueError: what was read from ``path`` is damaged or belongs to another model.
    """
    found = {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
    averages = {n.removeprefix("ema/"): t for n, t in tensors.items() if n.startswith("ema/")}
    if misfits(module.state_dict(), found) or (ema is not None and misfits(ema.shadow, averages)):
        raise ValueError(
            f"{path} belongs to a model of other sizes: choose another run folder or the same configuration"
        )
    with reading(path, "the state of a training"):
        states = [optimizer_state(tensors, f"optimizer{i}", optimizer) for i, optimizer in enumerate(optimizers)]
        step, about = int(metadata["step"]), dict(metadata.get("about", {}))
    module.load_state_dict(found)
    if ema is not None:
        for name in ema.shadow:
            ema.shadow[name].copy_(averages[name])
    for optimizer, state in zip(optimizers, states, strict=True):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                # The fused optimizer walks through memory: moments have to lie as their (channels-last) weights do.
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    more = {name.removeprefix("more/"): tensor for name, tensor in tensors.items() if name.startswith("more/")}
    return Restored(step, more, about)


def optimizer_state(
    tensors: Mapping[str, Tensor], prefix: str, optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """What was saved as ``PREFIX/NUMBER/NAME`` of the optimizer's parameters.

    Raises:
        ValueError: a name or a shape is not of this optimizer.
    """
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not name.startswith(f"{prefix}/"):
            continue
        _, key, field = name.split("/")
        if tensor.ndim and tensor.shape != shapes[int(key)]:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, its weight {tuple(shapes[int(key)])}")
        state.setdefault(int(key), {})[field] = tensor
    return state
