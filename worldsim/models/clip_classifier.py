"""Small classifiers over the latents of a clip: for each attribute, which of its classes the clip shows.

B clips, T latent frames, C channels, h w latent grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Latent frames apart, and latent cells aside and down, at which pictures are compared to tell how they move.
GAPS, ASIDE, DOWN = (1, 2, 4), (-3, -2, -1, 0, 1, 2, 3), (-1, 0, 1)


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """Sizes of the network and how it is trained.

    Attributes:
        channels: of the latents that it reads.
        width: channels inside the network.
        frames: video frames of a clip.
        epochs: passes over the clips.
        batch: clips of a step.
        rate: learning rate.
        decay: weight decay.
        dropout: share of features that are dropped in training.
        seed: of weights and batches.
    """

    channels: int = 32
    width: int = 64
    frames: int = 32
    epochs: int = 30
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.05
    dropout: float = 0.3
    seed: int = 0


class ClipClassifier(nn.Module):
    """Latents of clips to logits of each attribute. Pooled over space and time, so any size and length will do."""

    def __init__(self, config: CaptionerConfig, sizes: Mapping[str, int]) -> None:
        super().__init__()
        w = config.width
        # A latent and what changed since the one before: together they show which way the picture moves.
        self.inside = nn.Conv2d(2 * config.channels, w, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(w, w, 3, padding=1)
        self.drop = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(4 * w + 4 * len(GAPS) * len(ASIDE) * len(DOWN), w)
        self.heads = nn.ModuleDict({name: nn.Linear(w, size) for name, size in sizes.items()})

    def forward(self, latents_BTCHW: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes) of each attribute."""
        change = latents_BTCHW.diff(dim=1)
        x = torch.cat([latents_BTCHW[:, 1:], change], 2)
        batch = len(x)
        x = F.silu(self.mix(F.silu(self.inside(x.flatten(0, 1)))))
        x = x.mean((2, 3)).unflatten(0, (batch, -1))
        half = max(1, x.shape[1] // 2)
        moved = [apparent_motion(latents_BTCHW[:, : half + 1]), apparent_motion(latents_BTCHW[:, -half - 1 :])]
        pooled = torch.cat([x[:, :half].mean(1), x[:, -half:].mean(1), x.mean(1), x.amax(1), *moved], 1)
        h = self.drop(F.silu(self.hidden(self.drop(pooled))))
        return {name: head(h) for name, head in self.heads.items()}


def apparent_motion(latents_BTCHW: Tensor) -> Tensor:
    """How alike latents are to earlier ones shifted by some cells, for the left and the right half: (B, features).

    A camera that turns shifts both halves to one side; walking moves them apart. What does not fit gives 0.
    """
    z = F.normalize(latents_BTCHW - latents_BTCHW.mean((-2, -1), keepdim=True), dim=2)
    height, width = z.shape[-2:]
    features = []
    for gap in GAPS:
        before, after = z[:, :-gap], z[:, gap:]
        for down in DOWN:
            for aside in ASIDE:
                if gap >= z.shape[1] or abs(aside) >= width or abs(down) >= height:
                    features += [z.new_zeros(len(z))] * 2
                    continue
                a = before[..., max(0, -down) : height - max(0, down), max(0, -aside) : width - max(0, aside)]
                b = after[..., max(0, down) : height - max(0, -down), max(0, aside) : width - max(0, -aside)]
                alike = (a * b).sum(2)
                middle = alike.shape[-1] // 2
                features += [alike[..., : max(1, middle)].mean((1, 2, 3)), alike[..., middle:].mean((1, 2, 3))]
    return torch.stack(features, 1)
