"""Self-rollouts: the network's own predictions as its context in training, with the errors that it makes at inference.

Sources: scheduled sampling (Bengio et al. 2015), Self Forcing (2025), error recycling (Stable Video Infinity, 2025).
Only the context is predicted. The target stays the recorded future, so no gradient runs through the sampler.

B batch, T latent frames of a clip, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.samplers import sample_euler
from worldsim.models.dit import DiTOutput
from worldsim.models.patchify import previous_of
from worldsim.models.precision import apart_from_gradient


@apart_from_gradient()
def self_rollout(
    forward: Callable[..., DiTOutput],
    data_BTCHW: Tensor,
    actions_BTrA: Tensor,
    present_BT: Tensor,
    text_BX: Tensor | None,
    frames: int,
    steps: int,
    level: float,
    generator: torch.Generator,
    drawn_BTDHW: Tensor | None = None,
    backwards_B: Tensor | None = None,
) -> Tensor:
    """The context of each frame (B, T, C, H, W), its last ``frames`` latent frames predicted by the network.

    All T rollouts are computed in parallel: each pass predicts every frame of the clip from the context that the pass
    before left. So a pass adds one frame to all rollouts, and every frame of the clip gets a context of its own. The
    clip's first frame has no context and stays as it is.

    Args:
        forward: the network, or what it was compiled to.
        data_BTCHW: recorded latents.
        actions_BTrA: those that lead into each frame.
        present_BT: which frames have an action.
        text_BX: sentence embeddings, or None.
        frames: predicted frames, one pass each; 0: none.
        steps: network evaluations per frame, of Euler's method.
        level: signal level of the recording that a predicted frame starts from: 0 starts from pure noise; above 0, a
            rollout stays close to the recording and has the network's texture.
        generator: gives the noise.
        drawn_BTDHW: what a memory draws of each frame, or None.
        backwards_B: in which clips time runs backwards; None: in none.
    """
    previous = previous_of(data_BTCHW)
    for _ in range(frames):

        def velocity(x: Tensor, time: Tensor, previous: Tensor = previous) -> Tensor:
            tau = time.to(x.device).expand(x.shape[:2])
            context = (previous, tau, torch.zeros_like(tau), actions_BTrA, present_BT, text_BX)
            out = forward(x, *context, drawn_BTDHW=drawn_BTDHW, backwards_B=backwards_B)
            return velocity_from_data(x, out.latents, tau)

        noise = torch.randn(data_BTCHW.shape, generator=generator, device=data_BTCHW.device)
        start, times = torch.lerp(noise, data_BTCHW, level), level + (1 - level) * time_steps(steps)
        dreamt = sample_euler(velocity, start, times)
        previous = previous_of(torch.cat([data_BTCHW[:, :1], dreamt[:, 1:]], 1))
    return previous
