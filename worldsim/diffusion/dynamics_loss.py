"""The loss of the diffusion Transformer on latent clips: diffusion forcing with x0-prediction, samples by the energy
score, shortcut steps, heads.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.diffusion.flow import (
    data_from_velocity,
    energy_score,
    flow_loss,
    interpolate,
    sample_play_tau,
    sample_shortcut,
    sample_tau,
    velocity_from_data,
)
from worldsim.diffusion.self_rollout import own_past
from worldsim.models.dit import DiTOutput, WorldDiT, previous_of
from worldsim.models.heads import MOTION_SCALE
from worldsim.optim.training import check_settings


@dataclass(frozen=True)
class LatentBatch:
    """Consecutive latent frames with what caused and accompanied them.

    latents (B, T, C, H, W); actions (B, T, r, A): those that lead into each frame (frame 0's are not used);
    motion (B, T, 5): body-frame displacement in metres, turn in degrees during the chunk; terminated (B, T) 0 or 1;
    text (B, X) sentence embeddings, or None; known (B,) whether the actions were recorded, posed (B,) whether the
    motion was (None: all of them); mouse: whether the last two action values are the mouse's degrees.
    """

    latents: Tensor
    actions: Tensor
    motion: Tensor
    terminated: Tensor
    text: Tensor | None = None
    known: Tensor | None = None
    posed: Tensor | None = None
    mouse: bool = True

    def to(self, device: torch.device) -> "LatentBatch":
        """The same batch on a device."""
        return self.mapped(lambda value: value.to(device))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "LatentBatch":
        """The batch with every tensor changed alike."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})


@dataclass(frozen=True, kw_only=True)
class DynamicsTraining:
    """How to train. Heads' weights are relative to the flow loss; ``cooldown`` is a share of all steps.

    ``play_share``: of the frames, whose signal level is one that a sampler of ``play_steps`` steps evaluates, so that
    a world learns most where it is played. ``noise_weight``: of the loss of frames of pure noise; of clean ones, 1.
    ``twin_noises``: learn from half of the clips of a batch, each under two noises: frames of pure noise then learn by
    the energy score to become samples of what may follow instead of its mean, which is a blur. ``repulsion`` of the
    two below 1 makes for calmer samples.
    ``rare_weight``: for small things on a still ground, a ball say: 0 counts all latent cells alike, 1 gives half of
    the weight to cells by how far they are from the batch's mean latent, now or a frame before. The energy score
    pulls at every cell alike, however small its error: without it, training mostly polishes a ground that is right.
    ``halved_share``: of the steps, whose clips are cut into halves, twice as many of half the length.
    ``rollout_share``: of the clips, before whose frames stands the network's own dream of 1 to ``rollout_frames``
    latent frames, of ``play_steps`` steps each, instead of what was recorded, noise and errors. ``rollout_level``: the
    signal level of the recording that they begin at; 0 dreams freely.
    ``recompute``: keep no activations inside blocks, compute them again for the gradient: a third more work, for models
    whose activations do not fit the device.
    """

    steps: int = 20_000
    rate: float = 8e-4
    matrix_rate: float = 2e-3
    warmup: int = 200
    cooldown: float = 0.3
    ema: float = 0.999
    action_drop: float = 0.1
    text_drop: float = 0.2
    mouse_jitter: float = 0.02
    context_noise: float = 0.15
    error_injection: float = 0.5
    play_share: float = 0.0
    play_steps: int = 2
    noise_weight: float = 0.1
    twin_noises: bool = False
    repulsion: float = 1.0
    rare_weight: float = 0.0
    halved_share: float = 0.0
    rollout_share: float = 0.0
    rollout_frames: int = 3
    rollout_level: float = 0.0
    image_share: float = 0.05
    shortcut_from: int = 1_000_000_000
    shortcut_share: float = 0.25
    finest: int = 64
    motion_weight: float = 0.1
    action_weight: float = 0.02
    termination_weight: float = 0.01
    save_minutes: float = 4.0
    validate_every: int = 250
    compile: bool = True
    recompute: bool = False

    def __post_init__(self) -> None:
        check_settings(
            self,
            positive=("steps", "play_steps", "rollout_frames", "finest", "validate_every"),
            shares=(
                "cooldown", "ema", "action_drop", "text_drop", "context_noise", "error_injection", "play_share",
                "repulsion", "rare_weight", "halved_share", "rollout_share", "rollout_level", "image_share",
                "shortcut_share",
            ),
        )  # fmt: skip


class ErrorBank:
    """Recent prediction errors, to be added to the context: the model learns to live with its own mistakes.

    Source: error injection as in LongLive and Matrix-Game 3. Latents of each shape have a ring of their own.
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self._rings: dict[tuple[int, ...], Tensor] = {}
        self._filled: dict[tuple[int, ...], int] = {}

    def add(self, errors_ACHW: Tensor) -> None:
        """Keep the newest errors, overwriting the oldest."""
        shape = tuple(errors_ACHW.shape[1:])
        if shape not in self._rings:
            self._rings[shape], self._filled[shape] = errors_ACHW.new_zeros(self.capacity, *shape), 0
        for error in errors_ACHW:
            self._rings[shape][self._filled[shape] % self.capacity] = error
            self._filled[shape] += 1

    def draw(self, shape: tuple[int, ...], probability: float, generator: torch.Generator) -> Tensor | None:
        """Random errors (B, T, C, H, W), scaled by +-(0 to 1), zero with probability 1 - ``probability`` per row.

        None until there are as many of that shape as are kept.
        """
        if self._filled.get(shape[2:], 0) < self.capacity:
            return None
        device = generator.device
        index = torch.randint(0, self.capacity, shape[:2], generator=generator, device=device)
        scale = torch.rand(shape[0], 1, 1, 1, 1, generator=generator, device=device)
        scale = scale * (torch.rand(scale.shape, generator=generator, device=device) < probability)
        return self._rings[shape[2:]][index] * scale

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        rings = enumerate(self._rings.items())
        return {f"{i}/{self._filled[shape]}": ring for i, (shape, ring) in rings}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Take back what ``tensors`` gave."""
        for name, ring in tensors.items():
            shape = tuple(ring.shape[1:])
            self._rings[shape], self._filled[shape] = ring.to(device), int(name.split("/")[1])


def halved(batch: LatentBatch) -> LatentBatch:
    """Twice as many clips (2 B, T / 2): each one's first half, then its second, whose past is gone."""
    half = batch.latents.shape[1] // 2
    moving = (batch.latents, batch.actions, batch.motion, batch.terminated)

    def cut(value: Tensor) -> Tensor:
        if any(value is each for each in moving):
            return value[:, : 2 * half].unflatten(1, (2, half)).flatten(0, 1)
        return value.repeat_interleave(2, 0)

    return batch.mapped(cut)


def rarity(latents: Tensor) -> Tensor:
    """How far each cell of (B, T, C, H, W) is, now or a frame before, from the mean latent: (B, T, 1, H, W), mean 1."""
    away = (latents - latents.mean((0, 1), keepdim=True)).square().mean(2, keepdim=True).sqrt()
    away = torch.maximum(away, previous_of(away))
    return away / away.mean().clamp_min(1e-6)


def twice(x: Tensor) -> Tensor:
    """The rows, then the same rows again."""
    return torch.cat([x, x])


def recorded(batch: LatentBatch) -> Tensor:
    """Which frames (B, T) have a recorded action that leads into them: never the first of a clip."""
    (b, t), device = batch.latents.shape[:2], batch.latents.device
    known = torch.ones(b, dtype=torch.bool, device=device) if batch.known is None else batch.known
    return known[:, None] & (torch.arange(t, device=device) > 0)


def conditions(
    batch: LatentBatch, training: DynamicsTraining, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Jittered actions, the mask of frames that keep theirs, and text, zeros where dropped."""
    (b, t), device = batch.latents.shape[:2], generator.device
    actions = batch.actions.clone()
    jitter = 1 + training.mouse_jitter * torch.randn(b, 1, 1, 1, generator=generator, device=device)
    if batch.mouse:
        actions[..., -2:] = actions[..., -2:] * jitter
    kept = torch.rand(b, 1, generator=generator, device=device) >= training.action_drop
    present = kept.repeat(1, t) & recorded(batch)
    if batch.text is None:
        return actions, present, None
    kept = torch.rand(b, 1, generator=generator, device=device) >= training.text_drop
    return actions, present, batch.text * kept


def head_loss(out: DiTOutput, batch: LatentBatch, present: Tensor, training: DynamicsTraining) -> dict[str, Tensor]:
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
    guessed, hidden = out.heads.action[:, 1:], (recorded(batch) & ~present)[:, 1:].float()
    guess = F.binary_cross_entropy_with_logits(guessed[..., :keys], mean_action[..., :keys], reduction="none").mean(-1)
    if batch.mouse:
        mouse = F.smooth_l1_loss(guessed[..., keys:], mean_action[..., keys:] / 5, reduction="none")
        guess = guess + mouse.mean(-1)
    action = (guess * hidden).sum() / hidden.sum().clamp_min(1)
    return {"motion": motion, "termination": termination, "action": action}


@torch.no_grad()
def shortcut_target(
    dit: Callable[..., DiTOutput], noisy: Tensor, tau: Tensor, step: Tensor, finest: int, rest: tuple
) -> Tensor:
    """What two half steps of the model itself arrive at, expressed as clean latents (Frans et al. 2025)."""
    half = step / 2
    told = torch.where(half <= 1.0 / finest, torch.zeros_like(half), half)
    previous, *conditioning = rest
    first = velocity_from_data(noisy, dit(noisy, previous, tau, told, *conditioning).latents, tau)
    middle = noisy + first * half[..., None, None, None]
    second = velocity_from_data(middle, dit(middle, previous, tau + half, told, *conditioning).latents, tau + half)
    return data_from_velocity(noisy, (first + second) / 2, tau)


def dynamics_loss(
    forward: Callable[..., DiTOutput],
    dit: WorldDiT,
    batch: LatentBatch,
    training: DynamicsTraining,
    generator: torch.Generator,
    bank: ErrorBank,
    shortcut: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step's loss and its parts; ``forward`` is ``dit``, or what it was compiled to.

    Random numbers come from ``generator`` alone.
    """
    if training.twin_noises:
        half = max(1, len(batch.latents) // 2)
        batch = batch.mapped(lambda value: value[:half])
    if training.halved_share and batch.latents.shape[1] > 3:
        drawn = torch.rand((), generator=generator, device=generator.device)
        batch = halved(batch) if float(drawn) < training.halved_share else batch
    data = batch.latents
    (b, t), device = data.shape[:2], generator.device
    actions, present, text = conditions(batch, training, generator)
    tau = sample_tau((b, t), generator)
    if training.play_share:
        tau = sample_play_tau(tau, training.play_steps, training.play_share, generator)
    step = torch.zeros_like(tau)
    noise = torch.randn(data.shape, generator=generator, device=device)
    amount = training.context_noise * torch.rand(b, 1, 1, 1, 1, generator=generator, device=device)
    corrupted = data + amount * torch.randn(data.shape, generator=generator, device=device)
    errors = bank.draw(tuple(data.shape), training.error_injection, generator)
    previous = previous_of(corrupted if errors is None else corrupted + errors)
    rows = int(b * training.shortcut_share) if shortcut else 0
    if rows:
        tau[:rows], step[:rows] = sample_shortcut((rows, t), training.finest, generator)
    noisy = interpolate(data, noise, tau)
    target = data
    if rows:
        conditioning = (previous[:rows], actions[:rows], present[:rows], None if text is None else text[:rows])
        bootstrapped = shortcut_target(forward, noisy[:rows], tau[:rows], step[:rows], training.finest, conditioning)
        target = torch.cat([bootstrapped, data[rows:]])
    images = t == 1 or float(torch.rand((), generator=generator, device=device)) < training.image_share
    # The last rows, as shortcut steps take the first ones.
    own = slice(b - (0 if images else min(int(b * training.rollout_share), b - rows)), b)
    if own.start < b:
        frames = int(torch.randint(1, training.rollout_frames + 1, (), generator=generator, device=device))
        conditioning = (actions[own], present[own], None if text is None else text[own])
        extent = (frames, training.play_steps, training.rollout_level)
        previous[own] = own_past(forward, data[own], *conditioning, *extent, generator)
    pure = (tau == 0) & (step == 0)
    inputs = (noisy, previous, tau, step, actions, present & (not images), text)
    if training.twin_noises:
        other = torch.randn(data.shape, generator=generator, device=device)
        other = torch.where(pure[..., None, None, None], other, noisy)
        shared = (None if x is None else twice(x) for x in inputs[1:])
        inputs = (torch.cat([noisy, other]), *shared)
        batch, present = batch.mapped(twice), twice(present)
    out = forward(*inputs, temporal=not images)
    guesses = out.latents.unflatten(0, (-1, b))
    if training.rare_weight:
        emphasis = torch.lerp(torch.ones_like(data[:, :, :1]), rarity(data), training.rare_weight / 2).sqrt()
        guesses, target = guesses * emphasis, target * emphasis
    per_frame = torch.stack([flow_loss(guess, target, tau, training.noise_weight) for guess in guesses]).mean(0)
    if training.twin_noises:
        score = training.noise_weight * energy_score(guesses[0], guesses[1], target, training.repulsion)
        per_frame = torch.where(pure, score, per_frame)
    parts = {"flow": per_frame.mean()}
    total = parts["flow"]
    if not images:
        bank.add((out.latents[:b].detach() - data)[: own.start, 1:].flatten(0, 1)[:: max(1, t // 4)])
        heads = head_loss(out, batch, present, training)
        parts |= heads
        total = total + training.motion_weight * heads["motion"] + training.action_weight * heads["action"]
        total = total + training.termination_weight * heads["termination"]
    return total, parts
