"""Attention inside a latent frame and causally across latent frames, with rotary positions and a ring KV cache.

B batch, T latent frames, N tokens per frame, S sequence, H query heads, K key/value heads, E head width, D width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.rowwise import TokenLinear


def rotary_angles(positions: Tensor, width: int, base: float) -> Tensor:
    """Angles (..., width / 2) of rotary position embedding (Su et al. 2021) for real-valued positions."""
    frequency = base ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    return positions.float()[..., None] * frequency


Turn = tuple[Tensor, Tensor]


def turns(positions: Tensor, width: int, base: float) -> Turn:
    """Cosines and sines (..., width / 2) of the rotary angles."""
    angles = rotary_angles(positions, width, base)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Rotate the halves of the last axis of x."""
    first, second = x.float().chunk(2, -1)
    cos, sin = turn
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def attend(q_BHSE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention with grouped queries over any leading axes; ``mask`` is added to the scores.

    Written out on CPUs, where the fused kernel's backward pass is slower than these products.
    """
    if q_BHSE.is_cuda:
        return attend_fused(q_BHSE, k_BKSE, v_BKSE, mask)
    kv_heads, (heads, length) = k_BKSE.shape[-3], q_BHSE.shape[-3:-1]
    # Queries that share a key head stand below each other: the keys need not be repeated.
    q = q_BHSE.unflatten(-3, (kv_heads, heads // kv_heads)).flatten(-3, -2)
    scores = (q @ k_BKSE.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    if mask is not None:
        scores = (scores.unflatten(-2, (heads // kv_heads, length)) + mask.unsqueeze(-3)).flatten(-3, -2)
    out = scores.softmax(-1).to(v_BKSE.dtype) @ v_BKSE
    return out.unflatten(-2, (heads // kv_heads, length)).flatten(-4, -3)


def attend_fused(q_BHSE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Tensor | None = None) -> Tensor:
    """``attend`` by PyTorch's fused kernels: FlashAttention without a mask, the memory-efficient one with one."""
    # Neither takes grouped queries together with a mask.
    group = q_BHSE.shape[-3] // k_BKSE.shape[-3]
    lead = q_BHSE.shape[:-3]
    q, k, v = (x.reshape(-1, *x.shape[-3:]) for x in (q_BHSE, k_BKSE, v_BKSE))
    k, v = (x if group == 1 else x.repeat_interleave(group, 1) for x in (k, v))
    if mask is not None:
        mask = mask.to(q.dtype).expand(*lead, *mask.shape[-3:]).reshape(-1, *mask.shape[-3:])
    return F.scaled_dot_product_attention(q, k, v, mask).reshape(q_BHSE.shape)


class SpatialAttention(nn.Module):
    """Full attention among the tokens of one latent frame; 2-D rotary positions, registers unrotated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = TokenLinear(width, 3 * width, bias=False)
        self.out = TokenLinear(width, width, bias=False)
        self.q_norm = nn.RMSNorm(width // heads)
        self.k_norm = nn.RMSNorm(width // heads)

    def forward(self, x_BND: Tensor, turn: Turn) -> Tensor:
        """Turns are (N, E / 2)."""
        q, k, v = rearrange(self.qkv(x_BND), "b n (three h e) -> three b h n e", three=3, h=self.heads)
        q, k = (rotate(norm(x.float()), turn).to(v.dtype) for norm, x in ((self.q_norm, q), (self.k_norm, k)))
        return self.out(rearrange(attend(q, k, v), "b h n e -> b n (h e)"))


class TemporalAttention(nn.Module):
    """Causal attention of each token position over latent frames, grouped queries, 1-D rotary positions."""

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        head = width // heads
        self.q = TokenLinear(width, width, bias=False)
        self.kv = TokenLinear(width, 2 * kv_heads * head, bias=False)
        self.out = TokenLinear(width, width, bias=False)
        self.q_norm = nn.RMSNorm(head)
        self.k_norm = nn.RMSNorm(head)

    def project(self, x_BTND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, N, H, T, E) and unrotated keys and values (B, T, N, K, E)."""
        q = self.q_norm(rearrange(self.q(x_BTND), "b t n (h e) -> b n h t e", h=self.heads).float())
        k, v = rearrange(self.kv(x_BTND), "b t n (two k e) -> two b t n k e", two=2, k=self.kv_heads)
        return q, self.k_norm(k.float()).to(v.dtype), v

    def attend(
        self, q_BNHTE: Tensor, k_BSNKE: Tensor, v_BSNKE: Tensor, q_turn: Turn, k_turn: Turn, mask: Tensor
    ) -> Tensor:
        """Queries over keys; turns (T, E/2) and (B or 1, 1, 1, S, E/2), mask (B or 1, 1, 1, T, S)."""
        k, v = (rearrange(a, "b s n k e -> b n k s e") for a in (k_BSNKE, v_BSNKE))
        q, k = rotate(q_BNHTE, q_turn).to(v.dtype), rotate(k, k_turn).to(v.dtype)
        return self.out(rearrange(attend(q, k, v, mask), "b n h t e -> b t n (h e)"))


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = TokenLinear(width, 2 * hidden, bias=False)
        self.down = TokenLinear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)
