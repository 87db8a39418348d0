"""The probability path, its targets and weights, and time-step lists: pure functions on tensors.

tau is the signal level: 0 is pure noise, 1 is data. The network predicts the data itself (x0-prediction).
Sources: flow matching (Lipman et al. 2023), shortcut models (Frans et al. 2025), shortcut forcing (Dreamer 4, 2025).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _spread(level: Tensor, like: Tensor) -> Tensor:
    """Append axes so that a per-frame level (B, T) broadcasts over (B, T, ...)."""
    return level.reshape(level.shape + (1,) * (like.ndim - level.ndim))


def interpolate(data: Tensor, noise: Tensor, tau: Tensor) -> Tensor:
    """Straight path from noise (tau=0) to data (tau=1); tau has the leading axes of data."""
    return torch.lerp(noise, data, _spread(tau, data))


def velocity_from_data(x: Tensor, data: Tensor, tau: Tensor, floor: float = 0.02) -> Tensor:
    """Velocity that carries ``x`` at ``tau`` to ``data`` at 1; 1 - tau is kept above ``floor``."""
    return (data - x) / _spread((1 - tau).clamp_min(floor), x)


def data_from_velocity(x: Tensor, velocity: Tensor, tau: Tensor) -> Tensor:
    """The point of tau=1 on the straight line through ``x`` at ``tau``."""
    return x + velocity * _spread(1 - tau, x)


def loss_weight(tau: Tensor, noise_weight: float = 0.1) -> Tensor:
    """Weight of the squared x0 error, from ``noise_weight`` at tau=0 straight to 1 at tau=1 (Dreamer 4, section 3)."""
    return (1 - noise_weight) * tau + noise_weight


def flow_loss(predicted: Tensor, data: Tensor, tau: Tensor, noise_weight: float = 0.1) -> Tensor:
    """Weighted mean squared x0 error per frame: (B, T) from (B, T, ...)."""
    error = (predicted.float() - data.float()).square().flatten(tau.ndim).mean(-1)
    return loss_weight(tau, noise_weight) * error


def energy_score(first: Tensor, second: Tensor, data: Tensor, repulsion: float = 1.0) -> Tensor:
    """Energy score (B, T) of two predictions (B, T, C, H, W) made of different noise and nothing else; lower is better.

    Their mean distance from the data, less half their distance from each other. On average it is smallest where
    predictions are samples of what may follow: the mean of what may follow, a blur, lies nearer to the data, but at no
    distance from itself. Distances are root mean squares over a latent cell, over 3x3 cells and over the frame,
    averaged: samples have to be right jointly, not cell by cell.

    Args:
        first: predicted data.
        second: predicted data of the same past and actions.
        data: what followed.
        repulsion: weight of the distance of the two; below 1 samples keep closer to their mean.

    Source: Gneiting and Raftery 2007; as a loss of diffusion models, De Bortoli et al. 2025.
    """
    apart = _distance(first, second)
    return (_distance(first, data) + _distance(second, data) - repulsion * apart) / 2


def _distance(a: Tensor, b: Tensor) -> Tensor:
    squares = (a.float() - b.float()).square().mean(-3).flatten(0, -3)[:, None]
    near = F.avg_pool2d(squares, min(3, *squares.shape[-2:]), 1)
    whole = squares.mean((1, 2, 3))
    # The square root of 0 has no gradient.
    parts = [(square + 1e-6).sqrt().flatten(1).mean(1) for square in (squares, near, whole[:, None])]
    return (sum(parts[1:], parts[0]) / len(parts)).reshape(a.shape[:-3])


def sample_tau(shape: tuple[int, ...], generator: torch.Generator, pure_noise: float = 0.1) -> Tensor:
    """Signal levels drawn independently per frame: uniform, and exactly 0 with probability ``pure_noise``."""
    tau = torch.rand(shape, generator=generator, device=generator.device)
    return torch.where(
        torch.rand(shape, generator=generator, device=generator.device) < pure_noise, torch.zeros_like(tau), tau
    )


def sample_inference_tau(tau: Tensor, steps: int, fraction: float, generator: torch.Generator) -> Tensor:
    """Levels ``tau``, a ``fraction`` of them replaced by those that a sampler of ``steps`` steps evaluates."""
    level = torch.randint(0, steps, tau.shape, generator=generator, device=generator.device) / steps
    chosen = torch.rand(tau.shape, generator=generator, device=generator.device) < fraction
    return torch.where(chosen, level, tau)


def sample_shortcut(shape: tuple[int, ...], max_steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw step sizes d = 2^-j coarser than 1/max_steps, and signal levels on each step size's own grid.

    Returns:
        tau and d, both of ``shape``; tau is a multiple of d in [0, 1 - d].
    """
    levels = max_steps.bit_length() - 1
    j = torch.randint(0, levels, shape, generator=generator, device=generator.device)
    count = 2**j
    k = (torch.rand(shape, generator=generator, device=generator.device) * count).floor()
    return k / count, 1.0 / count


def time_steps(steps: int) -> Tensor:
    """Evenly spaced signal levels (steps + 1,) from 0 to 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return torch.linspace(0.0, 1.0, steps + 1)
