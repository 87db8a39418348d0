"""Small learned heads that read facts from a world's features, in a file of their own beside its weights.

B rows, D width of the network, X sentence embedding.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, compact, load_tensors, save_tensors
from worldsim.models.shield import shielded
from worldsim.spec.damage import reading
from worldsim.spec.facts import LEARNED
from worldsim.spec.from_json import dataclass_of

FILE = "tasks.safetensors"
FORMAT = "worldsim-tasks-1"


@dataclass(frozen=True, kw_only=True)
class FactHeadsConfig:
    """Sizes. ``known``: the facts that there was truth for; ``text``: size of the space of text goals, 0 for none."""

    features: int
    hidden: int = 128
    known: tuple[str, ...] = LEARNED
    text: int = 0


class FactHeads(nn.Module):
    """Features (B, 2 D) to logits of facts, and to the space of sentence embeddings.

    ``slope`` and ``shift`` calibrate the logits (Platt 1999); ``usual`` is the mean embedding of the recordings.
    """

    slope: Tensor
    shift: Tensor
    usual: Tensor

    def __init__(self, config: FactHeadsConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = nn.Sequential(nn.RMSNorm(config.features), nn.Linear(config.features, config.hidden), nn.SiLU())
        self.out = nn.Linear(config.hidden, len(config.known))
        self.text = nn.Linear(config.features, config.text) if config.text else None
        self.register_buffer("slope", torch.ones(len(config.known)))
        self.register_buffer("shift", torch.zeros(len(config.known)))
        self.register_buffer("usual", torch.zeros(config.text))

    def forward(self, features: Tensor) -> Tensor:
        """Uncalibrated logits (B, facts)."""
        return self.out(self.trunk(features))

    def probabilities(self, features: Tensor) -> dict[str, Tensor]:
        """Calibrated probability (B,) of each known fact."""
        p = torch.sigmoid(self(features) * self.slope + self.shift)
        return {name: p[:, i] for i, name in enumerate(self.config.known)}

    def embed(self, features: Tensor) -> Tensor:
        """Unit vectors (B, X) in the space of sentence embeddings."""
        assert self.text is not None, "a world without text goals"
        normed = nn.functional.rms_norm(features, features.shape[-1:])
        return nn.functional.normalize(self.text(normed), dim=-1)


@shielded
def save_fact_heads(heads: FactHeads, folder: Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write heads into the folder of the world that they were trained on."""
    metadata = {"format": FORMAT, "heads": asdict(heads.config), "dit": digest(folder), **(about or {})}
    save_tensors(folder / FILE, compact(heads), metadata)
    return folder / FILE


@shielded
def load_fact_heads(folder: Path) -> FactHeads | None:
    """The heads in a world's folder; None where there are none.

    Raises:
        UserError: the file is no such heads, or they were trained on other weights.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no task heads")
    if about.get("dit") != digest(folder):
        raise UserError(
            f"{path} was trained on other weights than those beside it: delete it, or train it again "
            f"(worldsim train tasks world={folder} data=...)"
        )
    with reading(path, "task heads"):
        sizes = dataclass_of(FactHeadsConfig, about["heads"])
    heads = build_module(lambda: FactHeads(sizes), tensors, str(path))
    return heads.eval().requires_grad_(False)


def digest(folder: Path, file: str = "dit.safetensors") -> str | None:
    """Which weights a folder holds; None where there is no such file."""
    path = folder / file
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
