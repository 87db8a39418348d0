"""Infilling: frames learned and sampled from those before and after them, by the network that plays causally.

A clip has known frames, which are given clean (signal level 1), and unknown ones, which share one signal level. All see
each other, and each has the clean latents of its neighbours as far as they are known. Unknown neighbours show as the
noisy frames that they are: there is no clean latent of them, at training as at sampling.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldsim.diffusion.flow import interpolate, sample_inference_tau, sample_tau, time_steps, velocity_from_data
from worldsim.diffusion.noised_clips import Forward, NoisedClips, conditions
from worldsim.diffusion.samplers import sample_euler
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.patchify import previous_of
from worldsim.models.precision import fast_precision
from worldsim.spec.batch import LatentBatch

# Patterns of known frames, drawn equally often: frames at random, all but a run in between, an ending, a beginning.
PATTERNS = ("random", "ends", "ending", "beginning")


def sample_known(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Which frames (B, T) of clips are known, clip by clip after one of ``PATTERNS``; in each one frame is unknown."""
    (b, t), device = shape, generator.device

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=generator, device=device)

    pattern, index = (uniform(b, 1) * len(PATTERNS)).long(), torch.arange(t, device=device)
    first = (uniform(b, 1) * t).long()
    after = first + 1 + (uniform(b, 1) * (t - first)).long()
    first = torch.where(pattern == PATTERNS.index("ending"), 0, first)
    after = torch.where(pattern == PATTERNS.index("beginning"), t, after)
    some = (uniform(b, t) >= uniform(b, 1)) | (index == first)
    unknown = torch.where(pattern == PATTERNS.index("random"), some, (index >= first) & (index < after))
    return ~unknown


def infilling_clips(batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator) -> NoisedClips:
    """Clips with random frames known, the others noised to one signal level a clip, as a sampler sees them.

    What a memory draws is left out: it is drawn along a walk from its past.
    """
    data = batch.latents
    b, t = data.shape[:2]
    actions, present, text = conditions(batch, training, generator)
    known = sample_known((b, t), generator)
    level = sample_tau((b, 1), generator)
    if fraction := training.noise.inference_level_fraction:
        level = sample_inference_tau(level, training.noise.sampler_steps, fraction, generator)
    tau = torch.where(known, 1.0, level)
    noisy = interpolate(data, torch.randn(data.shape, generator=generator, device=generator.device), tau)
    return NoisedClips(
        data=data, target=data, noisy=noisy, previous=previous_of(noisy), tau=tau, step=torch.zeros_like(tau),
        actions=actions, present=present, text=text, drawn=None, images=False, recorded_rows=b, known=known,
        backwards=batch.backwards,
    )  # fmt: skip


def sample_infilling(
    predict: Callable[[Tensor, Tensor], Tensor], data_BTCHW: Tensor, known_BT: Tensor, noise: Tensor, steps: int
) -> Tensor:
    """Latents (B, T, C, H, W) whose known frames are those of the data, to the bit, and whose others are sampled.

    Args:
        predict: clean latents from latents and their signal levels (B, T).
        data_BTCHW: read where it is known.
        known_BT: which frames are known.
        noise: that the others start from, of the data's shape.
        steps: evaluations of ``predict``.
    """
    known = known_BT[..., None, None, None]

    def velocity(x: Tensor, time: Tensor) -> Tensor:
        tau = torch.where(known_BT, 1.0, time)
        return torch.where(known, 0.0, velocity_from_data(x, predict(x, tau), tau))

    start = torch.where(known, data_BTCHW, noise)
    return torch.where(known, data_BTCHW, sample_euler(velocity, start, time_steps(steps).to(noise.device)))


@torch.no_grad()
def infilling_error(forward: Forward, batch: LatentBatch) -> float:
    """Squared x0 error of the middle half of each clip, guessed from pure noise with both ends known."""
    data = batch.latents
    b, t = data.shape[:2]
    index = torch.arange(t, device=data.device).expand(b, t)
    unknown = (index >= t // 4) & (index < max(t - t // 4, t // 4 + 1))
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(0)).to(data.device)
    tau = (~unknown).float()
    noisy = interpolate(data, noise, tau)
    given = (previous_of(noisy), tau, torch.zeros_like(tau), batch.actions, batch.has_action())
    with fast_precision(data.device):
        out = forward(noisy, *given, known_BT=~unknown, backwards_B=batch.backwards)
    return float((out.latents - data)[unknown].square().mean())
