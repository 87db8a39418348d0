"""What memory draws from recorded frames, by the depth that a network finds in them.

B pictures, K sources, H W pixels.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.depth import DepthCompletion, decode_depth
from worldsim.simulation.memory.observe import MemoryConfig
from worldsim.simulation.memory.render import Drawing, Sources, draw
from worldsim.simulation.memory.spatial import KEY_FRAMES


def drawing_of(
    lens: Intrinsics,
    sources: Sources,
    poses_B5: Tensor,
    fixed_HW: Tensor,
    memory: MemoryConfig = KEY_FRAMES,
    steps_B: Tensor | None = None,
) -> Drawing:
    """What sources show from poses, as a world's memory draws it; nothing where pixels are ``fixed`` to the screen.

    ``memory``: how it is drawn.
    """
    now = torch.zeros(len(poses_B5), dtype=torch.long) if steps_B is None else steps_B
    return draw(lens, sources, poses_B5, now, tolerance=memory.tolerance, occlusion=memory.occlusion, excluded=fixed_HW)


@torch.no_grad()
def completed(network: DepthCompletion, lens: Intrinsics, pictures: Tensor, poses_B5: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse depth and confidence (B, H, W) of pictures (B, H, W, 3)."""
    code, sure = network(pictures, lens.descents(poses_B5))
    return decode_depth(code), sure.sigmoid()


def own_depth(network: DepthCompletion, lens: Intrinsics, sources: Sources, least_confidence: float) -> Sources:
    """Sources with the depth that a network finds in each; what it is not sure of is not drawn."""
    shape = sources.inverse_depth.shape
    live = (sources.taken >= 0).flatten()
    pictures = sources.pictures.flatten(0, 1)[live]
    depth, confidence = sources.inverse_depth.flatten(0, 1).clone(), sources.confidence.flatten(0, 1).clone()
    if len(pictures):
        said, sure = completed(network, lens, pictures, sources.poses.flatten(0, 1)[live])
        depth[live] = said
        confidence[live] = torch.where(sure >= least_confidence, confidence[live], 0)
    return replace(sources, inverse_depth=depth.view(shape), confidence=confidence.view(shape))


def punched(covered: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """What is covered (B, H, W) with holes, up to a share ``most`` of each picture; holes are cells of random size."""
    b, h, w = covered.shape
    share = torch.rand(b, 1, 1, generator=generator) * most
    fine = torch.rand(b, h // 4, w // 4, generator=generator)
    coarse = torch.rand(b, h // 16, w // 16, generator=generator)
    is_coarse = torch.rand(b, 1, 1, generator=generator) < 0.7
    grids = [F.interpolate(grid[:, None], (h, w))[:, 0] for grid in (fine, coarse)]
    return covered & (torch.where(is_coarse, grids[1], grids[0]) >= share)
