"""Depth completion: from a picture and the depth that memory draws there to a depth and a confidence for every pixel.

B pictures, H W pixels, C channels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import UserError
from worldsim.models.checkpoint import compact, load_module, load_tensors, save_tensors
from worldsim.models.rowwise import RowConv2d
from worldsim.simulation.memory.render import FAR

# Pixels to one side of what the network sees as one cell, and how often it halves its grid after that.
CELL, HALVINGS = 4, 2
# Code of a depth that nothing is known about: 8 metres.
UNKNOWN = -2.1
FILE = "depth_completion.safetensors"
FORMAT = "worldsim-depth-1"


def encode_depth(inverse_depth: Tensor) -> Tensor:
    """Inverse depth (1/m) on the logarithmic scale that the network and its losses use; sky has a finite value."""
    return torch.log(inverse_depth + FAR)


def decode_depth(code: Tensor) -> Tensor:
    """The inverse of ``encode_depth``; codes below that of sky are sky."""
    return (code.exp() - FAR).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class DepthCompletionConfig:
    """Channels and residual blocks at 1/4, 1/8 and 1/16 of the picture's resolution; blocks on the way down.

    The defaults are what a picture of 144x80 takes least time with: ``RowConv2d`` computes narrower levels twice.

    Raises:
        ValueError: not three levels, or channels that are no multiple of 8.
    """

    channels: tuple[int, ...] = (32, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 3)

    def __post_init__(self) -> None:
        levels = HALVINGS + 1
        if len(self.channels) != levels or len(self.blocks) != levels:
            raise ValueError(f"expected {levels} levels, got channels {self.channels} and blocks {self.blocks}")
        if any(c % 8 or c <= 0 for c in self.channels):
            raise ValueError(f"channels must be multiples of 8, got {self.channels}")


class DepthCompletion(nn.Module):
    """A small U-net. Before any training it answers with the drawn depth where there is one, and is half sure."""

    def __init__(self, config: DepthCompletionConfig) -> None:
        super().__init__()
        self.config = config
        wide, blocks = config.channels, config.blocks
        # Picture, drawn code, coverage; and where in the picture the cell lies: below is ground, above is sky.
        self.enter = RowConv2d(CELL**2 * 5 + 2, wide[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(*(_Residual(c) for _ in range(n))) for c, n in zip(wide, blocks, strict=True)
        )
        self.halve = nn.ModuleList(RowConv2d(a, b, 3, 2, 1) for a, b in zip(wide[:-1], wide[1:], strict=True))
        self.widen = nn.ModuleList(RowConv2d(b, a, 1) for a, b in zip(wide[:-1], wide[1:], strict=True))
        self.up = nn.ModuleList(_Residual(c) for c in wide[:-1])
        self.leave = RowConv2d(wide[0], CELL**2 * 2, 3, padding=1)
        for weight in self.leave.parameters():
            nn.init.zeros_(weight)
        # CPUs convolve channels last faster.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor, drawn_depth: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of inverse depth (``decode_depth``) and logits of confidence, (B, H, W) each.

        Args:
            pictures: uint8 (B, H, W, 3).
            drawn_depth: inverse depth that memory draws (1/m) (B, H, W).
            covered: bool (B, H, W), where it does.

        Raises:
            ValueError: sizes that are no multiple of 16.
        """
        _, height, width, _ = pictures.shape
        if height % (step := CELL * 2**HALVINGS) or width % step:
            raise ValueError(f"pictures must be a multiple of {step} pixels high and wide, got {height}x{width}")
        prior = torch.where(covered, encode_depth(drawn_depth), UNKNOWN)
        planes = [pictures.movedim(-1, 1) / 255 - 0.5, prior[:, None] / 4, covered[:, None].float()]
        cells = F.pixel_unshuffle(torch.cat(planes, 1), CELL)
        x = torch.cat([cells, _places(cells)], 1).contiguous(memory_format=torch.channels_last)
        x = self.enter(x)
        skips = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < HALVINGS:
                skips.append(x)
                x = self.halve[level](x)
        for level in reversed(range(HALVINGS)):
            x = self.up[level](skips[level] + F.interpolate(self.widen[level](x), scale_factor=2.0))
        code, sure = F.pixel_shuffle(self.leave(x).float(), CELL).unbind(1)
        return prior + code, sure


def save_depth_completion(path: Path, network: DepthCompletion, about: Mapping[str, Any] | None = None) -> None:
    """Write a network as it ships, with its configuration and what else there is to say about it."""
    save_tensors(path, compact(network), {"format": FORMAT, "depth": asdict(network.config), **(about or {})})


def load_depth_completion(path: Path) -> DepthCompletion:
    """Read what ``save_depth_completion`` wrote, or what lies in a folder under the name ``FILE``; it learns no more.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it holds something else.
        ValueError: it is damaged.
    """
    path = path / FILE if path.is_dir() else path
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no depth completion: train one with worldsim train depth")
    sizes = {name: tuple(values) for name, values in about["depth"].items()}
    network = DepthCompletion(DepthCompletionConfig(**sizes))
    load_module(network, tensors, str(path))
    return network.eval().requires_grad_(False)


class _Residual(nn.Module):
    """(B, C, h, w) plus what two convolutions make of it; nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.one = RowConv2d(channels, channels, 3, padding=1)
        self.two = RowConv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.silu(self.one(F.silu(self.norm(x)))))


def _places(cells: Tensor) -> Tensor:
    """Row and column of each cell from -1 to 1: (B, 2, h, w)."""
    b, _, h, w = cells.shape
    y = torch.linspace(-1, 1, h, device=cells.device)[:, None].expand(h, w)
    x = torch.linspace(-1, 1, w, device=cells.device).expand(h, w)
    return torch.stack([y, x]).expand(b, -1, -1, -1)
