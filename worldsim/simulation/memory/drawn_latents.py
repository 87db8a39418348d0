"""What a memory draws, as the diffusion Transformer takes it: latents, and how much of each cell is covered.

B worlds, r video frames per chunk, H W pixels, C channels, h w latent grid, D = C + 1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Encode = Callable[[Tensor], Tensor]


def drawn_latents(encode: Encode, drawn_BRHWC: Tensor, covered_BRHW: Tensor, screen_BHWC: Tensor) -> Tensor:
    """Latents of a chunk that is drawn, and the share of each cell and its r frames that is covered, (B, 1, D, h, w).

    Where nothing is drawn the last picture stands: holes of one colour would be pictures that no encoder has seen.

    Args:
        encode: maps uint8 chunks (B, 1, r, H, W, 3) to latents (B, 1, C, h, w).
        drawn_BRHWC: what memory draws, uint8.
        covered_BRHW: where.
        screen_BHWC: the picture shown last, uint8.
    """
    pictures = torch.where(covered_BRHW[..., None], drawn_BRHWC, screen_BHWC[:, None])
    latents = encode(pictures[:, None])
    cell = pictures.shape[2] // latents.shape[-2], pictures.shape[3] // latents.shape[-1]
    share = F.avg_pool2d(covered_BRHW.float().mean(1)[:, None], cell)
    return torch.cat([latents, share[:, None]], 2)
