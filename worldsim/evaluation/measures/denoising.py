"""How well a world denoises single frames of recorded play, by what it is conditioned on.

B clips, r video frames per chunk, A action vector, X length of a sentence embedding.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.diffusion.flow import interpolate
from worldsim.diffusion.noise import noise
from worldsim.evaluation.measures.clips import Clips
from worldsim.models.patchify import previous_of
from worldsim.simulation.world_model import WorldModel


@torch.inference_mode()
def x0_errors(
    world: WorldModel,
    clips: Clips,
    conditions: Mapping[str, tuple[NDArray[np.float32], Tensor | None]],
    rows: int = 8,
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75),
    chunks: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """x0 error (B,) of single noised frames on a clean past, by name of what the network is conditioned on.

    Args:
        world: to be judged.
        clips: recorded play.
        conditions: actions (B, F - 1, A), and sentence embeddings (B, X) or None.
        rows: side by side.
        levels: of signal, averaged over.
        chunks: after each clip's first frame, of which every second in the later half is judged; 0: the first frame
            alone. Default and most: as many as the network can see at once.
    """
    r, size = world.chunk, clips.actions.shape[-1]
    most = min((clips.frames.shape[1] - 1) // r, world.dit.config.window)
    t = 1 + (most if chunks is None else min(chunks, most))
    judged = torch.arange(t // 2, t, 2)
    losses: dict[str, list[NDArray[np.float32]]] = {name: [] for name in conditions}
    for at in range(0, len(clips), rows):
        latents = world.encode(clips.frames[at : at + rows, : 1 + (t - 1) * r])
        b = len(latents)
        eps = noise(range(at, at + b), [0] * b, tuple(latents.shape[1:]), latents.device)
        previous = previous_of(latents)
        present = torch.ones(b, t, dtype=torch.bool)
        present[:, 0] = False
        for name, (source, text) in conditions.items():
            actions = np.zeros((b, t, r, size), np.float32)
            actions[:, 1:] = source[at : at + b, : (t - 1) * r].reshape(b, t - 1, r, size)
            total = torch.zeros(b, device=latents.device)
            for level in levels:
                tau = torch.ones(b, t, device=latents.device)
                tau[:, judged] = level
                noisy = interpolate(latents, eps, tau)
                given = None if text is None else text[at : at + b]
                out = world.sampler.predict(noisy, previous, tau, torch.from_numpy(actions), present, given)
                total += (out - latents)[:, judged].float().square().flatten(1).mean(1) / len(levels)
            losses[name].append(total.cpu().numpy())
    return {name: np.concatenate(values) for name, values in losses.items()}
