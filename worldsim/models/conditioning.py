"""What a latent frame is conditioned on: noise level, step size, actions and text, as one vector per frame.

B batch, T latent frames, N tokens per frame, P token size, r video frames per latent frame, A action size, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.rowwise import RowLinear


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): keeps unusual mouse speeds within reach of the usual ones."""
    return x.sign() * x.abs().log1p()


def fourier(x: Tensor, octaves: int) -> Tensor:
    """Sines and cosines (..., 2 * octaves) of x at periods 4, 2, 1, ... (x about -1..1)."""
    angles = x[..., None] * (math.pi / 2) * 2.0 ** torch.arange(octaves, device=x.device)
    return torch.cat([angles.sin(), angles.cos()], -1)


class ActionCodec(nn.Module):
    """One embedding per key plus the mouse; a learned pool over the r actions inside a chunk.

    A frame without an action (the first of a clip, or dropped for guidance) gets a learned null.
    """

    def __init__(self, keys: int, camera: bool, chunk: int, width: int) -> None:
        super().__init__()
        self.keys, self.camera, self.chunk = keys, camera, chunk
        features = keys + (2 * (2 + 2 * 4) if camera else 0)
        self.embed = RowLinear(features, width)
        self.pool = RowLinear(chunk * width, width)
        self.null = nn.Parameter(torch.empty(width).normal_(std=0.02))

    def features(self, actions: Tensor) -> Tensor:
        """Actions (..., A) to what the embedding reads."""
        parts = [actions[..., : self.keys]]
        if self.camera:
            mouse = actions[..., self.keys :]
            bounded = symlog(mouse) / math.log1p(180.0)
            parts += [mouse.clamp(-30, 30) / 10, symlog(mouse), fourier(bounded, 4).flatten(-2)]
        return torch.cat(parts, -1)

    def forward(self, actions_BTrA: Tensor, present_BT: Tensor) -> Tensor:
        """Actions with a mask of which frames have one, to (B, T, D)."""
        each = F.silu(self.embed(self.features(actions_BTrA)))
        pooled = self.pool(each.flatten(-2))
        return torch.where(present_BT[..., None], pooled, self.null.to(pooled.dtype))


class Conditioning(nn.Module):
    """Sums the embeddings of signal level tau, step size d, actions and text into one vector per latent frame."""

    def __init__(self, width: int, codec: ActionCodec, text_size: int) -> None:
        super().__init__()
        self.codec = codec
        self.level = nn.Sequential(RowLinear(2 * 8 + 2, width), nn.SiLU(), RowLinear(width, width))
        self.text = RowLinear(text_size, width)
        self.no_text = nn.Parameter(torch.zeros(width))

    def forward(
        self,
        tau_BT: Tensor,
        step_BT: Tensor,
        actions_BTrA: Tensor,
        present_BT: Tensor,
        text_BX: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the conditioning vector and its action part, both (B, T, D).

        Step size 0 is the plain flow; a text embedding of zeros stands for no text.
        """
        # A step of 2^-j enters as -j / 8, so that every halving is the same distance.
        size = torch.where(step_BT > 0, step_BT.clamp_min(1e-4).log2() / 8, torch.full_like(step_BT, -1.0))
        level = self.level(torch.cat([fourier(tau_BT, 8), tau_BT[..., None], size[..., None]], -1))
        action = self.codec(actions_BTrA, present_BT)
        text = self.no_text
        if text_BX is not None:
            given = text_BX.abs().sum(-1, keepdim=True) > 0
            text = torch.where(given, self.text(text_BX), self.no_text.to(action.dtype))[:, None]
        return level + action + text, action


class Infilling(nn.Module):
    """What tells a network that it fills in frames between known ones, or that time runs backwards.

    All weights begin at zero: a network that gets them computes what it computed before.
    """

    def __init__(self, width: int, token_size: int) -> None:
        super().__init__()
        self.between = nn.Parameter(torch.zeros(width))
        self.backwards = nn.Parameter(torch.zeros(width))
        self.following_in = nn.Linear(token_size, width, bias=False)
        nn.init.zeros_(self.following_in.weight)

    def flags(self, between: bool, backwards_B: Tensor | None) -> Tensor:
        """What is added to the conditioning vector, (B or 1, 1, D)."""
        vector = (self.between if between else torch.zeros_like(self.between))[None, None]
        return vector if backwards_B is None else vector + backwards_B[:, None, None] * self.backwards

    def forward(self, tokens_BTNP: Tensor, known_BT: Tensor) -> Tensor:
        """What each frame is told of the clean latent after it, where that is known: (B, T, N, D)."""
        known = torch.cat([known_BT[:, 1:], torch.zeros_like(known_BT[:, :1])], 1)
        return self.following_in(tokens_BTNP.roll(-1, 1)) * known[..., None, None]
