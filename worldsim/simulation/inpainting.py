"""The next latent frame of a world whose memory draws a part of it: what is new fits what is remembered around it.

A network that is not told what memory draws makes another sample of the whole picture, and the two are pieced together:
hills break off where memory ends. So the drawing, completed by a first sample, is given some noise, and the network
makes a picture of it (SDEdit, Meng et al. 2022; RePaint, Lugmayr et al. 2022, in one evaluation).

B batch, C channels, h w latent grid, r frames per chunk, H W pixels, A action size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.models.dit import DiTOutput
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.memory.drawn_latents import Encode, drawn_latents
from worldsim.simulation.memory.spatial import Outlook
from worldsim.simulation.state import WorldState

# Share of a cell that memory must cover for the cell to be known.
COVERED = 0.75
# Share of a cell fixed to the screen from which on the cell is taken from the last picture: a hotbar is no part of the
# world, and made of a sample it is lost within seconds.
FIXED = 0.25


def sample_with_memory(
    sampler: ChunkSampler, state: WorldState, actions_B1rA: Tensor, outlook: Outlook | None, encode: Encode
) -> tuple[Tensor, DiTOutput, DiTOutput]:
    """As ``ChunkSampler.sample``, which it is in a world without a memory.

    Args:
        sampler: of the world.
        state: the past.
        actions_B1rA: those that lead into the frame.
        outlook: what memory says of it; None: there is no memory.
        encode: maps uint8 chunks (B, 1, r, H, W, 3) to latents (B, 1, C, h, w).
    """
    told, level = sampler.dit.config.drawn, sampler.sampling.inpaint_level
    if outlook is None or state.memory is None or not (told or level):
        return sampler.sample(state, actions_B1rA, outlook=outlook)
    drawn = drawn_latents(encode, *outlook.pictures(), state.memory.screen)
    given = drawn if told else None
    latent, first, last = sampler.sample(state, actions_B1rA, given, outlook=outlook)
    if level:
        cell = outlook.lens.height // latent.shape[-2], outlook.lens.width // latent.shape[-1]
        on_screen = F.avg_pool2d(outlook.fixed[None, None].float(), cell) >= FIXED
        shown = (outlook.drawn.covered & ~outlook.coarse).float().unflatten(0, outlook.poses.shape[:2])
        share = F.avg_pool2d(shown.mean(1, keepdim=True), cell)[:, None]
        known = (share > COVERED) | on_screen
        source = torch.where(known, drawn[:, :, :-1].to(latent.dtype), latent)
        latent, _, last = sampler.sample(state, actions_B1rA, given, source, level, outlook=outlook)
    return latent, first, last
