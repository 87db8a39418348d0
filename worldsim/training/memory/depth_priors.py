"""What memory draws of a picture's depth, with the errors that play makes: the prior that depth completion is given.

B pictures, K sources, H W pixels.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.depth import DepthCompletion, decode_depth, encode_depth
from worldsim.simulation.memory.observe import MemoryConfig
from worldsim.simulation.memory.render import Drawing, Sources, draw
from worldsim.simulation.memory.spatial import KEY_FRAMES

# Cells of the grids that errors of depth are smooth over, as shares of the picture: all of it, and ever smaller parts.
_GRIDS = ((1, 1), (5, 9), (20, 36))


def drawn_prior(
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


def moved_sources(
    sources: Sources, gaps_BK: Tensor, metres: float, degrees: float, generator: torch.Generator
) -> Sources:
    """Sources whose poses are wrong, the more the longer ago: standard deviations per frame of position and angles."""
    scale = torch.tensor([metres, metres, metres, degrees, degrees])
    error = torch.randn(sources.poses.shape, generator=generator) * scale * gaps_BK[..., None]
    return replace(sources, poses=sources.poses + error)


def wrong_depth(inverse_depth: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Inverse depth (B, K, H, W) times smooth noise; ``strength``: the mean standard deviation of its logarithm.

    Every picture has its own strength, from none to double.
    """
    b, k, h, w = inverse_depth.shape
    own = torch.rand(b, k, 1, 1, generator=generator) * 2 * strength / len(_GRIDS) ** 0.5
    noise = torch.zeros_like(inverse_depth)
    for grid in _GRIDS:
        coarse = torch.randn(b, k, *grid, generator=generator)
        noise = noise + F.interpolate(coarse, (h, w), mode="bilinear")
    return decode_depth(encode_depth(inverse_depth) + own * noise)


@torch.no_grad()
def own_depth(network: DepthCompletion, sources: Sources, least_confidence: float) -> Sources:
    """Sources with what the network itself says of each without any prior; what it is not sure of is not drawn."""
    shape = sources.inverse_depth.shape
    live = (sources.taken >= 0).flatten()
    pictures = sources.pictures.flatten(0, 1)[live]
    depth, confidence = sources.inverse_depth.flatten(0, 1).clone(), sources.confidence.flatten(0, 1).clone()
    if len(pictures):
        said, sure = completed(network, pictures)
        depth[live] = said
        confidence[live] = torch.where(sure >= least_confidence, confidence[live], 0)
    return replace(sources, inverse_depth=depth.view(shape), confidence=confidence.view(shape))


@torch.no_grad()
def remembered(
    network: DepthCompletion, lens: Intrinsics, sources: Sources, fixed_HW: Tensor, memory: MemoryConfig
) -> Sources:
    """Sources with the network's depth as play makes it: of each, given what memory draws there from older ones."""
    depth, confidence = torch.zeros_like(sources.inverse_depth, dtype=torch.float32), sources.confidence.clone()
    for at in reversed(range(sources.taken.shape[1])):
        older = Sources(
            *(part[:, at + 1 :] for part in (sources.pictures, depth, confidence, sources.poses, sources.taken))
        )
        prior = None
        if older.taken.shape[1]:
            prior = drawn_prior(lens, older, sources.poses[:, at], fixed_HW, memory)
        depth[:, at], sure = completed(network, sources.pictures[:, at], prior)
        confidence[:, at] = torch.where(sure >= memory.least_confidence, confidence[:, at], 0)
    return replace(sources, inverse_depth=depth, confidence=confidence)


def completed(network: DepthCompletion, pictures: Tensor, prior: Drawing | None = None) -> tuple[Tensor, Tensor]:
    """Inverse depth and confidence (B, H, W) of pictures (B, H, W, 3), given what memory draws there, if anything."""
    nothing = torch.zeros(pictures.shape[:3])
    drawn, covered = (nothing, nothing.bool()) if prior is None else (prior.inverse_depth, prior.covered)
    code, sure = network(pictures, drawn, covered)
    return decode_depth(code), sure.sigmoid()


def punched(covered: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """What is covered (B, H, W) with holes, up to a share ``most`` of each picture; holes are cells of random size."""
    b, h, w = covered.shape
    share = torch.rand(b, 1, 1, generator=generator) * most
    fine = torch.rand(b, h // 4, w // 4, generator=generator)
    coarse = torch.rand(b, h // 16, w // 16, generator=generator)
    is_coarse = torch.rand(b, 1, 1, generator=generator) < 0.7
    grids = [F.interpolate(grid[:, None], (h, w))[:, 0] for grid in (fine, coarse)]
    return covered & (torch.where(is_coarse, grids[1], grids[0]) >= share)
