"""The network's own dreams as the past it learns from: it meets the errors that it makes at play, and how they grow.

Sources: scheduled sampling (Bengio et al. 2015), Self Forcing (2025), error recycling (Stable Video Infinity, 2025).
Only the past is dreamt: what is learnt stays the recorded future under the plain flow loss, so no gradient runs through
the sampler.

B batch, T latent frames of a clip, P of them given, K dreamt, C channels, H W latent grid, r frames per chunk, A action
size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.dit import DiTOutput, WorldDiT, previous_of
from worldsim.flow import time_steps, velocity_from_data
from worldsim.samplers import sample_euler


@dataclass(frozen=True)
class Dream:
    """Dreamt latents (B, K, C, H, W), and the noisy ones at signal level ``tau`` whose keys and values play keeps."""

    latents: Tensor
    noisy: Tensor
    tau: float


@torch.no_grad()
def dream(
    dit: WorldDiT,
    forward: Callable[..., DiTOutput],
    given_BPCHW: Tensor,
    actions_BTrA: Tensor,
    present_BT: Tensor,
    text_BX: Tensor | None,
    frames: int,
    steps: int,
    generator: torch.Generator,
) -> Dream:
    """Dream on as play does: a ring cache, ``steps`` Euler steps, the cache written in the last of them.

    Args:
        dit: the network.
        forward: ``dit``, or what it was compiled to; denoises.
        given_BPCHW: the recorded past, P >= 1.
        actions_BTrA: those that lead into each frame, T >= P + ``frames``.
        present_BT: which frames have an action.
        text_BX: sentence embeddings, or None.
        frames: how many latent frames to dream, K.
        steps: network evaluations per frame.
        generator: gives the noise.
    """
    b, p = given_BPCHW.shape[:2]
    device = given_BPCHW.device
    cache = dit.empty_cache(b, (given_BPCHW.shape[-2], given_BPCHW.shape[-1]))
    clean, flow = torch.ones(b, p, device=device), torch.zeros(b, p, device=device)
    out = dit(given_BPCHW, previous_of(given_BPCHW), clean, flow, actions_BTrA[:, :p], present_BT[:, :p], text_BX)
    cache.write(out.keys, out.values)
    previous = given_BPCHW[:, -1:]
    latents, noisy = [], []
    for t in range(p, p + frames):
        actions, present = actions_BTrA[:, t : t + 1].contiguous(), present_BT[:, t : t + 1].contiguous()
        seen: list[tuple[Tensor, DiTOutput]] = []

        def velocity(
            x: Tensor, level: Tensor, previous: Tensor = previous, actions: Tensor = actions,
            present: Tensor = present, seen: list[tuple[Tensor, DiTOutput]] = seen,
        ) -> Tensor:  # fmt: skip
            tau = level.to(device).repeat(b, 1)
            out = forward(x, previous, tau, torch.zeros_like(tau), actions, present, text_BX, cache)
            seen.append((x, out))
            return velocity_from_data(x, out.latents, tau)

        start = torch.randn(previous.shape, generator=generator, device=device)
        previous = sample_euler(velocity, start, time_steps(steps))
        last, out = seen[-1]
        cache.write(out.keys, out.values)
        latents.append(previous)
        noisy.append(last)
    return Dream(torch.cat(latents, 1), torch.cat(noisy, 1), 1 - 1 / steps)


@torch.no_grad()
def own_past(
    dit: WorldDiT,
    forward: Callable[..., DiTOutput],
    data_BTCHW: Tensor,
    noisy_BTCHW: Tensor,
    previous_BTCHW: Tensor,
    tau_BT: Tensor,
    actions_BTrA: Tensor,
    present_BT: Tensor,
    text_BX: Tensor | None,
    frames: int,
    most_steps: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training inputs where ``frames`` consecutive latent frames of each clip have the network's own dream as past.

    Half of the dreamt frames are past alone, as play leaves it in the cache; the others learn what was recorded. The
    dream takes 1 to ``most_steps`` network evaluations per frame.

    Returns:
        noisy (B, T, C, H, W), previous, tau (B, T), and which frames are to be learnt (B, T), 0 or 1.
    """
    b, t = tau_BT.shape
    device = tau_BT.device
    given = int(torch.randint(1, t - frames, (), generator=generator, device=device))
    steps = int(torch.randint(1, most_steps + 1, (), generator=generator, device=device))
    conditioning = (actions_BTrA, present_BT, text_BX)
    past = dream(dit, forward, data_BTCHW[:, :given], *conditioning, frames, steps, generator)
    dreamt, following = slice(given, given + frames), slice(given + 1, given + frames + 1)
    noisy, previous, tau = noisy_BTCHW.clone(), previous_BTCHW.clone(), tau_BT.clone()
    learnt = torch.ones_like(tau)
    previous[:, following] = past.latents
    kept = torch.rand(b, frames, generator=generator, device=device) < 0.5
    noisy[:, dreamt] = torch.where(kept[..., None, None, None], past.noisy, noisy[:, dreamt])
    tau[:, dreamt] = torch.where(kept, past.tau, tau[:, dreamt])
    learnt[:, dreamt] = (~kept).float()
    return noisy, previous, tau, learnt
