"""The ring of keys and values of past latent frames that temporal attention reads.

B batch, T latent frames, N picture tokens per frame, R registers, L temporal layers, S cache slots, K key/value heads,
E head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.models.rotary import TEMPORAL_BASE, Turn, rotate, turns


@dataclass(frozen=True)
class KVCache:
    """Ring of the past: slot 0 keeps the first frame (the sink), the others the last ``S - 1`` frames.

    keys, values: (B, L, N + R, K, S, E): what a head of a token reads lies together. Keys are rotated by the index of
    their frame, so they are written once and read as they are. ``count`` (B,): latent frames written so far.
    """

    keys: Tensor
    values: Tensor
    count: Tensor

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> "KVCache":
        """A cache with nothing in it; ``shape`` is that of the keys."""
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        return KVCache(keys, values, torch.zeros(shape[0], dtype=torch.long, device=device))

    @staticmethod
    def from_unrotated(keys_BLSNKE: Tensor, values_BLSNKE: Tensor, count: Tensor) -> "KVCache":
        """A cache as earlier versions kept it: a frame after the other, keys not rotated."""
        keys, values = (t.permute(0, 1, 3, 4, 2, 5).contiguous() for t in (keys_BLSNKE, values_BLSNKE))
        cache = KVCache(keys, values, count)
        cos, sin = turns(cache.positions().clamp_min(0), keys.shape[-1], TEMPORAL_BASE)
        keys.copy_(rotate(keys, (cos[:, None, None, None], sin[:, None, None, None])))
        return cache

    def clone(self) -> "KVCache":
        """A copy that shares no memory, nor do its rows."""
        return KVCache(*(t.clone(memory_format=torch.contiguous_format) for t in (self.keys, self.values, self.count)))

    def select(self, rows: Tensor) -> "KVCache":
        """The given rows, copied; rows may repeat."""
        return KVCache(self.keys[rows], self.values[rows], self.count[rows])

    @property
    def window(self) -> int:
        """Frames that the ring holds beside the sink, S - 1."""
        return self.keys.shape[4] - 1

    def positions(self) -> Tensor:
        """Frame index held by each slot (B, S), -1 where the slot is empty."""
        slot = torch.arange(self.window, device=self.count.device)
        last = self.count[:, None] - 1
        # The newest index i <= last with (i - 1) mod window == slot; index 0 lives in the sink alone.
        held = last - (last - 1 - slot) % self.window
        held = torch.where(held >= 1, held, torch.full_like(held, -1))
        sink = torch.where(last >= 0, torch.zeros_like(last), torch.full_like(last, -1))
        return torch.cat([sink, held], 1)

    def filled(self) -> Tensor:
        """Which slots (B, S) hold a frame: they fill up in their order."""
        return torch.arange(self.window + 1, device=self.count.device) < self.count[:, None]

    def sink_turns(self) -> Turn:
        """Turns (B, E / 2) of the sink's keys: for the reader it is never further away than ``window`` + 1 frames."""
        return turns((self.count - self.window - 1).clamp_min(0), self.keys.shape[-1], TEMPORAL_BASE)

    def write(self, keys: list[Tensor], values: list[Tensor]) -> None:
        """Append T frames in place, the oldest first: per temporal layer (B, N + R, K, T, E), keys rotated."""
        counts = self.count.tolist()
        for t in range(keys[0].shape[3]):
            for count in set(counts):
                # Rows that are equally far are written together, all of them without an index.
                rows = [n == count for n in counts]
                index = slice(None) if all(rows) else torch.tensor(rows, device=self.count.device)
                slot = 0 if count + t == 0 else 1 + (count + t - 1) % self.window
                for layer, (k, v) in enumerate(zip(keys, values, strict=True)):
                    self.keys[index, layer, :, :, slot] = k[index, :, :, t].to(self.keys.dtype)
                    self.values[index, layer, :, :, slot] = v[index, :, :, t].to(self.values.dtype)
        self.count.add_(keys[0].shape[3])
