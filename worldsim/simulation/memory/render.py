"""Drawing key frames from a new viewpoint, with what each pixel is worth.

Each key frame's depth is splatted forward into a z-buffer; the pixel then samples the source picture at the place that
the new depth points back to. A wrong depth is thus wrong in the same way when it is looked at again, and nothing at all
from the pose that the picture was taken from. The newest key frame wins, unless an older one shows something in front
of it.

B worlds, K key frames, H W pixels. Scattering takes the maximum, which has no order, and all else is elementwise: a row
of a batch equals the row alone to the bit.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, RelativePose, relative_pose, reproject_by, within
from worldsim.simulation.memory.masks import at_least, extreme, greater, less, positive, select

# Inverse depths (1/m) that differ by less are the same: beyond 500 m it is all sky.
FAR = 0.002
# Worlds drawn together: more of them would not fit the processor's cache.
ROWS = 2
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

    def of_worlds(self, some: slice) -> "Sources":
        """Those of some of the worlds, without a copy."""
        return Sources(*(getattr(self, of.name)[some] for of in fields(Sources)))


@dataclass(frozen=True)
class Drawing:
    """What memory shows from a pose; all but ``covered`` are 0 where nothing is known.

    Attributes:
        picture: uint8 (B, H, W, 3).
        covered: bool (B, H, W).
        inverse_depth: 1/m (B, H, W) float32.
        confidence: 0 to 1 (B, H, W) float32.
        age: steps since the pixel was seen (B, H, W) int64.
        magnification: how many times as large it is as it was seen (B, H, W) float32.
    """

    picture: Tensor
    covered: Tensor
    inverse_depth: Tensor
    confidence: Tensor
    age: Tensor
    magnification: Tensor


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
    b, _, h, w, _ = sources.pictures.shape
    if (h, w) != (lens.height, lens.width) or len(poses_B5) != b or len(steps_B) != b:
        raise ValueError(
            f"{b} worlds with pictures of {h}x{w} do not go with a camera of {lens.height}x{lens.width}, "
            f"{len(poses_B5)} poses, {len(steps_B)} steps"
        )
    together = [slice(first, first + ROWS) for first in range(0, b, ROWS)]
    parts = [
        _draw_few(
            lens, sources.of_worlds(few), poses_B5[few], steps_B[few], tolerance, occlusion,
            excluded[few] if excluded is not None and excluded.dim() == 3 else excluded,
        )
        for few in together
    ]  # fmt: skip
    if len(parts) == 1:
        return parts[0]
    return Drawing(*(torch.cat([getattr(part, of.name) for part in parts]) for of in fields(Drawing)))


def _draw_few(
    lens: Intrinsics,
    sources: Sources,
    poses_B5: Tensor,
    steps_B: Tensor,
    tolerance: float,
    occlusion: float,
    excluded: Tensor | None,
) -> Drawing:
    """``draw`` for few worlds, whose planes stay in the processor's cache."""
    b, k, h, w = sources.inverse_depth.shape
    near, around = filled(splat(lens, sources, poses_B5), tolerance)
    depth, limit = near[:, 0], around[:, 0]
    newest = torch.zeros_like(depth)
    for frame in range(1, k):
        # Nearer than all that the newer frame shows around the pixel: it hides it. Edges that differ by a pixel do not.
        there = near[:, frame]
        hides = greater(there, limit * (1 + occlusion) + FAR)
        hides = torch.maximum(hides, less(depth, 0.0).mul_(at_least(there, 0.0)))
        newest = select(hides, torch.full_like(newest, frame), newest)
        depth, limit = select(hides, there, depth), select(hides, around[:, frame], limit)
    chosen = newest.long()
    colour, confidence, source_depth, known = _sample(lens, sources, poses_B5, chosen, depth)
    covered = at_least(depth, 0.0).mul_(known)
    if excluded is not None:
        covered.mul_((~excluded).float())
    age = steps_B[:, None, None] - sources.taken.gather(1, chosen.flatten(1)).view(b, h, w)
    seen = covered.bool()
    return Drawing(
        picture=colour * seen[..., None],
        covered=seen,
        inverse_depth=depth * covered,
        confidence=confidence * covered,
        age=age * seen,
        magnification=(depth + FAR) / (source_depth.clamp(min=0) + FAR) * covered,
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
    in_pixels = relative_pose(sources.poses, poses_B5[:, None]).in_pixels(lens).unsqueeze(2)
    x, y = lens.directions(*lens.pixels(device=poses_B5.device))
    u, v, depth = reproject_by(in_pixels, x, y, sources.inverse_depth.float())
    use = within(lens, u, v, depth).mul_(positive(sources.confidence))
    plane = torch.arange(0, b * k * h * w, h * w, device=u.device).view(b, k, 1, 1)
    pixel = v.round_().mul_(w).add_(u.round_()).mul_(use).int().long().add_(plane)
    near = torch.full((b * k * h * w,), -1.0, device=u.device)
    near.scatter_reduce_(0, pixel.flatten(), depth.mul_(use).sub_(1 - use).flatten(), "amax")
    return near.view(b, k, h, w)


def filled(near: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Planes of splats (..., H, W) whose gaps of one or two pixels are closed; and the nearest around each pixel.

    Splats of a surface that has come nearer lie apart: what shows between them is a hole, or what is behind. The
    greatest of 3x3 neighbours, then the least of those (closing, Serra 1982), fills gaps and leaves edges in place.
    """
    around = extreme(near, "max")
    closed = extreme(around, "min")
    return select(less(near, (1 - tolerance) * closed), closed, near), around


def _sample(
    lens: Intrinsics, sources: Sources, poses_B5: Tensor, chosen_BHW: Tensor, depth_BHW: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each pixel's key frame: colour uint8 (B, H, W, 3), confidence, inverse depth in it, 1 where anything is known.

    The last three are (B, H, W).
    """
    b, k, h, w = sources.inverse_depth.shape
    back = relative_pose(poses_B5[:, None], sources.poses).in_pixels(lens)
    plane = chosen_BHW + torch.arange(b, device=chosen_BHW.device)[:, None, None] * k
    entries = torch.cat([back.matrix.flatten(-2), back.shift], -1).flatten(0, 1).T.contiguous()
    entries = entries.index_select(1, plane.flatten()).view(12, b, h, w).movedim(0, -1)
    to_source = RelativePose(entries[..., :9].unflatten(-1, (3, 3)), entries[..., 9:])
    x, y = lens.directions(*lens.pixels(device=depth_BHW.device))
    u, v, source_depth = reproject_by(to_source, x, y, depth_BHW.clamp(min=0))
    u, v = u.clamp(0, w - 1), v.clamp(0, h - 1)
    left, top = u.floor(), v.floor()
    right, low = u - left, v - top
    corner = plane * (h * w) + (top * w + left).int()
    # Beyond the last column or row the share is 0: any index will do.
    across, below = less(left, w - 1).int(), less(top, h - 1).int() * w
    # Red, green, blue and confidence of a pixel in one number: a quarter of the look-ups.
    packed = torch.cat([sources.pictures, sources.confidence[..., None]], -1).view(torch.int32).flatten()
    sums: list[Tensor] = []
    known = torch.zeros_like(u)
    for step, share in (
        (0, (1 - right) * (1 - low)),
        (across, right * (1 - low)),
        (below, (1 - right) * low),
        (across + below, right * low),
    ):
        value = packed.index_select(0, (corner + step).flatten()).view(b, h, w)
        channels = [(value >> bits).bitwise_and_(255).float() for bits in (0, 8, 16, 24)]
        share = share * channels[3].clamp(max=1.0)
        known = known + share
        terms = [channel.mul_(share) for channel in channels]
        sums = [total.add_(term) for total, term in zip(sums, terms, strict=True)] if sums else terms
    weight = known.clamp(min=FEWEST_KNOWN).reciprocal_()
    *colours, confidence = (total.mul_(weight) for total in sums)
    colour = torch.stack([each.round_().to(torch.uint8) for each in colours], -1)
    return colour, confidence / 255, source_depth, at_least(known, FEWEST_KNOWN)
