"""A batch of latent clips with their actions, motion and text: what the dynamics learn from.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size, X sentence embedding,
D = C + 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentBatch:
    """Consecutive latent frames with what caused and accompanied them.

    latents (B, T, C, H, W); actions (B, T, r, A): those that lead into each frame (frame 0's are not used);
    motion (B, T, 5): body-frame displacement in metres, turn in degrees during the chunk; terminated (B, T) 0 or 1;
    text (B, X) sentence embeddings, or None; known (B,) or (B, T) whether the actions were recorded, posed (B,) whether
    the motion was (None: all of them); mouse: whether the last two action values are the mouse's degrees; drawn
    (B, T, D, H, W): what a memory draws of each frame, as ``WorldDiT`` takes it, or None; backwards (B,): 1 for clips
    that run backwards in time, else 0 (None: all run forwards); shown (B, T, C, H, W): what is shown at play
    that draws so, or None.
    """

    latents: Tensor
    actions: Tensor
    motion: Tensor
    terminated: Tensor
    text: Tensor | None = None
    known: Tensor | None = None
    posed: Tensor | None = None
    mouse: bool = True
    drawn: Tensor | None = None
    backwards: Tensor | None = None
    shown: Tensor | None = None

    def to(self, device: torch.device) -> "LatentBatch":
        """The same batch on a device."""
        return self.mapped(lambda value: value.to(device))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "LatentBatch":
        """The batch with every tensor changed alike."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})

    def first_clips(self, count: int) -> "LatentBatch":
        """The first ``count`` clips."""
        return self.mapped(lambda value: value[:count])

    def half_clips(self) -> "LatentBatch":
        """Twice as many clips (2 B, T / 2): each one's first half, then its second, whose past is gone."""
        half = self.latents.shape[1] // 2
        over_time = (self.latents, self.actions, self.motion, self.terminated, self.drawn, self.shown)
        # Actions may be known clip by clip, or frame by frame.
        by_frame = self.known is not None and self.known.ndim == 2

        def cut(value: Tensor) -> Tensor:
            if any(value is each for each in over_time) or (by_frame and value is self.known):
                return value[:, : 2 * half].unflatten(1, (2, half)).flatten(0, 1)
            return value.repeat_interleave(2, 0)

        return self.mapped(cut)

    def as_shown(self) -> Tensor:
        """What play shows of each frame (B, T, C, H, W); a clip begins with a still of the recording, as play does."""
        return self.latents if self.shown is None else torch.cat([self.latents[:, :1], self.shown[:, 1:]], 1)

    def has_action(self) -> Tensor:
        """Which frames (B, T) have a recorded action that leads into them: never the first of a clip."""
        (b, t), device = self.latents.shape[:2], self.latents.device
        known = torch.ones(b, dtype=torch.bool, device=device) if self.known is None else self.known
        return (known if known.ndim == 2 else known[:, None]) & (torch.arange(t, device=device) > 0)
