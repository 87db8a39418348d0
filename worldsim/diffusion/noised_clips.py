"""Clips with noise, context and conditions, ready for the network; what it predicts of them, and the flow loss.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size, D = C + 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.flow import energy_score, flow_loss
from worldsim.diffusion.settings import DynamicsTraining, LossSettings
from worldsim.models.dit import DiTOutput
from worldsim.models.patchify import previous_of
from worldsim.spec.batch import LatentBatch

Forward = Callable[..., DiTOutput]


@dataclass(frozen=True, kw_only=True)
class NoisedClips:
    """Inputs and target of one step's network evaluation.

    Attributes:
        data: recorded latents (B, T, C, H, W).
        target: what the network should predict: the data, or for shortcut steps what two half steps give.
        noisy: data at signal level ``tau``.
        previous: the context: the latent before each frame, noised, or the network's own.
        tau: signal levels (B, T).
        step: step sizes (B, T), 0 for the plain flow.
        actions: (B, T, r, A).
        present: which frames (B, T) keep their action.
        text: (B, X), or None.
        drawn: what a memory draws of each frame (B, T, D, H, W), or None.
        images: every frame is an image of its own.
        recorded_rows: clips whose context is the recording: the first ones.
        known: infilling: which frames (B, T) are given clean; None: every frame is learned from its past.
        backwards: clips (B,) that run backwards; None: none.
    """

    data: Tensor
    target: Tensor
    noisy: Tensor
    previous: Tensor
    tau: Tensor
    step: Tensor
    actions: Tensor
    present: Tensor
    text: Tensor | None
    drawn: Tensor | None
    images: bool
    recorded_rows: int
    known: Tensor | None = None
    backwards: Tensor | None = None

    @property
    def pure_noise(self) -> Tensor:
        """Which frames (B, T) are pure noise on the plain flow: those that the energy score judges."""
        return (self.tau == 0) & (self.step == 0)


def saliency(latents: Tensor) -> Tensor:
    """How far each cell of (B, T, C, H, W) is, now or a frame before, from the mean latent: (B, T, 1, H, W), mean 1."""
    away = (latents - latents.mean((0, 1), keepdim=True)).square().mean(2, keepdim=True).sqrt()
    away = torch.maximum(away, previous_of(away))
    return away / away.mean().clamp_min(1e-6)


def repeat_batch(x: Tensor) -> Tensor:
    """The rows, then the same rows again."""
    return torch.cat([x, x])


def conditions(
    batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Jittered actions, the mask of frames that keep theirs, and text, zeros where dropped."""
    settings = training.conditioning
    (b, t), device = batch.latents.shape[:2], generator.device
    actions = batch.actions.clone()
    jitter = 1 + settings.mouse_jitter * torch.randn(b, 1, 1, 1, generator=generator, device=device)
    if batch.mouse:
        actions[..., -2:] = actions[..., -2:] * jitter
    kept = torch.rand(b, 1, generator=generator, device=device) >= settings.action_drop
    present = kept.repeat(1, t) & batch.has_action()
    if batch.text is None:
        return actions, present, None
    kept = torch.rand(b, 1, generator=generator, device=device) >= settings.text_drop
    return actions, present, batch.text * kept


def drawings(batch: LatentBatch, present: Tensor, drop: float, generator: torch.Generator) -> Tensor | None:
    """What a memory draws (B, T, D, H, W); zeros in clips where it is dropped, and up to a random frame of as many.

    ``present``: where the action is hidden there is no drawing either, since it tells how the camera moved.
    """
    if batch.drawn is None:
        return None
    b, t = present.shape
    fate = torch.rand(b, 1, generator=generator, device=generator.device)
    first = torch.randint(t, (b, 1), generator=generator, device=generator.device)
    late = torch.arange(t, device=generator.device) >= first
    kept = present & (fate >= drop) & (late | (fate >= 2 * drop))
    return batch.drawn * kept[..., None, None, None]


def predict(
    forward: Forward, clips: NoisedClips, batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator
) -> tuple[DiTOutput, LatentBatch, Tensor]:
    """The network's output, and batch and present actions (rows as many): rows twice, with other noise, for the energy
    score.
    """
    present = clips.present
    context = (clips.previous, clips.tau, clips.step, clips.actions, present & (not clips.images), clips.text)
    extras = {"drawn_BTDHW": clips.drawn, "known_BT": clips.known, "backwards_B": clips.backwards}
    if not training.loss.energy_score_loss:
        return forward(clips.noisy, *context, temporal=not clips.images, **extras), batch, present
    other = torch.randn(clips.data.shape, generator=generator, device=generator.device)
    other = torch.where(clips.pure_noise[..., None, None, None], other, clips.noisy)
    context = (None if x is None else repeat_batch(x) for x in context)
    extras = {name: None if x is None else repeat_batch(x) for name, x in extras.items()}
    out = forward(torch.cat([clips.noisy, other]), *context, temporal=not clips.images, **extras)
    return out, batch.mapped(repeat_batch), repeat_batch(present)


def loss_per_frame(out: DiTOutput, clips: NoisedClips, settings: LossSettings) -> Tensor:
    """Loss per frame (B, T): weighted squared error, the energy score for frames of pure noise."""
    data, target = clips.data, clips.target
    predictions = out.latents.unflatten(0, (-1, len(data)))
    if settings.saliency_weight:
        weight = torch.lerp(torch.ones_like(data[:, :, :1]), saliency(data), settings.saliency_weight / 2).sqrt()
        predictions, target = predictions * weight, target * weight
    losses = [flow_loss(prediction, target, clips.tau, settings.noise_weight) for prediction in predictions]
    per_frame = torch.stack(losses).mean(0)
    if settings.energy_score_loss:
        score = settings.noise_weight * energy_score(predictions[0], predictions[1], target, settings.repulsion)
        per_frame = torch.where(clips.pure_noise, score, per_frame)
    return per_frame
