"""Which key frames to draw from a pose, and which one to give up when there is no room.

Both look at few points of each key frame, one in 8x8 or 16x16 pixels. Counts are whole numbers, so that their sums have
no order.
N frames of one world, h w coarse cells of a picture.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, relative_pose, reproject, within
from worldsim.simulation.memory.keyframes import KeyFrame
from worldsim.simulation.memory.render import FAR

STRIDE = 8
# Coarser where every frame is looked at from every other.
PAIR_STRIDE = 16
# Steps of the quality of a point: its resolution in the source for that in the drawing, 1 at best.
LEVELS = 64


def coverage(lens: Intrinsics, frames: Sequence[KeyFrame], pose_5: Tensor) -> Tensor:
    """How well each frame would show each cell from a pose: whole numbers (N, h w), 0 not at all, ``LEVELS`` as sharp.

    What hides what is not looked at: it is the drawing that knows.
    """
    u, v, depth, source_depth, live = (of[0] for of in _seen_from(lens, frames, pose_5[None], STRIDE))
    columns, rows = -(-lens.width // STRIDE), -(-lens.height // STRIDE)
    live = within(lens, u, v, depth).mul_(live)
    cell = ((v.round() / STRIDE).floor() * columns + (u.round() / STRIDE).floor()).clamp(0, rows * columns - 1)
    # A point seen from twice as far away has half the resolution.
    quality = ((source_depth + FAR) / (depth.clamp(min=0) + FAR)).clamp(max=1.0)
    level = (quality * LEVELS).ceil().mul_(live).int().long()
    out = torch.zeros(len(frames), rows * columns, dtype=torch.long, device=level.device)
    index = cell.mul_(live).int().long().flatten(1)
    return out.scatter_reduce_(1, index, level.flatten(1), "amax")


def choose(coverage_NC: Tensor, count: int) -> list[int]:
    """At most ``count`` frames that together show most, greedily; of equals the newest (the last). In rising order.

    Greedy choice is within 1 - 1/e of the best for such sums (Nemhauser, Wolsey, Fisher 1978).
    """
    n = len(coverage_NC)
    best = torch.zeros_like(coverage_NC[0])
    newer = torch.arange(n, device=coverage_NC.device)
    chosen: list[int] = []
    for _ in range(min(count, n)):
        gain = (coverage_NC - best).clamp(min=0).sum(1)
        pick = int((gain * n + newer).argmax())
        if not int(gain[pick]):
            break
        chosen.append(pick)
        best = torch.maximum(best, coverage_NC[pick])
    return sorted(chosen)


def most_redundant(lens: Intrinsics, frames: Sequence[KeyFrame], tolerance: float) -> int:
    """The frame whose live points the other frames show most completely; of equals the oldest (the first)."""
    n = len(frames)
    poses = torch.stack([frame.pose for frame in frames])
    u, v, depth, _, live = _seen_from(lens, frames, poses, PAIR_STRIDE)
    inside = live & within(lens, u, v, depth).bool()
    surface = torch.stack([f.inverse_depth for f in frames]).float()
    alive = torch.stack([f.confidence for f in frames]) > 0
    pixel = torch.where(inside, v.round() * lens.width + u.round(), 0.0).long().flatten(2)
    viewer = torch.arange(n, device=pixel.device)[:, None, None]
    there, known = surface.flatten(1)[viewer, pixel], alive.flatten(1)[viewer, pixel]
    # Seen by the viewer, not hidden behind what it saw.
    shown = inside.flatten(2) & known & (depth.flatten(2) >= there * (1 - tolerance) - FAR)
    shown &= ~torch.eye(n, dtype=torch.bool, device=pixel.device)[:, :, None]
    points = live[0].flatten(1).sum(1)
    lonely = points - shown.any(0).sum(1)
    # Fewest points that nobody else shows; argmin takes the first of equals.
    return int(lonely.argmin())


def _seen_from(
    lens: Intrinsics, frames: Sequence[KeyFrame], poses_M5: Tensor, stride: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Coarse points of N frames from M poses: u, v, inverse depth (M, N, h, w); theirs and liveness (1, N, h, w)."""
    u, v = lens.pixels(stride, poses_M5.device)
    points = slice(stride // 2, None, stride)
    source = torch.stack([f.inverse_depth[points, points] for f in frames]).float()[None]
    live = torch.stack([f.confidence[points, points] for f in frames])[None] > 0
    poses = torch.stack([frame.pose for frame in frames])[None]
    relative = relative_pose(poses, poses_M5[:, None]).unsqueeze(2)
    u, v, depth = reproject(lens, relative, u, v, source)
    return u, v, depth, source, live
