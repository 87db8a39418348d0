"""Attention inside a latent frame and causally across latent frames, with rotary positions and a ring KV cache.

B batch, T latent frames, N tokens per frame, S sequence, H query heads, K key/value heads, E head width, D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.kv_cache import KVCache
from worldsim.models.rotary import TEMPORAL_BASE, Turn, normed_and_rotated, rotate, turns
from worldsim.models.rowwise import TokenLinear

# Keys and values.
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TemporalView:
    """What latent frames see of each other, or one frame of the ring of its past.

    Attributes:
        turn: by the index of each frame: (T, E / 2), or (B, 1, 1, 1, E / 2) for one frame before a ring.
        mask: added to the scores: (1, T, T), or (B, 1, 1, S + 1) for slots 1 and on, slot 0 and the frame itself.
        sink: turns (B, E / 2) of the keys in slot 0; None without a ring.
    """

    turn: Turn
    mask: Tensor
    sink: Turn | None = None


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


def attend_ring(q_BNHTE: Tensor, k_BNKTE: Tensor, v_BNKTE: Tensor, past: Pair, sink: Turn, mask_B11S: Tensor) -> Tensor:
    """``attend`` of one frame (T = 1) to its past and to itself; the ring is read where it lies, row by row."""
    ring_k, ring_v = past
    cos, sin = (t[:, None, None] for t in sink)
    # Slot 0 and the frame itself: whose keys are not in the ring as they are needed.
    ends_k = torch.stack([rotate(ring_k[..., 0, :], (cos, sin)).to(k_BNKTE.dtype), k_BNKTE[..., 0, :]], -2)
    ends_v = torch.stack([ring_v[..., 0, :].to(v_BNKTE.dtype), v_BNKTE[..., 0, :]], -2)
    q = q_BNHTE.squeeze(-2).unflatten(2, (k_BNKTE.shape[2], -1))
    scores = torch.cat([_by_rows(q, ring_k[..., 1:, :].mT), q @ ends_k.mT], -1).float() * q.shape[-1] ** -0.5
    shares = (scores + mask_B11S.unsqueeze(2)).softmax(-1).to(v_BNKTE.dtype)
    out = _by_rows(shares[..., :-2], ring_v[..., 1:, :]) + shares[..., -2:] @ ends_v
    return out.flatten(2, 3).unsqueeze(-2)


def _by_rows(left: Tensor, right: Tensor) -> Tensor:
    """Product of the last two axes, row by row: of all rows at once, PyTorch would copy the ring first."""
    pairs = zip(left, right.to(left.dtype), strict=True)
    return torch.stack([torch.bmm(a.flatten(0, 1), b.flatten(0, 1)).unflatten(0, a.shape[:2]) for a, b in pairs])


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
        q, k = (normed_and_rotated(x, norm, turn).to(v.dtype) for norm, x in ((self.q_norm, q), (self.k_norm, k)))
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

    def forward(self, x_BTND: Tensor, view: TemporalView, past: Pair | None = None) -> tuple[Tensor, Pair]:
        """What each frame sees, and its own keys and values (B, N, K, T, E), as a ring keeps them.

        ``past``: the ring's keys and values (B, N, K, S, E) before the one frame given.
        """
        q = rearrange(self.q(x_BTND), "b t n (h e) -> b n h t e", h=self.heads)
        k, v = rearrange(self.kv(x_BTND), "b t n (two k e) -> two b n k t e", two=2, k=self.kv_heads)
        q, k = (normed_and_rotated(x, norm, view.turn).to(v.dtype) for norm, x in ((self.q_norm, q), (self.k_norm, k)))
        if past is None or view.sink is None:
            out = attend(q, k, v, view.mask)
        else:
            out = attend_ring(q, k, v, past, view.sink, view.mask)
        return self.out(rearrange(out, "b n h t e -> b t n (h e)")), (k, v)


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


def temporal_view(
    frames: int, head: int, device: torch.device, cache: KVCache | None, causal: bool = True
) -> TemporalView:
    """Turns and additive mask of causal attention between ``frames`` frames, or of one frame to the past in a cache.

    A frame sees itself, the ``window`` frames before it and the first frame. The first frame is taken to be at most
    ``window`` + 1 frames away, so no distance at play is larger than the window. ``causal`` False: without a cache, all
    frames see each other.
    """
    if cache is None:
        index = torch.arange(frames, device=device)
        hidden = (index > index[:, None]) & causal
        turn, sink = turns(index, head, TEMPORAL_BASE), None
    else:
        cos, sin = turns(cache.count, head, TEMPORAL_BASE)
        turn, sink = (cos[:, None, None, None], sin[:, None, None, None]), cache.sink_turns()
        filled = cache.filled()
        itself = torch.ones_like(filled[:, :1])
        hidden = ~torch.cat([filled[:, 1:], filled[:, :1], itself], 1)[:, None, None]
    mask = torch.zeros_like(hidden, dtype=torch.float32).masked_fill_(hidden, float("-inf"))
    return TemporalView(turn, mask[None] if cache is None else mask, sink)
