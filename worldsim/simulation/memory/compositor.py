"""What is shown: pixel by pixel, what memory draws, what was on the screen before, or what the network generates.

Memory knows the world that stands still, the last picture knows what is fixed to the screen (hand, hotbar), and the
network knows what changes. B pictures, H W pixels, A action vector.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from worldsim.simulation.memory.depth import encode_depth
from worldsim.simulation.memory.masks import box_mean, greater, select
from worldsim.simulation.memory.render import Drawing
from worldsim.simulation.memory.unet import UNet, check_levels

# Logit by which a covered pixel is memory's before any training.
TRUST_MEMORY = 2.0
# Shares below this are nothing and above one minus this are all: what stands still must not mix a little every step.
SHARPNESS = 0.15
# Steps since a pixel was seen, beyond which it is as old as any: who stands for minutes sees old pixels that are right.
OLDEST = 24
# Pixels along a side over which the correction of the generated picture is averaged: it may change its tone, not its
# texture. What a network has learned about texture by its errors is to take it away.
TONE = 9
# Below every logit by so much that its share is 0 in single precision.
NEVER = 1e4
# A camera that moved and turned by less (metres, degrees) stands.
STANDING = (0.01, 0.05)
PLANES = 3 + 1 + 1 + 1 + 1 + 3 + 3
SOURCES = ("memory", "screen", "generated")


@dataclass(frozen=True, kw_only=True)
class CompositorConfig:
    """Sizes: length A of an action vector; channels and blocks of the U-net (``worldsim.simulation.memory.unet``).

    Raises:
        ValueError: sizes that the U-net does not take.
    """

    actions: int
    channels: tuple[int, ...] = (32, 96, 128)
    blocks: tuple[int, ...] = (1, 1, 3)

    def __post_init__(self) -> None:
        check_levels(self.channels, self.blocks)


class Composite(NamedTuple):
    """What is shown.

    Attributes:
        picture: in 0..1 (B, 3, H, W).
        shares: of memory, screen and network in each pixel (B, 3, H, W).
        corrected: the generated picture as corrected (B, 3, H, W).
    """

    picture: Tensor
    shares: Tensor
    corrected: Tensor


class Compositor(UNet):
    """A gate between three pictures, and a correction of the generated one by what the others show around it."""

    def __init__(self, config: CompositorConfig) -> None:
        super().__init__((PLANES, len(SOURCES) + 3), config.channels, config.blocks, config.actions)
        self.config = config

    def forward(
        self,
        drawn: Drawing,
        screen: Tensor,
        generated: Tensor,
        actions_BA: Tensor,
        may_stay: Tensor,
        *,
        trust: Tensor | float = 0.0,
        anew: Tensor | None = None,
        sharp: bool = True,
    ) -> Composite:
        """Compose.

        Args:
            drawn: what memory draws (B, ...).
            screen: uint8 (B, H, W, 3), the picture shown last.
            generated: uint8 (B, H, W, 3), the network's picture.
            actions_BA: the action that leads to this picture.
            may_stay: bool (B, H, W), where the last picture may be kept if memory draws nothing (``staying``).
            trust: added to the logit of memory, (B,) or a number: how much more it is believed than in training, where
                neither the last picture nor what is made from it is ever wrong.
            anew: bool (B, H, W), where nothing of memory is to be shown though it draws something; None: nowhere.
            sharp: take shares near 0 and 1 as 0 and 1, as at play; False in training.
        """
        pictures = [p.movedim(-1, 1) / 255 for p in (drawn.picture, screen, generated)]
        known = drawn.covered.float()
        depth = encode_depth(drawn.inverse_depth) * known
        age = torch.log1p(drawn.age.clamp(max=OLDEST).float())
        planes = [known, drawn.confidence, age / 4, depth / 4]
        made = self.run(
            torch.cat([*(p - 0.5 for p in pictures), torch.stack(planes, 1)], 1), actions_BA / _scale(actions_BA)
        )
        logits = made[:, : len(SOURCES)]
        correction = box_mean(made[:, len(SOURCES) :], TONE)
        of_memory = _only(
            known if anew is None else known * ~anew,
            logits[:, 0] + TRUST_MEMORY + torch.as_tensor(trust, device=made.device).reshape(-1, 1, 1),
        )
        of_screen = _only(may_stay.float() * (1 - known), logits[:, 1])
        shares = torch.stack([of_memory, of_screen, logits[:, 2]], 1).softmax(1)
        if sharp:
            shares = ((shares - SHARPNESS) / (1 - 2 * SHARPNESS)).clamp(0, 1)
            shares = shares / (shares[:, 0] + shares[:, 1] + shares[:, 2])[:, None]
        candidates = [pictures[0], pictures[1], (pictures[2] + correction).clamp(0, 1)]
        terms = [share[:, None] * each for share, each in zip(shares.unbind(1), candidates, strict=True)]
        return Composite(terms[0] + terms[1] + terms[2], shares, candidates[2])


def whose(shares_B3HW: Tensor) -> Tensor:
    """Which of ``SOURCES`` has the greatest share of each pixel, uint8 (B, H, W); of equals the first."""
    memory, screen, generated = shares_B3HW.unbind(1)
    # ``argmax`` over so few values takes as long as half of the network.
    newly = greater(generated, torch.maximum(memory, screen))
    return select(newly, torch.full_like(newly, 2), greater(screen, memory)).to(torch.uint8)


def staying(before_B5: Tensor, poses_B5: Tensor, fixed_HW: Tensor) -> Tensor:
    """Where the picture from one pose may be kept at another, bool (B, H, W).

    What is ``fixed`` to the screen always, the rest where the camera stands: what does not move with the camera is not
    of the world, and what is kept while it moves is smeared over it.
    """
    change = (poses_B5 - before_B5).abs()
    turn = torch.minimum(change[:, 3:], 360 - change[:, 3:]).amax(1)
    stands = (change[:, :3].amax(1) < STANDING[0]) & (turn < STANDING[1])
    return stands[:, None, None] | fixed_HW


def _only(mask: Tensor, logits: Tensor) -> Tensor:
    """Logits where a mask is 1; elsewhere so small that they have no share at all."""
    return logits * mask - (1 - mask) * NEVER


def _scale(actions_BA: Tensor) -> Tensor:
    """Keys are 0 or 1; degrees of the mouse, the last two values, are divided by 10."""
    scale = torch.ones(actions_BA.shape[-1], device=actions_BA.device)
    scale[-2:] = 10.0
    return scale
