"""Depth completion: from a picture and its camera's pitch to a depth and a confidence for every pixel.

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
from worldsim.simulation.memory.unet import CELL, UNet, check_levels
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

FILE = "depth_completion.safetensors"
FORMAT = "worldsim-depth-1"
# Planes of the picture, and those that tell the pitch; earlier networks were told depth instead of it, or not (code 0).
COLOURS, TOLD = 3, 2
# Code of depth that the network begins with: 8 metres.
UNKNOWN = -2.1
# Metres from the eye down to the ground that the network is told, which it takes from there.
EYE = 1.5


def encode_depth(inverse_depth: Tensor) -> Tensor:
    """Inverse depth (1/m) on the logarithmic scale that the network and its losses use; sky has a finite value."""
    return torch.log(inverse_depth + FAR)


def decode_depth(code: Tensor) -> Tensor:
    """The inverse of ``encode_depth``; codes below that of sky are sky."""
    return (code.exp() - FAR).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class DepthCompletionConfig:
    """Sizes of the network.

    The defaults are what a picture of 144x80 takes least time with: ``RowConv2d`` computes narrower levels twice.

    Attributes:
        channels: at 1/4, 1/8 and 1/16 of the picture's resolution.
        blocks: residual blocks at each of these on the way down.
        inclined: whether it is told how steeply each pixel looks down, as the camera's pitch says.

    Raises:
        ValueError: sizes that the U-net does not take.
    """

    channels: tuple[int, ...] = (32, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 3)
    inclined: bool = True

    def __post_init__(self) -> None:
        check_levels(self.channels, self.blocks)


class DepthCompletion(UNet):
    """A small U-net. Before any training it says 8 metres, and is half sure."""

    def __init__(self, config: DepthCompletionConfig) -> None:
        super().__init__((COLOURS + TOLD, 2), config.channels, config.blocks)
        self.config = config

    def forward(self, pictures: Tensor, descents: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of inverse depth (``decode_depth``) and logits of confidence, (B, H, W) each.

        Args:
            pictures: uint8 (B, H, W, 3).
            descents: of their rays (B, H, W) (``Intrinsics.descents``).

        Raises:
            ValueError: sizes that are no multiple of 16.
        """
        if self.config.inclined:
            told = torch.stack([encode_depth(descents.clamp(min=0) / EYE) / 4, descents], 1)
        else:
            told = torch.tensor([UNKNOWN / 4, 0.0], device=descents.device)[:, None, None]
            told = told.expand(len(pictures), TOLD, *descents.shape[1:])
        code, sure = self.run(torch.cat([pictures.movedim(-1, 1) / 255 - 0.5, told], 1)).unbind(1)
        return code + UNKNOWN, sure


def depth_sizes(about: Mapping[str, Any]) -> DepthCompletionConfig:
    """Sizes as a file of this or an earlier version tells them: earlier networks were not told the pitch.

    Raises:
        ValueError: it tells something else.
    """
    return dataclass_of(DepthCompletionConfig, {"inclined": False, **about} if isinstance(about, Mapping) else about)


def heeding_pitch(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network that was not told the pitch, as those of one that is told and does not heed it yet.

    It says the same, but for the border of the picture.
    """
    colours, told, places = weights["enter.weight"].float().split([COLOURS * CELL**2, TOLD * CELL**2, 2], 1)
    nothing = told[:, : CELL**2].sum((1, 2, 3)) * UNKNOWN / 4
    enter = {"weight": torch.cat([colours, torch.zeros_like(told), places], 1), "bias": weights["enter.bias"] + nothing}
    return {**weights, **{f"enter.{name}": tensor for name, tensor in enter.items()}}


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
        sizes = depth_sizes(about["depth"])
    network = build_module(lambda: DepthCompletion(sizes), tensors, str(path))
    return network.eval().requires_grad_(False)
