"""Small heads on the DiT's features: ego-motion, reward and termination of a task, inverse dynamics."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldsim.models.rowwise import RowLinear

MOTION = 5  # forward, right, up in metres; yaw, pitch in degrees; in the body's frame before the chunk
MOTION_SCALE = (0.5, 0.5, 0.5, 10.0, 10.0)


@dataclass(frozen=True)
class HeadOutputs:
    """Per latent frame: ego-motion (B, T, 5), termination logit (B, T), action logits and mouse (B, T, A).

    pooled: what all heads read (B, T, 2 D): the registers' mean, then the picture tokens' mean.
    """

    motion: Tensor
    termination: Tensor
    action: Tensor
    pooled: Tensor


class Heads(nn.Module):
    """Reads the mean over tokens of the last features, and the registers, of every latent frame."""

    scale: Tensor

    def __init__(self, width: int, registers: int, actions: int) -> None:
        super().__init__()
        self.registers = registers
        self.sizes = (MOTION, 1, actions)
        self.trunk = nn.Sequential(nn.RMSNorm(2 * width), RowLinear(2 * width, width), nn.SiLU())
        self.out = RowLinear(width, sum(self.sizes))
        self.register_buffer("scale", torch.tensor(MOTION_SCALE), persistent=False)

    def forward(self, features_BTND: Tensor) -> HeadOutputs:
        """Features with the registers first."""
        registers = features_BTND[:, :, : self.registers].mean(2)
        picture = features_BTND[:, :, self.registers :].mean(2)
        pooled = torch.cat([registers, picture], -1)
        out = self.out(self.trunk(pooled)).float()
        motion, termination, action = out.split(self.sizes, -1)
        return HeadOutputs(motion * self.scale, termination.squeeze(-1), action, pooled)
