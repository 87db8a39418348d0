"""Looking: what an observation changes in memory, and what memory shows from a pose.

The newest evidence wins. Points of older key frames that lie in front of what is seen there now are dead (a dug block);
points behind it stay, hidden (a placed block). B worlds, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, RelativePose, relative_pose, reproject_by, within
from worldsim.simulation.memory.keyframes import KeyFrame, KeyFrames, Memory, stack
from worldsim.simulation.memory.masks import at_least, extreme, greater, less, positive
from worldsim.simulation.memory.render import FAR, Drawing, draw
from worldsim.simulation.memory.selection import choose, coverage, most_redundant

# Key frames looked at together for dead points: few enough for the processor's cache. At first one in 3x3 pixels.
GROUP = 32
COARSE = 3


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """How much is remembered, and when.

    Attributes:
        capacity: key frames of one world; about 70 kB each at 144x80.
        drawn: key frames that a drawing is made of.
        new_share: share of the picture that memory must lack for an observation to be kept.
        changed_share: share of the picture that must be nearer or farther than memory says, for the same.
        tolerance: relative difference of inverse depth up to which two surfaces are the same one.
        occlusion: by how much nearer an older surface must be to hide a newer one, as a share of inverse depth.
        least_confidence: 0 to 1; observed pixels below it neither kill older points nor count as new.
    """

    capacity: int = 128
    drawn: int = 8
    new_share: float = 0.1
    changed_share: float = 0.01
    tolerance: float = 0.1
    occlusion: float = 0.1
    least_confidence: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of range.
        """
        if self.capacity < 1 or self.drawn < 1:
            raise ValueError(f"capacity and drawn must be at least 1, got {self.capacity} and {self.drawn}")
        if not self.occlusion > 0:
            raise ValueError(f"occlusion must be above 0, got {self.occlusion}")
        for name in ("new_share", "changed_share", "tolerance", "least_confidence"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")


@dataclass(frozen=True)
class Observation:
    """What B worlds show now.

    Attributes:
        pictures: uint8 (B, H, W, 3).
        inverse_depth: 1/m (B, H, W), 0 is infinitely far; 0 everywhere for games without depth.
        confidence: 0 to 1 (B, H, W); 0 where the picture does not show the world (HUD, hand).
        poses: x, y, z (m), yaw, pitch (degrees) (B, 5).
        steps: the present step (B,).
    """

    pictures: Tensor
    inverse_depth: Tensor
    confidence: Tensor
    poses: Tensor
    steps: Tensor


def recall(
    lens: Intrinsics,
    memory: KeyFrames,
    poses_B5: Tensor,
    steps_B: Tensor,
    config: MemoryConfig,
    excluded: Tensor | None = None,
) -> Drawing:
    """Draw what each world remembers, seen from a pose. The last observation is always among the frames drawn.

    ``excluded``: pixels (H, W) or (B, H, W) that do not show the world, never covered.
    """
    return recall_along(lens, memory, poses_B5[:, None], steps_B, config, excluded)


def recall_along(
    lens: Intrinsics,
    memory: KeyFrames,
    poses_BR5: Tensor,
    steps_B: Tensor,
    config: MemoryConfig,
    excluded: Tensor | None = None,
) -> Drawing:
    """As ``recall``, from R poses of each world that follow one another closely; rows in the order (B R).

    All are drawn from the same key frames, chosen by the last pose.
    """
    count, rows = poses_BR5.shape[1], []
    for row, pose in zip(memory.rows, poses_BR5[:, -1], strict=True):
        frames = row.frames()
        rows += [[*_best(lens, frames[:-1], pose, config.drawn - 1), *frames[-1:]]] * count
    return _draw(lens, rows, poses_BR5.flatten(0, 1), steps_B.repeat_interleave(count), config, excluded)


def observe(
    lens: Intrinsics, memory: KeyFrames, seen: Observation, config: MemoryConfig, known: Drawing | None = None
) -> KeyFrames:
    """The memory after an observation; the one before stays as it was.

    ``known``: what the key frames show from there, where it is drawn already.

    An observation becomes a key frame if it shows enough that the key frames do not. When there is no room, the key
    frame goes whose points the others show best.

    Raises:
        ValueError: the observation has another number of worlds or another size of pictures.
    """
    size = (memory.batch, lens.height, lens.width)
    if tuple(seen.pictures.shape) != (*size, 3) or tuple(seen.inverse_depth.shape) != size:
        raise ValueError(f"expected pictures of {size}, got {tuple(seen.pictures.shape)}")
    if known is None:
        best = [_best(lens, row.kept, pose, config.drawn) for row, pose in zip(memory.rows, seen.poses, strict=True)]
        known = _draw(lens, best, seen.poses, seen.steps, config, None)
    worth = _is_worth_keeping(known, seen, config)
    rows = []
    for number, row in enumerate(memory.rows):
        frame = KeyFrame(
            picture=seen.pictures[number].clone(),
            inverse_depth=seen.inverse_depth[number].to(torch.float16, copy=True),
            confidence=(seen.confidence[number] * 255).round().to(torch.uint8),
            pose=seen.poses[number].float().clone(),
            taken=int(seen.steps[number]),
        )
        frames = without_dead_points(lens, row.kept, frame, config)
        if worth[number]:
            frames = (*frames, frame)
        if len(frames) > config.capacity:
            gone = most_redundant(lens, frames, config.tolerance)
            frames = frames[:gone] + frames[gone + 1 :]
        rows.append(Memory(frames, frame))
    return KeyFrames(tuple(rows))


def without_dead_points(
    lens: Intrinsics, frames: Sequence[KeyFrame], now: KeyFrame, config: MemoryConfig
) -> tuple[KeyFrame, ...]:
    """The frames, without the points that lie in front of what is seen there now.

    A point must be nearer than all of the nine pixels around it, so that edges kill nothing. Frames that lose no point
    are the same objects. Every point is looked at only around those of one in 3x3 pixels that die: what is smaller than
    that in the frame is forgotten when it is seen from nearer.
    """
    sure = at_least(now.confidence.float(), config.least_confidence * 255)
    if not frames or not bool(sure.amax()):
        return tuple(frames)
    around = extreme(now.inverse_depth.float() * sure, "max")
    # Through what is not seen well (HUD, hand) nothing is seen to be gone.
    limit = torch.where(sure.bool(), around * (1 + config.tolerance) + FAR, torch.inf).flatten()
    out = list(frames)
    for first in range(0, len(out), GROUP):
        for i, gone in _dead(lens, out[first : first + GROUP], now.pose, limit).items():
            confidence = out[first + i].confidence.clone()
            confidence.view(-1)[gone] = 0
            out[first + i] = replace(out[first + i], confidence=confidence)
    return tuple(out)


def _dead(lens: Intrinsics, frames: Sequence[KeyFrame], pose_5: Tensor, limit: Tensor) -> dict[int, Tensor]:
    """By frame, indices of live points that are nearer to a pose than its limit (H W,) allows; empty ones left out."""
    to_pose = relative_pose(torch.stack([frame.pose for frame in frames]), pose_5).in_pixels(lens)
    coarse = slice(COARSE // 2, None, COARSE)
    depth = torch.stack([frame.inverse_depth[coarse, coarse] for frame in frames]).float()
    alive = positive(torch.stack([frame.confidence[coarse, coarse] for frame in frames]))
    rays = lens.directions(*lens.pixels(COARSE, limit.device))
    found = _nearer(lens, reproject_by(to_pose.unsqueeze(2), *rays, depth), limit).mul_(alive)
    frame, row, column = extreme(found, "max").nonzero(as_tuple=True)
    if not len(frame):
        return {}
    # All pixels of the coarse cells, and of those around them.
    ways = torch.arange(COARSE, device=frame.device)
    rows = (row * COARSE)[:, None, None] + ways[:, None]
    columns = (column * COARSE)[:, None, None] + ways
    within_picture = (rows < lens.height) & (columns < lens.width)
    v, u, of = (each.expand(within_picture.shape)[within_picture] for each in (rows, columns, frame[:, None, None]))
    pixel = v * lens.width + u
    place = of * (lens.height * lens.width) + pixel
    depth = torch.stack([frame.inverse_depth for frame in frames]).flatten().index_select(0, place).float()
    alive = positive(torch.stack([frame.confidence for frame in frames]).flatten().index_select(0, place))
    each = RelativePose(to_pose.matrix.index_select(0, of), to_pose.shift.index_select(0, of))
    dead = _nearer(lens, reproject_by(each, *lens.directions(u.float(), v.float()), depth), limit).mul_(alive).bool()
    of, pixel = of[dead], pixel[dead]
    return {number: pixel[of == number] for number in of.unique().tolist()}


def _nearer(lens: Intrinsics, seen: tuple[Tensor, Tensor, Tensor], limit: Tensor) -> Tensor:
    """1 where points, ``reproject_by``ed, are nearer than the limit (H W,) of the pixel they fall on, else 0."""
    u, v, depth = seen
    inside = within(lens, u, v, depth)
    pixel = v.round_().mul_(lens.width).add_(u.round_()).mul_(inside).int()
    return greater(depth, limit.index_select(0, pixel.flatten()).view_as(depth)).mul_(inside)


def _is_worth_keeping(known: Drawing, seen: Observation, config: MemoryConfig) -> list[bool]:
    """Whether each world's observation shows enough that its key frames lack, or show otherwise."""
    sure = at_least(seen.confidence, config.least_confidence)
    known_there = known.covered.float()
    lacking = (sure * (1 - known_there)).flatten(1).sum(1)
    depth = seen.inverse_depth.float() * sure
    nearest = extreme(depth, "max") * (1 + config.tolerance) + FAR
    farthest = extreme(depth, "min") * (1 - config.tolerance) - FAR
    other = torch.maximum(greater(known.inverse_depth, nearest), less(known.inverse_depth, farthest))
    changed = (sure * known_there * other).flatten(1).sum(1)
    pixels = sure[0].numel()
    return ((lacking > config.new_share * pixels) | (changed > config.changed_share * pixels)).tolist()


def _best(lens: Intrinsics, frames: Sequence[KeyFrame], pose_5: Tensor, count: int) -> list[KeyFrame]:
    """At most ``count`` of the frames, those that show most from a pose, the oldest first."""
    if len(frames) <= count:
        return list(frames)
    return [frames[i] for i in choose(coverage(lens, frames, pose_5), count)] if count else []


def _draw(
    lens: Intrinsics,
    rows: Sequence[Sequence[KeyFrame]],
    poses_B5: Tensor,
    steps_B: Tensor,
    config: MemoryConfig,
    excluded: Tensor | None,
) -> Drawing:
    """Draw frames given the oldest first; nothing is covered where there are none."""
    if not any(rows):
        shape = (len(rows), lens.height, lens.width)
        device = poses_B5.device
        zeros = torch.zeros(shape, device=device)
        picture = torch.zeros((*shape, 3), dtype=torch.uint8, device=device)
        return Drawing(picture, zeros.bool(), zeros, zeros, zeros.long(), zeros)
    sources = stack([row[::-1] for row in rows])
    return draw(
        lens, sources, poses_B5, steps_B, tolerance=config.tolerance, occlusion=config.occlusion, excluded=excluded
    )
