"""The network's own dreams as the past it learns from: it meets the errors that it makes at play, and how they grow.

Sources: scheduled sampling (Bengio et al. 2015), Self Forcing (2025), error recycling (Stable Video Infinity, 2025).
Only the past is dreamt: what is learnt stays the recorded future, so no gradient runs through the sampler.

B batch, T latent frames of a clip, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.samplers import sample_euler
from worldsim.models.dit import DiTOutput, previous_of


@torch.no_grad()
def own_past(
    forward: Callable[..., DiTOutput],
    data_BTCHW: Tensor,
    actions_BTrA: Tensor,
    present_BT: Tensor,
    text_BX: Tensor | None,
    frames: int,
    steps: int,
    level: float,
    generator: torch.Generator,
) -> Tensor:
    """What stands before each frame where the last ``frames`` ones are dreamt: (B, T, C, H, W).

    All T dreams grow side by side: each pass dreams every frame of the clip after what the pass before left in front of
    it. So a pass adds one frame to all dreams, and every frame of the clip can learn from a past of its own making. The
    clip's first frame has no past and stays as it is.

    Args:
        forward: the network, or what it was compiled to.
        data_BTCHW: recorded latents.
        actions_BTrA: those that lead into each frame.
        present_BT: which frames have an action.
        text_BX: sentence embeddings, or None.
        frames: how many frames are dreamt, passes; 0: none.
        steps: network evaluations per frame, of Euler's method.
        level: signal level of what was recorded that a dreamt frame begins as: 0, noise alone, dreams freely; above, a
            dream stays where the recording is, and differs by what the network makes of it.
        generator: gives the noise.
    """
    previous = previous_of(data_BTCHW)
    for _ in range(frames):

        def velocity(x: Tensor, time: Tensor, previous: Tensor = previous) -> Tensor:
            tau = time.to(x.device).expand(x.shape[:2])
            out = forward(x, previous, tau, torch.zeros_like(tau), actions_BTrA, present_BT, text_BX)
            return velocity_from_data(x, out.latents, tau)

        noise = torch.randn(data_BTCHW.shape, generator=generator, device=data_BTCHW.device)
        start, times = torch.lerp(noise, data_BTCHW, level), level + (1 - level) * time_steps(steps)
        dreamt = sample_euler(velocity, start, times)
        previous = previous_of(torch.cat([data_BTCHW[:, :1], dreamt[:, 1:]], 1))
    return previous
