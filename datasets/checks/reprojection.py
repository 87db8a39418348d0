"""Depth, pose and camera against the pictures: does a frame, put where the next one sees it, look like the next one?

F frames, H W pixels. Poses are x, y (up), z in metres, yaw and pitch in degrees, as in ``worldsim.spec.camera``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.spec.camera import INVERSE_DEPTH_STEPS, Camera

# Of the pairs of a window that move, every so manieth is looked at; neighbours show much the same.
EVERY = 4
# Less movement between two frames tells nothing.
TURNED_DEGREES, WALKED_METRES = 0.2, 0.1
LAGS = (-1, 0, 1)
# Depth of another frame must fit better by so many dB, over so many pairs of frames, to be called late or early.
LATE_DECIBELS, ENOUGH_PAIRS = 0.1, 200


@dataclass
class Reprojection:
    """Squared errors of pictures, summed over pixels that both frames show.

    Attributes:
        pairs: of frames between which the camera turned or moved.
        repeated, reprojected: error against the next frame of the frame itself, and of it seen with the next frame's
            depth from the next frame's pose.
        walked: of the pairs, those between which the player moved.
        by_lag: for those pairs, error with the depth of so many frames later.
    """

    pairs: int = 0
    repeated: float = 0.0
    reprojected: float = 0.0
    walked: int = 0
    by_lag: dict[int, float] = field(default_factory=lambda: dict.fromkeys(LAGS, 0.0))

    def add(self, other: "Reprojection") -> None:
        """Take in what was measured elsewhere."""
        self.pairs, self.walked = self.pairs + other.pairs, self.walked + other.walked
        self.repeated, self.reprojected = self.repeated + other.repeated, self.reprojected + other.reprojected
        for lag in LAGS:
            self.by_lag[lag] += other.by_lag[lag]

    @property
    def gain(self) -> float:
        """By how many dB reprojecting is nearer to the next frame than repeating."""
        return decibels(self.repeated, self.reprojected)

    def late(self, lag: int) -> float:
        """By how many dB depth of so many frames later fits better than that of the frame itself."""
        return decibels(self.by_lag[0], self.by_lag[lag])

    def mistake(self) -> str:
        """What is wrong, as the end of a sentence that begins with the source; "" if nothing is."""
        if self.pairs and self.gain <= 0:
            worse = f"{-self.gain:.1f} dB further from the next one"
            return f"frames reprojected by depth and pose are {worse} than repeated ones"
        lag = max(LAGS, key=self.late)
        if lag and self.walked >= ENOUGH_PAIRS and self.late(lag) > LATE_DECIBELS:
            return f"depth is one frame {'late' if lag > 0 else 'early'} (that fits {self.late(lag):.2f} dB better)"
        return ""


def decibels(before: float, after: float) -> float:
    """By how much an error fell."""
    return float(10 * np.log10(max(before, 1e-9) / max(after, 1e-9)))


def measure_reprojection(
    frames: NDArray[np.uint8], depth: NDArray[np.uint16], poses: NDArray[np.float64], camera: Camera
) -> Reprojection:
    """Reproject frames of a window onto those that follow them.

    Args:
        frames: uint8 (F, H, W, 3).
        depth: inverse depth (F, H, W) in steps.
        poses: (F, 5).
        camera: of the game.
    """
    out = Reprojection()
    turned = np.abs((np.diff(poses[:, 3:], axis=0) + 180) % 360 - 180).max(1)
    walked = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
    moving = np.flatnonzero((turned > TURNED_DEGREES) | (walked > WALKED_METRES))
    for t in moving[::EVERY]:
        after = frames[t + 1, : camera.rows_of_world(frames.shape[1])].astype(np.float32)
        near = t > 0 and t + 2 < len(frames) and walked[t] > WALKED_METRES
        errors = {}
        covered = None
        for lag in LAGS if near else (0,):
            picture, seen = reproject(frames[t], depth[t + 1 + lag], poses[t], poses[t + 1], camera)
            covered = seen if covered is None else covered & seen
            errors[lag] = np.square(picture - after).sum(-1)
        assert covered is not None
        repeated = np.square(frames[t, : len(after)].astype(np.float32) - after).sum(-1)
        out.pairs += 1
        out.repeated += float(repeated[covered].sum())
        out.reprojected += float(errors[0][covered].sum())
        if near:
            out.walked += 1
            for lag, error in errors.items():
                out.by_lag[lag] += float(error[covered].sum())
    return out


def reproject(
    frame: NDArray[np.uint8], depth: NDArray[np.uint16], pose: NDArray[Any], target: NDArray[Any], camera: Camera
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What a frame shows of a view from another pose, whose depth is known.

    Every pixel of the new view is a point in the world; it takes the colour that the frame has there.

    Args:
        frame: uint8 (H, W, 3), seen from ``pose`` (5,).
        depth: inverse depth (H, W) in steps, seen from ``target`` (5,).
        pose, target: x, y, z, yaw, pitch.
        camera: of the game.

    Returns:
        Float32 (R, W, 3) of the R rows that show the world, and which pixels (R, W) the frame shows at all.
    """
    height, width = depth.shape
    rows, focal = camera.rows_of_world(height), camera.focal_pixels(height)
    inverse = depth[:rows].astype(np.float64)[..., None] / INVERSE_DEPTH_STEPS
    across = (np.arange(width) - (width - 1) / 2) / focal
    below = (np.arange(rows) - (height - 1) / 2) / focal
    right, down, ahead = _axes(target)
    rays = across[:, None] * right + below[:, None, None] * down + ahead
    # Divided by its distance: a point in the sky has none, and does not move.
    points = rays + (target[:3] - pose[:3]) * inverse
    x, y, z = (points @ axis for axis in _axes(pose))
    front = z > 1e-3
    z = np.where(front, z, 1.0)
    u, v = x / z * focal + (width - 1) / 2, y / z * focal + (height - 1) / 2
    inside = front & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= rows - 1)
    return _sample(frame, np.where(inside, u, 0.0), np.where(inside, v, 0.0)), inside


def poses_of(state: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    """Poses (F, 5) from an episode's arrays; None where they were not recorded."""
    if not {"position", "yaw", "pitch"} <= state.keys():
        return None
    parts = [state["position"], state["yaw"].reshape(-1, 1), state["pitch"].reshape(-1, 1)]
    return np.concatenate(parts, 1).astype(np.float64)


def _axes(pose: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Right, down and ahead of a camera in the world, each (3,)."""
    yaw, pitch = np.radians(pose[3]), np.radians(pose[4])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.array([-np.sin(yaw) * np.sin(pitch), -np.cos(pitch), -np.cos(yaw) * np.sin(pitch)])
    ahead = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return right, down, ahead


def _sample(frame: NDArray[np.uint8], u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear samples of a frame at columns u and rows v."""
    left, top = u.astype(np.int64), v.astype(np.int64)
    right, low = np.minimum(left + 1, frame.shape[1] - 1), np.minimum(top + 1, frame.shape[0] - 1)
    a, b = (u - left)[..., None].astype(np.float32), (v - top)[..., None].astype(np.float32)
    upper = frame[top, left] * (1 - a) + frame[top, right] * a
    lower = frame[low, left] * (1 - a) + frame[low, right] * a
    return (upper * (1 - b) + lower * b).astype(np.float32)
