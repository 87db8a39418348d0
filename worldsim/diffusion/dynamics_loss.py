"""The loss of the diffusion Transformer on latent clips: diffusion forcing with x0-prediction, samples by the energy
score, shortcut steps, heads.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.flow import (
    data_from_velocity,
    interpolate,
    sample_inference_tau,
    sample_shortcut,
    sample_tau,
    velocity_from_data,
)
from worldsim.diffusion.infilling import infilling_clips
from worldsim.diffusion.noised_clips import (
    Forward,
    NoisedClips,
    conditions,
    drawings,
    loss_per_frame,
    predict,
    repeat_batch,
    saliency,
)
from worldsim.diffusion.self_rollout import self_rollout
from worldsim.diffusion.settings import OLD_KEYS, DynamicsTraining, from_flat
from worldsim.models.dit import DiTOutput
from worldsim.models.heads import MOTION_SCALE
from worldsim.models.patchify import previous_of
from worldsim.models.precision import apart_from_gradient
from worldsim.spec.batch import LatentBatch


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


@apart_from_gradient()
def shortcut_target(
    forward: Forward, noisy: Tensor, tau: Tensor, step: Tensor, max_steps: int, conditioning: tuple
) -> Tensor:
    """What two half steps of the model itself arrive at, expressed as clean latents (Frans et al. 2025)."""
    half = step / 2
    given = torch.where(half <= 1.0 / max_steps, torch.zeros_like(half), half)
    previous, *rest, drawn, backwards = conditioning
    options = {"drawn_BTDHW": drawn, "backwards_B": backwards}
    first = velocity_from_data(noisy, forward(noisy, previous, tau, given, *rest, **options).latents, tau)
    middle = noisy + first * half[..., None, None, None]
    again = forward(middle, previous, tau + half, given, *rest, **options)
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
    if _fills_in(batch, training, common or generator):
        clips = infilling_clips(batch, training, generator)
        out, _, _ = predict(forward, clips, batch, training, generator)
        assert clips.known is not None
        unknown = ~clips.known
        loss = (loss_per_frame(out, clips, training.loss) * unknown).sum() / unknown.sum()
        return loss, {"infilling": loss}
    clips = _noised_clips(forward, batch, training, generator, bank, shortcut, common or generator)
    out, batch, present = predict(forward, clips, batch, training, generator)
    parts = {"flow": loss_per_frame(out, clips, training.loss).mean()}
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


def _fills_in(batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator) -> bool:
    """Whether this step's clips are filled in between known frames. Nothing is drawn where none ever are."""
    if not training.infilling.fraction or batch.latents.shape[1] == 1:
        return False
    return float(torch.rand((), generator=generator, device=generator.device)) < training.infilling.fraction


def _noised_clips(
    forward: Forward,
    batch: LatentBatch,
    training: DynamicsTraining,
    generator: torch.Generator,
    bank: ErrorBank,
    shortcut: bool,
    common: torch.Generator,
) -> NoisedClips:
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
    previous = _noised_context(batch, training, generator, bank)
    rows = int(b * training.loss.shortcut_fraction) if shortcut else 0
    if rows:
        tau[:rows], step[:rows] = sample_shortcut((rows, t), training.loss.max_shortcut_steps, generator)
    noisy, target = interpolate(data, noise, tau), data
    if rows:
        given = (previous, actions, present, text, drawn, batch.backwards)
        conditioning = tuple(None if each is None else each[:rows] for each in given)
        most = training.loss.max_shortcut_steps
        bootstrapped = shortcut_target(forward, noisy[:rows], tau[:rows], step[:rows], most, conditioning)
        target = torch.cat([bootstrapped, data[rows:]])
    images = t == 1 or float(torch.rand((), generator=common, device=device)) < training.image_fraction
    recorded_rows = b - (0 if images else min(int(b * training.self_rollout.fraction), b - rows))
    clips = NoisedClips(
        data=data, target=target, noisy=noisy, previous=previous, tau=tau, step=step, actions=actions, present=present,
        text=text, drawn=None if images else drawn, images=images, recorded_rows=recorded_rows,
        backwards=batch.backwards,
    )  # fmt: skip
    most = training.self_rollout.max_frames
    frames = int(torch.randint(1, most + 1, (), generator=common, device=device)) if recorded_rows < b else 0
    return _with_self_rollout(forward, clips, training, generator, frames) if frames else clips


def _noised_context(
    batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator, bank: ErrorBank
) -> Tensor:
    """The latent before each frame, as recorded or as play shows it, with noise and the network's recent errors."""
    data, device = batch.latents, generator.device
    if batch.shown is not None:
        chosen = torch.rand(len(data), 1, 1, 1, 1, generator=generator, device=device)
        data = torch.where(chosen < training.noise.shown_fraction, batch.as_shown(), data)
    amount = torch.rand(len(data), 1, 1, 1, 1, generator=generator, device=device)
    amount = training.noise.context_noise * amount
    corrupted = data + amount * torch.randn(data.shape, generator=generator, device=device)
    errors = bank.draw(tuple(data.shape), training.noise.error_injection, generator)
    return previous_of(corrupted if errors is None else corrupted + errors)


def _with_self_rollout(
    forward: Forward, clips: NoisedClips, training: DynamicsTraining, generator: torch.Generator, frames: int
) -> NoisedClips:
    """The last rows with the network's own rollout of so many frames as their context."""
    settings, rows = training.self_rollout, slice(clips.recorded_rows, None)
    conditioning = (clips.actions[rows], clips.present[rows], None if clips.text is None else clips.text[rows])
    drawn, backwards = (None if each is None else each[rows] for each in (clips.drawn, clips.backwards))
    extent = (frames, training.noise.sampler_steps, settings.level)
    previous = clips.previous.clone()
    previous[rows] = self_rollout(forward, clips.data[rows], *conditioning, *extent, generator, drawn, backwards)
    return replace(clips, previous=previous)


__all__ = [
    "OLD_KEYS", "DynamicsTraining", "ErrorBank", "LatentBatch", "conditions", "dynamics_loss", "from_flat", "head_loss",
    "repeat_batch", "saliency", "shortcut_target",
]  # fmt: skip
