"""A pinhole camera whose pose is known: pixels to points, points to pixels, and how it moves.

Poses are those of ``worldsim.spec.pose``: x, y (up), z in metres, yaw and pitch in degrees; positive yaw turns right,
positive pitch looks down. Camera axes: x right, y down, z forward. Depth is along z and is kept as its inverse (1/m):
0 is infinitely far (sky), where translation has no effect. Pixel centres have integer coordinates.

Everything is made of elementwise operations: matrix libraries choose their algorithm by the size of the batch, and a
row of a batch must equal, to the bit, the row alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.simulation.memory.masks import at_least, greater, less
from worldsim.spec.camera import Camera
from worldsim.spec.pose import advance_pose

# Metres; what is nearer to the plane of the eye than this is not drawn.
NEAREST = 0.05


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """What a camera's lens does: size in pixels, focal length in pixels (pixels are square)."""

    height: int
    width: int
    focal: float

    @staticmethod
    def of(camera: Camera, height: int, width: int) -> "Intrinsics":
        """The lens of a game's camera at a size in pixels.

        Raises:
            ValueError: a size is not positive.
        """
        if height < 1 or width < 1:
            raise ValueError(f"a picture must have at least one pixel, got {height}x{width}")
        return Intrinsics(height=height, width=width, focal=camera.focal_pixels(height))

    def pixels(self, stride: int = 1, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Coordinates u (1, w) and v (h, 1) of every ``stride``-th pixel, from the middle of the first such square."""
        u = torch.arange(stride // 2, self.width, stride, dtype=torch.float32, device=device)
        v = torch.arange(stride // 2, self.height, stride, dtype=torch.float32, device=device)
        return u[None], v[:, None]

    def directions(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes x / z and y / z of the rays through pixels."""
        return (u - (self.width - 1) / 2) / self.focal, (v - (self.height - 1) / 2) / self.focal

    def descents(self, poses_B5: Tensor) -> Tensor:
        """Metres (B, H, W) that the ray through each pixel goes down for each metre of depth; negative above level.

        Level ground e metres below the eye has the inverse depth ``descents / e``.
        """
        _, y = self.directions(*self.pixels(device=poses_B5.device))
        up = rotation(poses_B5)[:, 1, :, None, None]
        return -(up[:, 1] * y + up[:, 2]).expand(-1, self.height, self.width)

    def unproject(self, u: Tensor, v: Tensor, inverse_depth: Tensor) -> Tensor:
        """Points (..., 3) in camera axes, in metres; infinite where the inverse depth is 0."""
        x, y = self.directions(u, v)
        x, y, inverse_depth = torch.broadcast_tensors(x, y, inverse_depth)
        return torch.stack([x, y, torch.ones_like(x)], -1) / inverse_depth[..., None]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels u, v and inverse depth (...,) of points (..., 3) in camera axes.

        Points behind the camera have a negative inverse depth.
        """
        x, y, z = points.unbind(-1)
        return (
            x / z * self.focal + (self.width - 1) / 2,
            y / z * self.focal + (self.height - 1) / 2,
            1 / z,
        )


@dataclass(frozen=True)
class RelativePose:
    """From one camera's axes to another's: ``p' = matrix p + shift``; matrix (..., 3, 3), shift (..., 3) in metres."""

    matrix: Tensor
    shift: Tensor

    def unsqueeze(self, count: int) -> "RelativePose":
        """With ``count`` dimensions of size 1 behind the leading ones, to go with as many dimensions of pixels."""
        lead = self.shift.shape[:-1] + (1,) * count
        return RelativePose(self.matrix.reshape(*lead, 3, 3), self.shift.reshape(*lead, 3))

    def in_pixels(self, lens: Intrinsics) -> "RelativePose":
        """To x and y that a lens shows as pixels: what it makes of ``p'`` is this over its z."""
        centre = torch.tensor([(lens.width - 1) / 2, (lens.height - 1) / 2, 0.0], device=self.shift.device)
        focal = torch.tensor([lens.focal, lens.focal, 1.0], device=self.shift.device)
        matrix = self.matrix * focal[:, None] + self.matrix[..., 2:, :] * centre[:, None]
        return RelativePose(matrix, self.shift * focal + self.shift[..., 2:] * centre)


def rotation(poses: Tensor) -> Tensor:
    """Matrices (..., 3, 3) from camera axes to world axes of poses (..., 5); the columns are right, down, forward."""
    angles = torch.deg2rad(poses[..., 3:5])
    (sin_yaw, sin_pitch), (cos_yaw, cos_pitch) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    zero = torch.zeros_like(sin_yaw)
    right = torch.stack([cos_yaw, zero, -sin_yaw], -1)
    down = torch.stack([-sin_yaw * sin_pitch, -cos_pitch, -cos_yaw * sin_pitch], -1)
    forward = torch.stack([sin_yaw * cos_pitch, -sin_pitch, cos_yaw * cos_pitch], -1)
    return torch.stack([right, down, forward], -1)


def to_world(points: Tensor, poses: Tensor, eye_height: float) -> Tensor:
    """World coordinates of points (..., 3) in the axes of poses (..., 5), the eye so high above the feet (m)."""
    up = torch.tensor([0.0, eye_height, 0.0], device=points.device)
    return _product(rotation(poses), points) + poses[..., :3] + up


def to_camera(points: Tensor, poses: Tensor, eye_height: float) -> Tensor:
    """The inverse of ``to_world``."""
    up = torch.tensor([0.0, eye_height, 0.0], device=points.device)
    return _product(rotation(poses).mT, points - poses[..., :3] - up)


def relative_pose(source: Tensor, target: Tensor) -> RelativePose:
    """From the camera axes of the source poses to those of the target poses, (..., 5) each.

    The height of the eye above the feet is the same in both and drops out.
    """
    turned, back = rotation(source), rotation(target).mT
    # As ``_product`` of every column.
    terms = back[..., :, :, None] * turned[..., None, :, :]
    matrix = terms[..., 0, :] + terms[..., 1, :] + terms[..., 2, :]
    return RelativePose(matrix, _product(back, source[..., :3] - target[..., :3]))


def reproject(
    lens: Intrinsics, relative: RelativePose, u: Tensor, v: Tensor, inverse_depth: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where pixels of one camera are seen by another: u, v in pixels and inverse depth (1/m), -1 behind the camera."""
    return reproject_by(relative.in_pixels(lens), *lens.directions(u, v), inverse_depth)


def reproject_by(in_pixels: RelativePose, x: Tensor, y: Tensor, inverse_depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``reproject`` of rays of slopes x and y by a relative pose that is ``in_pixels`` already.

    ``p / z`` instead of ``p`` is moved: ``matrix (x, y, 1) + shift / z`` holds for ``1 / z = 0`` too.
    """
    m, t = in_pixels.matrix, in_pixels.shift
    # What depends on the column alone, then on the row, is added before it meets the plane of depths: fewer big sums.
    across, below, ahead = (
        (m[..., row, 0] * x + m[..., row, 2]) + m[..., row, 1] * y + t[..., row] * inverse_depth for row in range(3)
    )
    # ahead = z' / z; a far point in front has z' > 0 with any z.
    front = greater(ahead, inverse_depth.clamp(min=1e-6) * NEAREST)
    behind = 1 - front
    scale = (ahead * front + behind).reciprocal()
    return across * scale, below * scale, inverse_depth * scale * front - behind


def within(lens: Intrinsics, u: Tensor, v: Tensor, inverse_depth: Tensor) -> Tensor:
    """1 where reprojected pixels round to a pixel of the picture and lie in front of the camera, else 0."""
    inside = at_least(u, -0.5).mul_(less(u, lens.width - 0.5))
    inside.mul_(at_least(v, -0.5)).mul_(less(v, lens.height - 0.5))
    return inside.mul_(at_least(inverse_depth, 0.0))


def fixed_to_screen(
    camera: Camera, height: int, width: int, overlay: Tensor | None = None, device: torch.device | None = None
) -> Tensor:
    """Which pixels (H, W) do not show the world: the rows below it, and an overlay above them.

    Raises:
        ValueError: the overlay belongs to pictures of another size.
    """
    below = (torch.arange(height, device=device) >= camera.rows_of_world(height))[:, None].expand(height, width)
    if overlay is None:
        return below
    if tuple(overlay.shape) != (height, width):
        raise ValueError(f"this memory is of pictures of {tuple(overlay.shape)}, not {height}x{width}")
    return below | overlay


def advance_camera(pose_B5: Tensor, turns_BR2: Tensor, moved_B3: Tensor, pitch_limits: tuple[float, float]) -> Tensor:
    """Poses after one step of R video frames.

    Turning is exact: the mouse's (pitch, yaw) in degrees per video frame (``worldsim.spec.actions``), pitch stopped at
    the limits (degrees, absolute) in every frame, as a game does. ``moved`` is the displacement of the whole step
    (forward, right, up) in metres, along the mean heading.

    Raises:
        ValueError: the limits are out of order.
    """
    low, high = pitch_limits
    if not -90 <= low <= high <= 90:
        raise ValueError(f"limits of pitch must be ordered and within -90 and 90 degrees, got {pitch_limits}")
    pitch = pose_B5[:, 4]
    yaw = torch.zeros_like(pitch)
    for turn_B2 in turns_BR2.unbind(1):
        pitch = (pitch + turn_B2[:, 0]).clamp(low, high)
        yaw = yaw + turn_B2[:, 1]
    moved = advance_pose(pose_B5, torch.cat([moved_B3, torch.stack([yaw, torch.zeros_like(yaw)], 1)], 1))
    return torch.cat([moved[:, :4], pitch[:, None]], 1)


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    """(..., 3, 3) by (..., 3), summed in a fixed order."""
    terms = matrix * vector[..., None, :]
    return terms[..., 0] + terms[..., 1] + terms[..., 2]


def turned(poses: Tensor, origin: Tensor) -> Tensor:
    """Poses (..., 5) as seen from the position and yaw of origins (..., 5), which go with them by broadcasting."""
    angle = torch.deg2rad(origin[..., 3])
    x, y, z = (poses[..., :3] - origin[..., :3]).unbind(-1)
    sin, cos = angle.sin(), angle.cos()
    yaw = (poses[..., 3] - origin[..., 3] + 180) % 360 - 180
    return torch.stack([x * cos - z * sin, y, x * sin + z * cos, yaw, poses[..., 4]], -1)
