"""A textured room, ray-cast analytically: the truth that a spatial memory is held against."""

import numpy as np
import torch
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, rotation
from worldsim.simulation.memory.observe import Observation
from worldsim.spec.camera import Camera

EYE = 1.625
CAMERA = Camera(vertical_fov=72, eye_height=EYE, near=0.1, far=1000)
LENS = Intrinsics.of(CAMERA, 80, 144)
# Lowest and highest corner in metres; the camera is inside of this one and outside of the blocks.
ROOM = ((-5.0, 0.0, -5.0), (5.0, 4.0, 5.0))
BLOCK = ((-0.5, 0.0, 2.5), (0.5, 1.8, 3.5))


def pose(x: float = 0, y: float = 0, z: float = 0, yaw: float = 0, pitch: float = 0) -> Tensor:
    return torch.tensor([x, y, z, yaw, pitch], dtype=torch.float32)


def view(at: Tensor, blocks=(), sky: bool = False, lens: Intrinsics = LENS) -> tuple[Tensor, Tensor]:
    """Picture uint8 (H, W, 3) and inverse depth (H, W) seen by a pose (5,). With ``sky`` the room has no ceiling."""
    x, y = lens.directions(*lens.pixels())
    x, y = torch.broadcast_tensors(x, y)
    camera = torch.stack([x, y, torch.ones_like(x)], -1).double()
    ray = torch.einsum("ij,hwj->hwi", rotation(at.double()), camera).numpy()
    eye = at[:3].double().numpy() + [0, EYE, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (np.array(ROOM[0]) - eye) / ray, (np.array(ROOM[1]) - eye) / ray
        depth = np.maximum(one, two).min(-1)
        solid = np.zeros(depth.shape, int)
        for number, (low, high) in enumerate(blocks, 1):
            one, two = (np.array(low) - eye) / ray, (np.array(high) - eye) / ray
            enter, leave = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
            hit = (enter < leave) & (enter > 0) & (enter < depth)
            depth, solid = np.where(hit, enter, depth), np.where(hit, number, solid)
    point = eye + ray * depth[..., None]
    wave = np.sin(point @ np.array([[2.1, 0.7, 1.3], [1.1, 2.7, -0.9], [-1.7, 0.5, 2.3]]) + 2 * solid[..., None])
    colour = 128 + 80 * wave + 40 * np.where(solid[..., None] > 0, [1, -1, 0], 0)
    inverse = 1 / depth
    if sky:
        open_above = point[..., 1] > ROOM[1][1] - 1e-6
        colour, inverse = np.where(open_above[..., None], [120, 160, 250], colour), np.where(open_above, 0, inverse)
    return torch.from_numpy(colour.clip(0, 255).round().astype(np.uint8)), torch.from_numpy(inverse).float()


def look(*poses: Tensor, step: int = 0, blocks=(), sky: bool = False, known: Tensor | None = None) -> Observation:
    """What worlds in the same room see, one pose each; ``known`` (H, W): pixels that show the world."""
    pictures, depths = zip(*(view(p, blocks, sky) for p in poses), strict=True)
    sure = torch.ones(LENS.height, LENS.width) if known is None else known.float()
    return Observation(
        pictures=torch.stack(pictures),
        inverse_depth=torch.stack(depths),
        confidence=sure.expand(len(poses), -1, -1),
        poses=torch.stack(poses),
        steps=torch.full((len(poses),), step),
    )


def psnr(one: Tensor, two: Tensor, where: Tensor | None = None) -> float:
    """Decibels between pictures (H, W, 3), over the pixels (H, W) given."""
    error = (one.double() - two.double()).square().mean(-1)
    error = error if where is None else error[where]
    return float(10 * torch.log10(255**2 / error.mean().clamp(min=1e-3)))
