"""Checkpoints without pickle: safetensors for tensors, JSON for configuration, written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from worldsim.asides import aside_of


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors and JSON metadata to one safetensors file by an atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    try:
        save_file(contiguous, aside, {"json": json.dumps(dict(metadata or {}))})
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        # safetensors makes files that only their owner can read.
        aside.chmod(0o644)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def compact(module: torch.nn.Module) -> dict[str, Tensor]:
    """A module's weights as they ship: matrices in bf16, the rest in fp32."""
    return {name: t.bfloat16() if t.ndim >= 2 else t.float() for name, t in module.state_dict().items()}


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_tensors`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a whole safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("json", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error


def load_module(module: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load weights strictly, in the module's own types.

    Raises:
        ValueError: names or shapes do not fit.
    """
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if missing or unknown or wrong:
        raise ValueError(
            f"{where} does not fit this model: missing {missing[:3]}, unknown {unknown[:3]}, size {wrong[:3]}"
        )
    module.load_state_dict({n: tensors[n].to(own[n].dtype) for n in own})
