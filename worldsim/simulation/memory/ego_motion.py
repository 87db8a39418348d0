"""Ego-motion before drawing: how far the player moves in the next video frames, from actions and what was seen last.

Turning is exact and not learned. What is learned is the response of the body: speeding up, sliding to a stop, jumping,
falling, walls, water. B worlds, R video frames of a chunk, A action vector, S state, H W pixels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, load_tensors, save_tensors
from worldsim.models.rowwise import KERNEL, RowLinear, without_remainder
from worldsim.models.shield import shielded
from worldsim.simulation.memory.surroundings import SIZE, surroundings
from worldsim.spec.camera import Camera
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

FILE = "ego_motion.safetensors"
FORMAT = "worldsim-ego-motion-1"
# Metres a video frame: the scale of what the network reads and writes.
SCALE = 0.2
# Degrees a video frame that turns are divided by before the network reads them.
TURN_SCALE = 20.0
# Behind the hidden state: the last displacement (3), the yaw turned during it (1), whether anything is known of it (1);
# then, where it is told, the height above the place where the player stood last (1), and whether he stands (1).
_TAIL, _RISEN = 5, 2
# Metres of that height beyond which it makes no difference.
HIGHEST = 4.0


@dataclass(frozen=True, kw_only=True)
class EgoMotionConfig:
    """Sizes and units.

    Attributes:
        actions: length A of an action vector.
        camera: what takes the pictures.
        hidden: width of the recurrent state.
        near: width of the summary of the surroundings.
        still: metres a video frame; along each axis, what the network says below it is no motion at all.
        risen: whether the network is told how high above the place where he stood last the player is: most jumps end
            at the height at which they began.
    """

    actions: int
    camera: Camera
    hidden: int = 64
    near: int = 64
    still: float = 0.003
    risen: bool = True

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a size is not positive, a width no multiple of 64, or the dead zone negative.
        """
        for name in ("hidden", "near"):
            if (width := getattr(self, name)) < 1 or width % KERNEL:
                raise ValueError(f"{name} must be a multiple of {KERNEL}, got {width}")
        if self.actions < 1:
            raise ValueError(f"actions must be at least 1, got {self.actions}")
        if self.still < 0:
            raise ValueError(f"still must not be negative, got {self.still:g}")


class EgoMotion(nn.Module):
    """A recurrent network with the last displacement, turned into the present heading, as its inertia."""

    def __init__(self, config: EgoMotionConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.look = nn.Sequential(RowLinear(SIZE, config.near), nn.SiLU(), RowLinear(config.near, config.near))
        # Actions, sine and cosine of pitch, yaw turned since the picture.
        self.enter = RowLinear(config.near + config.actions + 3, hidden)
        self._tail = _TAIL + _RISEN * config.risen
        # Displacement, whether it is known, height, whether it stands.
        self.inertia = RowLinear(4 + _RISEN * config.risen, hidden, bias=False)
        self.input = RowLinear(hidden, 3 * hidden)
        self.recur = RowLinear(hidden, 3 * hidden)
        self.leave = nn.Sequential(RowLinear(2 * hidden, hidden), nn.SiLU(), RowLinear(hidden, 6))
        with torch.no_grad():
            # At first most of a motion goes on.
            last = self.leave[2]
            assert isinstance(last, RowLinear) and last.bias is not None
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0, 0.0]))

    def initial(self, batch: int) -> Tensor:
        """State (B, S) of worlds of which nothing is known yet."""
        return torch.zeros(batch, self.config.hidden + self._tail, device=self.recur.weight.device)

    def forward(
        self,
        state_BS: Tensor,
        actions_BRA: Tensor,
        inverse_depth_BHW: Tensor,
        confidence_BHW: Tensor | None,
        pitch_B: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Displacements (forward, right, up) (B, R, 3) in metres of each video frame, and the new state.

        Each is along the mean heading of its frame, as ``advance_camera`` takes it.

        Args:
            state_BS: of ``initial``, or of the chunk before.
            actions_BRA: of the chunk.
            inverse_depth_BHW: of the last picture before the chunk, 1/m, 0 is the sky.
            confidence_BHW: 0 to 1; None where every pixel is sure.
            pitch_B: of the camera that took that picture, degrees.

        Raises:
            ValueError: actions of another length.
        """
        if actions_BRA.shape[-1] != self.config.actions:
            raise ValueError(f"expected actions of length {self.config.actions}, got {actions_BRA.shape[-1]}")
        near = surroundings(inverse_depth_BHW, confidence_BHW, pitch_B, self.config.camera)
        turns = actions_BRA[..., self.config.camera.yaw_action]
        moved, state, _ = self.steps(state_BS, self.sense(actions_BRA, near, pitch_B), turns)
        return moved, state

    def sense(self, actions_BRA: Tensor, near_BN: Tensor, pitch_B: Tensor) -> Tensor:
        """All that enters the network but its own motion (B, R, hidden); many chunks may be given as rows.

        Args:
            actions_BRA: of the chunk.
            near_BN: ``surroundings`` of the picture before it.
            pitch_B: of the camera that took it, degrees.
        """
        frames = actions_BRA.shape[1]
        turns = actions_BRA[..., self.config.camera.yaw_action : self.config.camera.yaw_action + 1 or None]
        turned = turns.cumsum(1) - turns / 2
        pitch = torch.deg2rad(pitch_B)[:, None]
        sin, cos = (without_remainder(f, pitch)[:, None].expand(-1, frames, -1) for f in (torch.sin, torch.cos))
        looked = self.look(near_BN)[:, None].expand(-1, frames, -1)
        seen = [looked, self._readable(actions_BRA), sin, cos, (turned / TURN_SCALE).clamp(-3, 3)]
        return self.enter(torch.cat(seen, 2))

    def steps(self, state_BS: Tensor, sensed_BRH: Tensor, turns_BR: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``forward`` of what ``sense`` says; also the displacements before the dead zone (B, R, 3)."""
        hidden, moved, before, known, risen = state_BS.split([self.config.hidden, 3, 1, 1, self._tail - _TAIL], 1)
        out, raw = [], []
        for sensed, turn in zip(sensed_BRH.unbind(1), turns_BR[..., None].unbind(1), strict=True):
            moved = _turned(moved, (before + turn) / 2)
            inertia = torch.cat([moved / SCALE, known, risen.clamp(-HIGHEST, HIGHEST)], 1)
            entered = F.silu(sensed + self.inertia(inertia))
            hidden = self._recur(entered, hidden)
            keep, push = self.leave(torch.cat([hidden, entered], 1)).chunk(2, 1)
            raw.append(without_remainder(torch.sigmoid, keep) * moved + push * SCALE)
            moved = _still_below(self.config.still, raw[-1])
            out.append(moved)
            before, known, risen = turn, torch.ones_like(known), _risen(risen, moved)
        return torch.stack(out, 1), torch.cat([hidden, moved, before, known, risen], 1), torch.stack(raw, 1)

    def measured(self, state_BS: Tensor, moved_B3: Tensor, turn_B: Tensor) -> Tensor:
        """The state with the last video frame's displacement as it was measured, instead of as it was predicted.

        For a past with recorded poses (``motion_of``): before the first chunk, and after each chunk of it.

        Args:
            state_BS: the state after that frame.
            moved_B3: forward, right, up in metres along the frame's mean heading.
            turn_B: the yaw that it turned, degrees.
        """
        hidden, expected, risen = state_BS.split([self.config.hidden, _TAIL, self._tail - _TAIL], 1)
        if self.config.risen:
            level, stood = risen.split(1, 1)
            up, guessed = moved_B3[:, 2:], expected[:, 2:3]
            stands = (up.abs() < self.config.still).float()
            risen = torch.cat([level + (up - guessed) * (1 - stands * stood), stands], 1)
        known = torch.ones_like(turn_B)[:, None]
        return torch.cat([hidden, moved_B3, turn_B[:, None], known, risen], 1)

    def _readable(self, actions_BRA: Tensor) -> Tensor:
        """Actions with turns of about 1; both camera actions may stand anywhere in the vector."""
        scale = torch.ones(self.config.actions, device=actions_BRA.device)
        scale[[self.config.camera.pitch_action, self.config.camera.yaw_action]] = 1 / TURN_SCALE
        return (actions_BRA.float() * scale).clamp(-3, 3)

    def _recur(self, entered_BN: Tensor, hidden_BN: Tensor) -> Tensor:
        """One step of a gated recurrent unit (Cho et al. 2014), of layers that keep the rows of a batch apart."""
        reset_in, update_in, new_in = self.input(entered_BN).chunk(3, 1)
        reset, update, new = self.recur(hidden_BN).chunk(3, 1)
        candidate = (new_in + (reset_in + reset).sigmoid() * new).tanh()
        share = (update_in + update).sigmoid()
        return candidate + share * (hidden_BN - candidate)


def motion_of(poses_BF5: Tensor) -> Tensor:
    """Displacements (B, F - 1, 3) between recorded poses (B, F, 5): the inverse of ``spec.pose.advance_pose``.

    Forward, right and up in metres, along the mean heading of each frame; recorded yaw may wrap around.
    """
    step = poses_BF5[:, 1:, :3] - poses_BF5[:, :-1, :3]
    turn = (poses_BF5[:, 1:, 3] - poses_BF5[:, :-1, 3] + 180) % 360 - 180
    heading = torch.deg2rad(poses_BF5[:, :-1, 3] + turn / 2)
    x, up, z = step.unbind(-1)
    sin, cos = heading.sin(), heading.cos()
    return torch.stack([x * sin + z * cos, x * cos - z * sin, up], -1)


def _turned(moved_B3: Tensor, degrees_B1: Tensor) -> Tensor:
    """A displacement in the axes of a heading that is so many degrees farther to the right."""
    angle = torch.deg2rad(degrees_B1)
    forward, right, up = moved_B3.split(1, 1)
    sin, cos = (without_remainder(function, angle) for function in (torch.sin, torch.cos))
    return torch.cat([forward * cos + right * sin, right * cos - forward * sin, up], 1)


def _risen(risen_B2: Tensor, moved_B3: Tensor) -> Tensor:
    """Height above where it stood last, and whether it stands, after a displacement; nothing where it is not told.

    It stands once it has not moved up or down in two frames: in one it does not at the top of a jump either.
    """
    if not risen_B2.shape[1]:
        return risen_B2
    level, stood = risen_B2.split(1, 1)
    up = moved_B3[:, 2:]
    stands = (up == 0).to(up.dtype)
    return torch.cat([(level + up) * (1 - stands * stood), stands], 1)


def _still_below(still: float, moved: Tensor) -> Tensor:
    """Soft threshold: exactly 0 within the dead zone. Gradients pass as if there were none, or rest is never left."""
    shrunk = moved - moved.clamp(-still, still)
    return moved + (shrunk - moved).detach() if moved.requires_grad else shrunk


def motion_sizes(raw: Any) -> EgoMotionConfig:
    """Sizes as a file of this or an earlier version tells them: earlier networks were not told the height.

    Raises:
        ValueError: it tells something else.
    """
    return dataclass_of(EgoMotionConfig, {"risen": False, **raw} if isinstance(raw, Mapping) else raw)


def save_ego_motion(path: Path, model: EgoMotion, about: Mapping[str, Any] | None = None) -> None:
    """Write a network to a file."""
    config = asdict(model.config) | {"camera": model.config.camera.to_json()}
    save_tensors(path, model.state_dict(), {"format": FORMAT, "ego_motion": config, **(about or {})})


@shielded
def load_ego_motion(path: Path) -> EgoMotion:
    """Read what ``save_ego_motion`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it holds something else.
        ValueError: it is damaged.
    """
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no ego-motion: train one with worldsim train motion")
    with reading(path, "an ego-motion", UserError):
        sizes = motion_sizes(about["ego_motion"])
    model = build_module(lambda: EgoMotion(sizes), tensors, str(path))
    return model.eval().requires_grad_(False)
