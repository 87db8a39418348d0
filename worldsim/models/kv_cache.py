"""The ring of keys and values of past latent frames that temporal attention reads.

B batch, T latent frames, N picture tokens per frame, R registers, L temporal layers, S cache slots, K key/value heads,
E head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KVCache:
    """Ring of the past: slot 0 keeps the first frame (the sink), the others the last ``S - 1`` frames.

    keys, values: (B, L, S, N + R, K, E), keys not yet rotated: positions are relative to the reader, so they never
    grow with the length of a rollout. ``count`` (B,): latent frames written so far.
    """

    keys: Tensor
    values: Tensor
    count: Tensor

    def clone(self) -> "KVCache":
        """A copy that shares no memory, nor do its rows."""
        return KVCache(*(t.clone(memory_format=torch.contiguous_format) for t in (self.keys, self.values, self.count)))

    def select(self, rows: Tensor) -> "KVCache":
        """The given rows, copied; rows may repeat."""
        return KVCache(self.keys[rows], self.values[rows], self.count[rows])

    def positions(self) -> Tensor:
        """Frame index held by each slot (B, S), -1 where the slot is empty."""
        ring = self.keys.shape[2] - 1
        slot = torch.arange(ring, device=self.count.device)
        last = self.count[:, None] - 1
        # The newest index i <= last with (i - 1) mod ring == slot; index 0 lives in the sink alone.
        held = last - (last - 1 - slot) % ring
        held = torch.where(held >= 1, held, torch.full_like(held, -1))
        sink = torch.where(last >= 0, torch.zeros_like(last), torch.full_like(last, -1))
        return torch.cat([sink, held], 1)

    def write(self, keys: list[Tensor], values: list[Tensor]) -> None:
        """Append T frames in place, the oldest first: per temporal layer (B, T, N + R, K, E)."""
        ring = self.keys.shape[2] - 1
        rows = torch.arange(len(self.count), device=self.count.device)
        for t in range(keys[0].shape[1]):
            slot = torch.where(self.count == 0, torch.zeros_like(self.count), 1 + (self.count - 1) % ring)
            for layer, (k, v) in enumerate(zip(keys, values, strict=True)):
                self.keys[rows, layer, slot] = k[:, t].to(self.keys.dtype)
                self.values[rows, layer, slot] = v[:, t].to(self.values.dtype)
            self.count.add_(1)
