"""A small U-net over pictures that never convolves at full resolution: its body is what depth and compositing share.

B pictures, P planes given, Q planes made, H W pixels, E size of a condition.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.rowwise import RowConv2d, RowLinear
from worldsim.spec.from_json import MOST_LAYERS

# Pixels to one side of what the network sees as one cell, and how often it halves its grid after that.
CELL, HALVINGS = 4, 2
# Channels of each level are multiples of these. Then a picture has a multiple of 32 values everywhere, and elementwise
# kernels never reach their remainder, which rounds otherwise: a row of a batch would not equal the row alone.
MULTIPLES = (8, 16, 32)


def check_levels(channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    """Check sizes of a U-net.

    Raises:
        ValueError: not three levels, or channels that are no such multiples.
    """
    levels = HALVINGS + 1
    if len(channels) != levels or len(blocks) != levels:
        raise ValueError(f"expected {levels} levels, got channels {channels} and blocks {blocks}")
    if any(not 0 <= b <= MOST_LAYERS for b in blocks):
        raise ValueError(f"blocks must be from 0 to {MOST_LAYERS}, got {blocks}")
    if any(c % m or c <= 0 for c, m in zip(channels, MULTIPLES, strict=True)):
        raise ValueError(f"channels must be multiples of {MULTIPLES}, got {channels}")


class UNet(nn.Module):
    """From P planes to Q planes of zeros, until it is trained.

    Args:
        planes: P and Q.
        channels: at 1/4, 1/8 and 1/16 of the picture's resolution.
        blocks: residual blocks at each of them on the way down.
        condition: size of a vector that every cell is told, 0 for none.
    """

    def __init__(
        self, planes: tuple[int, int], channels: tuple[int, ...], blocks: tuple[int, ...], condition: int = 0
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        # Where in the picture the cell lies comes with the planes: below is ground, above is sky.
        self.enter = RowConv2d(CELL**2 * planes[0] + 2, channels[0], 3, padding=1)
        self.told = RowLinear(condition, channels[0]) if condition else None
        self.down = nn.ModuleList(
            nn.Sequential(*(_Residual(c) for _ in range(n))) for c, n in zip(channels, blocks, strict=True)
        )
        self.halve = nn.ModuleList(RowConv2d(a, b, 3, 2, 1) for a, b in zip(channels[:-1], channels[1:], strict=True))
        self.widen = nn.ModuleList(RowConv2d(b, a, 1) for a, b in zip(channels[:-1], channels[1:], strict=True))
        self.up = nn.ModuleList(_Residual(c) for c in channels[:-1])
        self.leave = RowConv2d(channels[0], CELL**2 * planes[1], 3, padding=1)
        for weight in self.leave.parameters():
            nn.init.zeros_(weight)
        # CPUs convolve channels last faster.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def run(self, planes_BPHW: Tensor, condition_BE: Tensor | None = None) -> Tensor:
        """Planes (B, Q, H, W) in fp32.

        Raises:
            ValueError: sizes that are no multiple of 16.
        """
        height, width = planes_BPHW.shape[-2:]
        if height % (step := CELL * 2**HALVINGS) or width % step:
            raise ValueError(f"pictures must be a multiple of {step} pixels high and wide, got {height}x{width}")
        x = self.enter(_cells(planes_BPHW))
        if self.told is not None and condition_BE is not None:
            x = x + self.told(condition_BE)[:, :, None, None]
        skips = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < HALVINGS:
                skips.append(x)
                x = self.halve[level](x)
        for level in reversed(range(HALVINGS)):
            x = self.up[level](skips[level] + F.interpolate(self.widen[level](x), scale_factor=2.0))
        return F.pixel_shuffle(self.leave(x).float(), CELL)


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


def _cells(planes_BPHW: Tensor) -> Tensor:
    """Planes with each cell's pixels as channels (``pixel_unshuffle``), and its row and column from -1 to 1.

    Channels last, which is written at once: unshuffled, joined and turned, the planes would be copied three times.
    """
    h, w = planes_BPHW.shape[-2] // CELL, planes_BPHW.shape[-1] // CELL
    cells = planes_BPHW.unflatten(-1, (w, CELL)).unflatten(-3, (h, CELL)).permute(0, 2, 4, 1, 3, 5).flatten(3)
    y = torch.linspace(-1, 1, h, device=cells.device)[:, None].expand(h, w)
    x = torch.linspace(-1, 1, w, device=cells.device).expand(h, w)
    places = torch.stack([y, x], -1).expand(len(cells), -1, -1, -1)
    return torch.cat([cells, places], 3).permute(0, 3, 1, 2)
