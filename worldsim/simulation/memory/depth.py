"""Depth completion: from a picture, and depth that is known in part, to a depth and a confidence for every pixel.

B pictures, H W pixels, C channels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, compact, load_tensors, save_tensors
from worldsim.models.shield import shielded
from worldsim.simulation.memory.render import FAR
from worldsim.simulation.memory.unet import UNet, check_levels
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

FILE = "depth_completion.safetensors"
FORMAT = "worldsim-depth-1"
# Code of a depth that nothing is known about: 8 metres.
UNKNOWN = -2.1
# Pixels with an inverse depth above NEAR tell the scale, where there are so many; it is changed by so much at most.
NEAR, FEWEST, MOST_SCALED = 0.025, 300, 2.0


def encode_depth(inverse_depth: Tensor) -> Tensor:
    """Inverse depth (1/m) on the logarithmic scale that the network and its losses use; sky has a finite value."""
    return torch.log(inverse_depth + FAR)


def decode_depth(code: Tensor) -> Tensor:
    """The inverse of ``encode_depth``; codes below that of sky are sky."""
    return (code.exp() - FAR).clamp(min=0)


def in_scale_of(known_BHW: Tensor, covered_BHW: Tensor, depth_BHW: Tensor) -> Tensor:
    """Inverse depth (B, H, W) in another's scale: times the median ratio of the two where both are near.

    A picture tells shapes better than distances. Surfaces that are partly known then go on where they are known.

    Args:
        known_BHW: inverse depth (1/m) whose scale counts.
        covered_BHW: bool, where it is known.
        depth_BHW: inverse depth (1/m) to change.
    """
    near = covered_BHW & (known_BHW > NEAR) & (depth_BHW > NEAR)
    rows = []
    for known, both, depth in zip(known_BHW, near, depth_BHW, strict=True):
        if int(both.sum()) >= FEWEST:
            depth = depth * (known[both] / depth[both]).median().clamp(1 / MOST_SCALED, MOST_SCALED)
        rows.append(depth)
    return torch.stack(rows)


@dataclass(frozen=True, kw_only=True)
class DepthCompletionConfig:
    """Sizes of the network.

    The defaults are what a picture of 144x80 takes least time with: ``RowConv2d`` computes narrower levels twice.

    Attributes:
        channels: at 1/4, 1/8 and 1/16 of the picture's resolution.
        blocks: residual blocks at each of these on the way down.

    Raises:
        ValueError: sizes that the U-net does not take.
    """

    channels: tuple[int, ...] = (32, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 3)

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


def save_depth_completion(path: Path, network: DepthCompletion, about: Mapping[str, Any] | None = None) -> None:
    """Write a network as it ships, with its configuration and what else there is to say about it."""
    save_tensors(path, compact(network), {"format": FORMAT, "depth": asdict(network.config), **(about or {})})


@shielded
def load_depth_completion(path: Path) -> DepthCompletion:
    """Read what ``save_depth_completion`` wrote, or what lies in a folder under the name ``FILE``; it learns no more.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it holds something else.
        ValueError: it is damaged.
    """
    path = path / FILE if path.is_dir() else path
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no depth completion: train one with worldsim train depth")
    with reading(path, "a depth completion", UserError):
        sizes = dataclass_of(DepthCompletionConfig, about["depth"])
    network = build_module(lambda: DepthCompletion(sizes), tensors, str(path))
    return network.eval().requires_grad_(False)
