"""Rotary position embedding (Su et al. 2021), and the normalisations of the network.

B batch, T latent frames, N tokens per frame, D width, S cache slots, E head width;
a turn is a pair of cosines and sines.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

Turn = tuple[Tensor, Tensor]
SPATIAL_BASE, TEMPORAL_BASE = 100.0, 1000.0


def turns(positions: Tensor, width: int, base: float) -> Turn:
    """Cosines and sines (..., width / 2) for real-valued positions, however large."""
    # In double precision: after a million frames single precision would be off by a tenth of a frame.
    frequency = base ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float64) / width)
    angles = positions.double()[..., None] * frequency
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Rotate the halves of the last axis of x."""
    first, second = x.float().chunk(2, -1)
    cos, sin = turn
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def normed_and_rotated(x: Tensor, norm: nn.RMSNorm, turn: Turn) -> Tensor:
    """``rotate(norm(x), turn)`` in fp32; without gradients in a third of the passes over memory."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return rotate(norm(x.float()), turn)
    x = x.float()
    (first, second), (cos, sin), (one, two) = x.chunk(2, -1), turn, norm.weight.chunk(2)
    # Laid out in the order of the axes: the products that follow read it without a copy.
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos * one, out=left).addcmul_(second, sin * two, value=-1)
    torch.mul(first, sin * one, out=right).addcmul_(second, cos * two)
    return out.mul_(inverse_rms(x, norm.eps))


def inverse_rms(x: Tensor, eps: float | None) -> Tensor:
    """One over the root mean square (..., 1) of the last axis of x."""
    mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
    return (mean + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()


def modulated(x_BTND: Tensor, norm: nn.Module, shift: Tensor, scale: Tensor) -> Tensor:
    """RMS-normalised x, scaled and shifted per frame."""
    # Without gradients in fewer passes over memory; with them the compiler sees to that.
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    if isinstance(norm, nn.RMSNorm) and not plain:
        normed = x_BTND * inverse_rms(x_BTND, norm.eps)
    else:
        normed = norm(x_BTND)
    return torch.addcmul(shift, normed, 1 + scale)


def spatial_turns(grid: tuple[int, int], registers: int, width: int, device: torch.device) -> Turn:
    """Turns (R + N, E / 2): half of each head turns with the row, half with the column; registers do not."""
    # A CUDA graph may outlive what is kept here.
    if torch.compiler.is_compiling() or (device.type == "cuda" and torch.cuda.is_current_stream_capturing()):
        return _spatial_turns(grid, registers, width, device)
    return _kept_spatial_turns(grid, registers, width, device)


@lru_cache(maxsize=16)
def _kept_spatial_turns(grid: tuple[int, int], registers: int, width: int, device: torch.device) -> Turn:
    # Made in inference, they could not be used in training.
    with torch.inference_mode(False), torch.no_grad():
        return _spatial_turns(grid, registers, width, device)


def _spatial_turns(grid: tuple[int, int], registers: int, width: int, device: torch.device) -> Turn:
    rows, columns = grid
    cells = torch.arange(rows * columns, device=device)
    y, x = cells // columns, cells % columns
    (cos_y, sin_y), (cos_x, sin_x) = (turns(a, width // 2, SPATIAL_BASE) for a in (y, x))
    cos, sin = torch.cat([cos_y, cos_x], -1), torch.cat([sin_y, sin_x], -1)
    still = (registers, cos.shape[-1])
    return torch.cat([cos.new_ones(still), cos]), torch.cat([sin.new_zeros(still), sin])
