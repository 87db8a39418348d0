"""What stands around the player, in short: the distances that decide whether a step is free, a wall or a drop.

Points of a depth picture are sorted by direction (relative to the heading) and by height above the feet; of each sector
and height the nearest point counts. Scattering takes maxima, which have no order, and all else is elementwise: a row of
a batch equals, to the bit, the row alone. B pictures, H W pixels, P points.
"""

import torch
from torch import Tensor

from worldsim.models.rowwise import without_remainder
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.render import FAR
from worldsim.spec.camera import Camera

# Every so manyth pixel is looked at.
STRIDE = 3
# Sectors of the full circle; the middle of the first is straight ahead.
SECTORS = 24
# Metres above the feet between the layers of heights.
EDGES = (-4.0, -2.5, -1.5, -0.75, -0.25, 0.25, 0.75, 1.25, 1.8, 2.8)
LAYERS = len(EDGES) + 1
# A point at no distance has nearness 1 / SOFT.
SOFT = 0.3
# Ground is looked for within so many metres, below knee height, down to so many metres below the feet.
GROUND_WITHIN, KNEE, DEEPEST = 6.0, 0.6, 6.0
# Whether pixels are at least so sure decides whether they are looked at.
LEAST_CONFIDENCE = 0.5
SIZE = SECTORS * (LAYERS + 3)


def surroundings(inverse_depth_BHW: Tensor, confidence_BHW: Tensor | None, pitch_B: Tensor, camera: Camera) -> Tensor:
    """Nearness by sector and height; height of the ground (m), whether it is seen, whether anything is, by sector.

    (B, ``SIZE``).

    Args:
        inverse_depth_BHW: 1/m, 0 is the sky.
        confidence_BHW: 0 to 1; pixels below a half are not looked at. None where all are sure.
        pitch_B: of the camera, degrees, positive down.
        camera: whose rows below ``world_rows`` are never looked at.
    """
    _, height, width = inverse_depth_BHW.shape
    lens = Intrinsics.of(camera, height, width)
    u, v = lens.pixels(STRIDE, inverse_depth_BHW.device)
    v = v[v[:, 0] < camera.rows_of_world(height)]
    x, y = lens.directions(u, v)
    rows, columns = slice(STRIDE // 2, camera.rows_of_world(height), STRIDE), slice(STRIDE // 2, None, STRIDE)
    depth = inverse_depth_BHW[:, rows, columns].float()
    seen = torch.ones_like(depth, dtype=torch.bool)
    if confidence_BHW is not None:
        seen = confidence_BHW[:, rows, columns] >= LEAST_CONFIDENCE
    pitch = torch.deg2rad(pitch_B.float())[:, None]
    sin, cos = (without_remainder(function, pitch)[:, :, None] for function in (torch.sin, torch.cos))
    metres = 1 / depth.clamp(min=FAR)
    ahead = (cos - y * sin) * metres
    above = camera.eye_height - (y * cos + sin) * metres
    right = x * metres
    distance = (ahead.square() + right.square()).sqrt()
    circle = without_remainder(torch.atan2, right.flatten(1), ahead.flatten(1)) * (SECTORS / (2 * torch.pi))
    sector = circle.round().long() % SECTORS
    edges = torch.tensor(EDGES, device=above.device)
    layer = torch.bucketize(above, edges, right=True).flatten(1)

    solid = seen & (depth > FAR)
    near = torch.where(solid, 1 / (distance + SOFT), 0.0).flatten(1)
    floor = solid & (distance < GROUND_WITHIN) & (above < KNEE)
    ground = torch.where(floor, 1 + above / DEEPEST, 0.0).clamp(min=0).flatten(1)
    found = _highest(ground, sector, SECTORS)
    return torch.cat(
        [
            _highest(near, sector * LAYERS + layer, SECTORS * LAYERS),
            torch.where(found > 0, (found - 1) * DEEPEST, 0.0),
            (found > 0).float(),
            _highest(seen.float().flatten(1), sector, SECTORS),
        ],
        1,
    )


def _highest(values_BP: Tensor, place_BP: Tensor, places: int) -> Tensor:
    """The highest value at each place (B, places); 0 where there is none."""
    empty = torch.zeros(len(values_BP), places, device=values_BP.device)
    return empty.scatter_reduce(1, place_BP, values_BP, "amax")
