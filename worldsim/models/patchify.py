"""Latents to tokens and back, for any duration, height and width.

B batch, T latent frames, C channels, H W latent grid, N tokens per latent frame, P patch size.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SpacetimePatchifier:
    """Cuts each latent frame into ``patch`` x ``patch`` tokens. Size and duration belong to the grid, not the model."""

    channels: int
    patch: int = 2

    @property
    def token_size(self) -> int:
        """Values per token: P * P * C."""
        return self.patch * self.patch * self.channels

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for a latent grid.

        Raises:
            ValueError: the grid is not divisible by the patch size.
        """
        if height % self.patch or width % self.patch:
            raise ValueError(f"latent grid {height}x{width} is not divisible by patch {self.patch}")
        return height // self.patch, width // self.patch

    def tokens(self, latents_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, T, N, P*P*C), tokens in row-major order."""
        self.grid(*latents_BTCHW.shape[-2:])
        p = self.patch
        return rearrange(latents_BTCHW, "b t c (h p) (w q) -> b t (h w) (p q c)", p=p, q=p)

    def cells(self, tokens_BTNP: Tensor, grid: tuple[int, int]) -> Tensor:
        """One value for each of a token's P*P cells, (B, T, N, P*P), laid out as (B, T, 1, H, W)."""
        rows, columns = grid
        p = self.patch
        return rearrange(tokens_BTNP, "b t (h w) (p q) -> b t 1 (h p) (w q)", h=rows, w=columns, p=p, q=p)

    def latents(self, tokens_BTND: Tensor, grid: tuple[int, int]) -> Tensor:
        """The inverse of ``tokens`` for a token grid of (rows, columns)."""
        rows, columns = grid
        p = self.patch
        return rearrange(
            tokens_BTND, "b t (h w) (p q c) -> b t c (h p) (w q)", h=rows, w=columns, p=p, q=p, c=self.channels
        )


def previous_of(latents_BTCHW: Tensor) -> Tensor:
    """The latent before each frame; zeros before the first."""
    return torch.cat([torch.zeros_like(latents_BTCHW[:, :1]), latents_BTCHW[:, :-1]], 1)
