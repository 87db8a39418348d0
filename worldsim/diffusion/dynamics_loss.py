"""The loss of the diffusion Transformer on latent clips: diffusion forcing with x0-prediction, samples by the energy
score, shortcut steps, heads.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.flow import (
    data_from_velocity,
    energy_score,
    flow_loss,
    interpolate,
    sample_inference_tau,
    sample_shortcut,
    sample_tau,
    velocity_from_data,
)
from worldsim.diffusion.self_rollout import self_rollout
from worldsim.diffusion.settings import OLD_KEYS, DynamicsTraining, LossSettings, from_flat
from worldsim.models.dit import DiTOutput, previous_of
from worldsim.models.heads import MOTION_SCALE
from worldsim.spec.batch import LatentBatch

Forward = Callable[..., DiTOutput]


@dataclass(frozen=True, kw_only=True)
class _NoisedClips:
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


def head_loss(out: DiTOutput, batch: LatentBatch, present: Tensor) -> dict[str, Tensor]:
    """Losses of the heads over frames that have a past, where the truth is known.

    Inverse dynamics learns only where the action was hidden.
    """
    scale = batch.motion.new_tensor(MOTION_SCALE)
    posed = batch.motion.new_ones(len(present)) if batch.posed is None else batch.posed.float()
    motion = F.smooth_l1_loss(out.heads.motion[:, 1:] / scale, batch.motion[:, 1:] / scale, reduction="none")
    motion = (motion.mean((1, 2)) * posed).sum() / posed.sum().clamp_min(1)
    termination = F.binary_cross_entropy_with_logits(out.heads.termination[:, 1:], batch.terminated[:, 1:])
    mean_action = batch.actions[:, 1:].mean(2)
    keys = mean_action.shape[-1] - 2 * batch.mouse
    guessed, hidden = out.heads.action[:, 1:], (batch.has_action() & ~present)[:, 1:].float()
    guess = F.binary_cross_entropy_with_logits(guessed[..., :keys], mean_action[..., :keys], reduction="none").mean(-1)
    if batch.mouse:
        mouse = F.smooth_l1_loss(guessed[..., keys:], mean_action[..., keys:] / 5, reduction="none")
        guess = guess + mouse.mean(-1)
    action = (guess * hidden).sum() / hidden.sum().clamp_min(1)
    return {"motion": motion, "termination": termination, "action": action}


@torch.no_grad()
def shortcut_target(
    forward: Forward, noisy: Tensor, tau: Tensor, step: Tensor, max_steps: int, conditioning: tuple
) -> Tensor:
    """What two half steps of the model itself arrive at, expressed as clean latents (Frans et al. 2025)."""
    half = step / 2
    given = torch.where(half <= 1.0 / max_steps, torch.zeros_like(half), half)
    previous, *rest, drawn = conditioning
    first = velocity_from_data(noisy, forward(noisy, previous, tau, given, *rest, drawn_BTDHW=drawn).latents, tau)
    middle = noisy + first * half[..., None, None, None]
    again = forward(middle, previous, tau + half, given, *rest, drawn_BTDHW=drawn)
    second = velocity_from_data(middle, again.latents, tau + half)
    return data_from_velocity(noisy, (first + second) / 2, tau)


def dynamics_loss(
    forward: Forward,
    batch: LatentBatch,
    training: DynamicsTraining,
    generator: torch.Generator,
    bank: ErrorBank,
    shortcut: bool = False,
    common: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step's loss and its parts. Random numbers come from ``generator`` and ``common`` alone.

    Args:
        forward: the network, or what it was compiled to.
        batch: clips.
        training: settings.
        generator: gives noise, signal levels and dropout.
        bank: recent errors, drawn from and added to.
        shortcut: whether shortcut steps are learned too.
        common: decides which passes of the network there are, alike for all parts; default: ``generator``.
    """
    batch = _choose_clips(batch, training, common or generator)
    clips = _noised_clips(forward, batch, training, generator, bank, shortcut, common or generator)
    out, batch, present = _predict(forward, clips, batch, training, generator)
    parts = {"flow": _flow_loss(out, clips, training.loss).mean()}
    total = parts["flow"]
    if not clips.images:
        b, t = clips.data.shape[:2]
        bank.add((out.latents[:b].detach() - clips.data)[: clips.recorded_rows, 1:].flatten(0, 1)[:: max(1, t // 4)])
        heads, weights = head_loss(out, batch, present), training.loss
        parts |= heads
        total = total + weights.motion_weight * heads["motion"] + weights.action_weight * heads["action"]
        total = total + weights.termination_weight * heads["termination"]
    return total, parts


def _choose_clips(batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator) -> LatentBatch:
    """Half of the clips where each is learned under two noises; halves of clips where that is drawn."""
    if training.loss.energy_score_loss:
        batch = batch.first_clips(max(1, len(batch.latents) // 2))
    if training.half_clip_fraction and batch.latents.shape[1] > 3:
        drawn = torch.rand((), generator=generator, device=generator.device)
        batch = batch.half_clips() if float(drawn) < training.half_clip_fraction else batch
    return batch


def _noised_clips(
    forward: Forward,
    batch: LatentBatch,
    training: DynamicsTraining,
    generator: torch.Generator,
    bank: ErrorBank,
    shortcut: bool,
    common: torch.Generator,
) -> _NoisedClips:
    """Draw signal levels, noise, context and conditions; the first rows take shortcut steps, the last self-rollouts."""
    data = batch.latents
    (b, t), device = data.shape[:2], generator.device
    actions, present, text = conditions(batch, training, generator)
    drawn = drawings(batch, present, training.conditioning.drawing_drop, generator)
    tau = sample_tau((b, t), generator)
    if fraction := training.noise.inference_level_fraction:
        tau = sample_inference_tau(tau, training.noise.sampler_steps, fraction, generator)
    step = torch.zeros_like(tau)
    noise = torch.randn(data.shape, generator=generator, device=device)
    previous = _noised_context(data, training, generator, bank)
    rows = int(b * training.loss.shortcut_fraction) if shortcut else 0
    if rows:
        tau[:rows], step[:rows] = sample_shortcut((rows, t), training.loss.max_shortcut_steps, generator)
    noisy, target = interpolate(data, noise, tau), data
    if rows:
        given = (previous, actions, present, text, drawn)
        conditioning = tuple(None if each is None else each[:rows] for each in given)
        most = training.loss.max_shortcut_steps
        bootstrapped = shortcut_target(forward, noisy[:rows], tau[:rows], step[:rows], most, conditioning)
        target = torch.cat([bootstrapped, data[rows:]])
    images = t == 1 or float(torch.rand((), generator=common, device=device)) < training.image_fraction
    recorded_rows = b - (0 if images else min(int(b * training.self_rollout.fraction), b - rows))
    clips = _NoisedClips(
        data=data, target=target, noisy=noisy, previous=previous, tau=tau, step=step, actions=actions, present=present,
        text=text, drawn=None if images else drawn, images=images, recorded_rows=recorded_rows,
    )  # fmt: skip
    most = training.self_rollout.max_frames
    frames = int(torch.randint(1, most + 1, (), generator=common, device=device)) if recorded_rows < b else 0
    return _with_self_rollout(forward, clips, training, generator, frames) if frames else clips


def _noised_context(data: Tensor, training: DynamicsTraining, generator: torch.Generator, bank: ErrorBank) -> Tensor:
    """The latent before each frame, with noise and recent errors of the network."""
    device = generator.device
    amount = torch.rand(len(data), 1, 1, 1, 1, generator=generator, device=device)
    amount = training.noise.context_noise * amount
    corrupted = data + amount * torch.randn(data.shape, generator=generator, device=device)
    errors = bank.draw(tuple(data.shape), training.noise.error_injection, generator)
    return previous_of(corrupted if errors is None else corrupted + errors)


def _with_self_rollout(
    forward: Forward, clips: _NoisedClips, training: DynamicsTraining, generator: torch.Generator, frames: int
) -> _NoisedClips:
    """The last rows with the network's own rollout of so many frames as their context."""
    settings, rows = training.self_rollout, slice(clips.recorded_rows, None)
    conditioning = (clips.actions[rows], clips.present[rows], None if clips.text is None else clips.text[rows])
    drawn = None if clips.drawn is None else clips.drawn[rows]
    extent = (frames, training.noise.sampler_steps, settings.level)
    previous = clips.previous.clone()
    previous[rows] = self_rollout(forward, clips.data[rows], *conditioning, *extent, generator, drawn)
    return replace(clips, previous=previous)


def _predict(
    forward: Forward, clips: _NoisedClips, batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator
) -> tuple[DiTOutput, LatentBatch, Tensor]:
    """The network's output, and batch and present actions (rows as many): rows twice, with other noise, for the energy
    score.
    """
    present = clips.present
    context = (clips.previous, clips.tau, clips.step, clips.actions, present & (not clips.images), clips.text)
    drawn = clips.drawn
    if not training.loss.energy_score_loss:
        return forward(clips.noisy, *context, temporal=not clips.images, drawn_BTDHW=drawn), batch, present
    other = torch.randn(clips.data.shape, generator=generator, device=generator.device)
    other = torch.where(clips.pure_noise[..., None, None, None], other, clips.noisy)
    context = (None if x is None else repeat_batch(x) for x in context)
    drawn = None if drawn is None else repeat_batch(drawn)
    out = forward(torch.cat([clips.noisy, other]), *context, temporal=not clips.images, drawn_BTDHW=drawn)
    return out, batch.mapped(repeat_batch), repeat_batch(present)


def _flow_loss(out: DiTOutput, clips: _NoisedClips, settings: LossSettings) -> Tensor:
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


__all__ = [
    "OLD_KEYS", "DynamicsTraining", "ErrorBank", "LatentBatch", "conditions", "dynamics_loss", "from_flat", "head_loss",
    "repeat_batch", "saliency", "shortcut_target",
]  # fmt: skip
