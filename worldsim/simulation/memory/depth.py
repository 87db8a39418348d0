"""Depth completion: from a picture and the depth that memory draws there to a depth and a confidence for every pixel.

B pictures, H W pixels, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.simulation.memory.render import FAR
from worldsim.simulation.memory.unet import UNet, check_levels

# Code of a depth that nothing is known about: 8 metres.
UNKNOWN = -2.1


def encode_depth(inverse_depth: Tensor) -> Tensor:
    """Inverse depth (1/m) on the logarithmic scale that the network and its losses use; sky has a finite value."""
    return torch.log(inverse_depth + FAR)


def decode_depth(code: Tensor) -> Tensor:
    """The inverse of ``encode_depth``; codes below that of sky are sky."""
    return (code.exp() - FAR).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class DepthCompletionConfig:
    """Channels and residual blocks at 1/4, 1/8 and 1/16 of the picture's resolution; blocks on the way down.

    Raises:
        ValueError: sizes that the U-net does not take.
    """

    channels: tuple[int, ...] = (96, 128, 192)
    blocks: tuple[int, ...] = (2, 3, 5)

    def __post_init__(self) -> None:
        check_levels(self.channels, self.blocks)


class DepthCompletion(UNet):
    """A small U-net. Before any training it answers with the drawn depth where there is one, and is half sure."""

    def __init__(self, config: DepthCompletionConfig) -> None:
        # Picture, drawn code, coverage to code and logit.
        super().__init__((5, 2), config.channels, config.blocks)
        self.config = config

    def forward(self, pictures: Tensor, drawn_depth: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of inverse depth (``decode_depth``) and logits of confidence, (B, H, W) each.

        Args:
            pictures: uint8 (B, H, W, 3).
            drawn_depth: inverse depth that memory draws (1/m) (B, H, W).
            covered: bool (B, H, W), where it does.

        Raises:
            ValueError: sizes that are no multiple of 16.
        """
        prior = torch.where(covered, encode_depth(drawn_depth), UNKNOWN)
        planes = [pictures.movedim(-1, 1) / 255 - 0.5, prior[:, None] / 4, covered[:, None].float()]
        code, sure = self.run(torch.cat(planes, 1)).unbind(1)
        return prior + code, sure
