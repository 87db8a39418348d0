"""Trust: the calibrated probability that predicted frames are right, computed from numbers that every step yields.

Where a step evaluates the network several times, the first prediction (from pure noise) and the last one differ where
the network is uncertain. Right after the context this difference tells most; over a rollout the uncertainty adds up.
Where a step evaluates the network once, the previous latent stands for the first prediction. A logistic regression of
these numbers (Platt 1999), fitted on recorded futures, gives the probability that the squared error of the predicted
latent frame is below ``LEVEL`` times the variance of latent frames, so that it explains more than half of it.

B rows, S statistics.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.models.fact_heads import digest
from worldsim.models.shield import shielded
from worldsim.simulation.config import BEFORE_MEMORY_HAD, SamplingConfig, renamed
from worldsim.simulation.memory.files import FILE as MEMORY
from worldsim.spec.damage import reading

FILE = "trust.safetensors"
FORMAT = "worldsim-trust-1"
LEVEL = 0.5
# What a row of statistics holds.
STATISTICS = ("log residual of the first step", "mean log residual", "log steps")


def residual(first: Tensor, last: Tensor) -> Tensor:
    """Logarithm (B,) of the root mean square by which two guesses (B, ...) at the same latent frame differ."""
    return (last - first).square().flatten(1).mean(1).sqrt().clamp_min(1e-4).log()


def update_uncertainty(uncertainty_B2: Tensor, residual_B: Tensor, steps_B: Tensor) -> Tensor:
    """Running statistics (B, 2) after one more step: the residual of the first step, and the sum of all residuals."""
    first = torch.where(steps_B == 0, residual_B, uncertainty_B2[:, 0])
    return torch.stack([first, uncertainty_B2[:, 1] + residual_B], 1)


def statistics(uncertainty_B2: Tensor, steps_B: Tensor) -> Tensor:
    """Statistics (B, S) of a rollout after ``steps`` steps, at least one."""
    return torch.stack([uncertainty_B2[:, 0], uncertainty_B2[:, 1] / steps_B, steps_B.float().log()], 1)


@dataclass(frozen=True)
class Trust:
    """Statistics to probabilities.

    Attributes:
        centre, scale: of the statistics (S,).
        weights: of the standardised statistics (S,).
        bias: ().
        sampling: how the world denoised when this was fitted; with other settings it says nothing.
        about: on which recordings it was fitted and how well it held on others.
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor
    sampling: Mapping[str, Any]
    about: Mapping[str, Any]

    def to(self, device: torch.device | str) -> "Trust":
        """The same calibration on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    @shielded
    def __call__(self, statistics_BS: Tensor) -> Tensor:
        """Probability (B,)."""
        return (((statistics_BS - self.centre) / self.scale * self.weights).sum(1) + self.bias).sigmoid()


@shielded
def save_trust(trust: Trust, folder: Path) -> Path:
    """Write into the folder of the world that it was fitted to."""
    tensors = {name: getattr(trust, name) for name in _TENSORS}
    of = {"dit": digest(folder), "memory": digest(folder, MEMORY)}
    metadata = {"format": FORMAT, **of, "sampling": dict(trust.sampling), "about": dict(trust.about)}
    save_tensors(folder / FILE, tensors, metadata)
    return folder / FILE


@shielded
def load_trust(folder: Path, sampling: Mapping[str, Any]) -> Trust | None:
    """The calibration in a world's folder; None where there is none, or it is of other weights, memory or sampling.

    Raises:
        UserError: the file is no calibration.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT or not set(_TENSORS) <= tensors.keys():
        raise UserError(f"{path} holds no calibration of trust")
    with reading(path, "a calibration of trust"):
        if about["dit"] != digest(folder) or about.get("memory") != digest(folder, MEMORY):
            return None
        # Settings that came later than the file had their defaults, but for those of memories.
        then = asdict(SamplingConfig()) | ({} if about.get("memory") is None else BEFORE_MEMORY_HAD)
        if then | renamed(about["sampling"]) != dict(sampling):
            return None
        for name, shape in _TENSORS.items():
            if tensors[name].shape != shape or not bool(tensors[name].float().isfinite().all()):
                raise ValueError(f"{path} is damaged: {name} is not {shape} finite numbers")
        return Trust(
            **{name: tensors[name] for name in _TENSORS},
            sampling=renamed(about["sampling"]),
            about=dict(about["about"]),
        )


# Shapes of what is saved.
_TENSORS = {name: (len(STATISTICS),) for name in ("centre", "scale", "weights")} | {"bias": ()}
