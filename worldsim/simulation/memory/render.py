"""Drawing key frames from a new viewpoint, with what each pixel is worth.

Each key frame's depth is splatted forward into a z-buffer; the pixel then samples the source picture at the place that
the new depth points back to. A wrong depth is thus wrong in the same way when it is looked at again, and nothing at all
from the pose that the picture was taken from. The newest key frame wins, unless an older one shows something in front
of it.

B worlds, K key frames, H W pixels. Scattering takes the maximum, which has no order, and all else is elementwise: a row
of a batch equals the row alone to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, RelativePose, relative_pose, reproject, within

# Inverse depths (1/m) that differ by less are the same: beyond 500 m it is all sky.
FAR = 0.002
# Share of a sample's four neighbours, by weight, that must be known.
FEWEST_KNOWN = 0.2


@dataclass(frozen=True)
class Sources:
    """K key frames for each of B worlds, the newest first.

    Attributes:
        pictures: uint8 (B, K, H, W, 3).
        inverse_depth: 1/m (B, K, H, W), 0 is infinitely far; float16 or float32.
        confidence: uint8 (B, K, H, W); 0 is not drawn (HUD, hand, dead points, rows filled up).
        poses: x, y, z (m), yaw, pitch (degrees) (B, K, 5).
        taken: step at which each was taken (B, K), -1 where a row is filled up.
    """

    pictures: Tensor
    inverse_depth: Tensor
    confidence: Tensor
    poses: Tensor
    taken: Tensor


@dataclass(frozen=True)
class Drawing:
    """What memory shows from a pose; all but ``covered`` are 0 where nothing is known.

    Attributes:
        picture: uint8 (B, H, W, 3).
        covered: bool (B, H, W).
        inverse_depth: 1/m (B, H, W) float32.
        confidence: 0 to 1 (B, H, W) float32.
        age: steps since the pixel was seen (B, H, W) int64.
    """

    picture: Tensor
    covered: Tensor
    inverse_depth: Tensor
    confidence: Tensor
    age: Tensor


def draw(
    lens: Intrinsics,
    sources: Sources,
    poses_B5: Tensor,
    steps_B: Tensor,
    *,
    tolerance: float = 0.1,
    occlusion: float = 0.1,
    excluded: Tensor | None = None,
) -> Drawing:
    """Draw key frames from new poses at given steps.

    Args:
        lens: the camera of all pictures.
        sources: key frames, the newest first.
        poses_B5: where to draw from.
        steps_B: the present step, for the age.
        tolerance: relative difference of inverse depth up to which two surfaces are the same one.
        occlusion: by how much nearer (share of inverse depth) an older surface must be to hide a newer one.
        excluded: pixels (H, W) or (B, H, W) that do not show the world (HUD, hand): never covered.

    Raises:
        ValueError: shapes do not go together.
    """
    b, k, h, w, _ = sources.pictures.shape
    if (h, w) != (lens.height, lens.width) or len(poses_B5) != b or len(steps_B) != b:
        raise ValueError(
            f"{b} worlds with pictures of {h}x{w} do not go with a camera of {lens.height}x{lens.width}, "
            f"{len(poses_B5)} poses, {len(steps_B)} steps"
        )
    near = splat(lens, sources, poses_B5)
    near, around = filled(near, tolerance)
    newest, depth = torch.zeros_like(near[:, 0], dtype=torch.long), near[:, 0]
    limit = around[:, 0]
    for frame in range(1, k):
        # Nearer than all that the newer frame shows around the pixel: it hides it. Edges that differ by a pixel do not.
        hides = (near[:, frame] > limit * (1 + occlusion) + FAR) | (depth < 0) & (near[:, frame] >= 0)
        newest = torch.where(hides, frame, newest)
        depth, limit = torch.where(hides, near[:, frame], depth), torch.where(hides, around[:, frame], limit)
    covered = depth >= 0
    if excluded is not None:
        covered = covered & ~excluded
    colour, confidence, known = _sample(lens, sources, poses_B5, newest, depth)
    covered = covered & known
    age = steps_B[:, None, None] - sources.taken.gather(1, newest.flatten(1)).view_as(newest)
    return Drawing(
        picture=torch.where(covered[..., None], colour, 0),
        covered=covered,
        inverse_depth=torch.where(covered, depth, 0.0),
        confidence=torch.where(covered, confidence, 0.0),
        age=torch.where(covered, age, 0),
    )


def draw_turned(lens: Intrinsics, pictures: Tensor, source_B5: Tensor, target_B5: Tensor, excluded: Tensor) -> Drawing:
    """Turn pictures (B, H, W, 3) as if all were infinitely far: for games and videos without depth.

    ``excluded``: pixels (H, W) or (B, H, W) that do not show the world, neither taken nor drawn. Positions are ignored.
    """
    b = len(pictures)
    confidence = torch.where(excluded, 0, 255).to(torch.uint8).expand(pictures.shape[:3])
    far = torch.zeros(pictures.shape[:3], device=pictures.device)
    now = torch.zeros(b, dtype=torch.long, device=pictures.device)
    sources = Sources(pictures[:, None], far[:, None], confidence[:, None], source_B5[:, None], now[:, None])
    return draw(lens, sources, target_B5, now, excluded=excluded)


def splat(lens: Intrinsics, sources: Sources, poses_B5: Tensor) -> Tensor:
    """Inverse depth (B, K, H, W) of each key frame's nearest point in each pixel of the new pose, -1 where none."""
    b, k, h, w = sources.inverse_depth.shape
    relative = relative_pose(sources.poses, poses_B5[:, None]).unsqueeze(2)
    u, v = lens.pixels(device=poses_B5.device)
    u, v, depth = reproject(lens, relative, u, v, sources.inverse_depth.float())
    use = within(lens, u, v, depth) & (sources.confidence > 0)
    plane = torch.arange(b * k, device=u.device).view(b, k, 1, 1) * (h * w)
    pixel = torch.where(use, v.round() * w + u.round(), 0.0).long() + plane
    near = torch.full((b * k * h * w,), -1.0, device=u.device)
    near.scatter_reduce_(0, pixel.flatten(), torch.where(use, depth, -1.0).flatten(), "amax")
    return near.view(b, k, h, w)


def filled(near: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Planes of splats (..., H, W) whose gaps of one or two pixels are closed; and the nearest around each pixel.

    Splats of a surface that has come nearer lie apart: what shows between them is a hole, or what is behind. The
    greatest of 3x3 neighbours, then the least of those (closing, Serra 1982), fills gaps and leaves edges in place.
    """
    around = _extreme(_extreme(near, torch.maximum, -1), torch.maximum, -2)
    closed = _extreme(_extreme(around, torch.minimum, -1), torch.minimum, -2)
    return torch.where(near < (1 - tolerance) * closed, closed, near), around


def _extreme(planes: Tensor, of: Callable[[Tensor, Tensor], Tensor], dim: int) -> Tensor:
    """The extreme of each value and its two neighbours along a dimension; there are none beyond the border."""
    n = planes.shape[dim]
    pairs = of(planes.narrow(dim, 0, n - 1), planes.narrow(dim, 1, n - 1))
    first, last = planes.narrow(dim, 0, 1), planes.narrow(dim, n - 1, 1)
    return of(torch.cat([first, pairs], dim), torch.cat([pairs, last], dim))


def _sample(
    lens: Intrinsics, sources: Sources, poses_B5: Tensor, chosen_BHW: Tensor, depth_BHW: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour uint8 (B, H, W, 3), confidence and whether anything is known (B, H, W), from each pixel's key frame."""
    b, k, h, w = sources.inverse_depth.shape
    back = relative_pose(poses_B5[:, None], sources.poses)
    plane = chosen_BHW + torch.arange(b, device=chosen_BHW.device)[:, None, None] * k
    entries = torch.cat([back.matrix.flatten(-2), back.shift], -1).flatten(0, 1).T.contiguous()
    entries = entries.index_select(1, plane.flatten()).view(12, b, h, w).movedim(0, -1)
    to_source = RelativePose(entries[..., :9].unflatten(-1, (3, 3)), entries[..., 9:])
    u, v, _ = reproject(lens, to_source, *lens.pixels(device=depth_BHW.device), depth_BHW.clamp(min=0))
    u, v = u.clamp(0, w - 1), v.clamp(0, h - 1)
    left, top = u.floor(), v.floor()
    right, low = u - left, v - top
    corner = plane * (h * w) + (top * w + left).long()
    # Beyond the last column or row the share is 0: any index will do.
    across, below = (left < w - 1).long(), (top < h - 1).long() * w
    # Red, green, blue and confidence of a pixel in one number: a quarter of the look-ups.
    packed = torch.cat([sources.pictures, sources.confidence[..., None]], -1).view(torch.int32).flatten()
    total = torch.zeros(b, h, w, 4, device=u.device)
    known = torch.zeros_like(u)
    for step, share in (
        (0, (1 - right) * (1 - low)),
        (across, right * (1 - low)),
        (below, (1 - right) * low),
        (across + below, right * low),
    ):
        value = packed[corner + step][..., None].view(torch.uint8)
        share = torch.where(value[..., 3] > 0, share, 0.0)
        total = total + value * share[..., None]
        known = known + share
    mean = total / known.clamp(min=FEWEST_KNOWN)[..., None]
    return mean[..., :3].round().to(torch.uint8), mean[..., 3] / 255, known >= FEWEST_KNOWN
