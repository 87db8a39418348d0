"""Training the diffusion Transformer on latent clips: diffusion forcing with x0-prediction, shortcut steps, heads.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.checkpoint import load_module, save_tensors
from worldsim.dit import DiTConfig, DiTOutput, WorldDiT, previous_of
from worldsim.flow import (
    data_from_velocity,
    flow_loss,
    interpolate,
    sample_play_tau,
    sample_shortcut,
    sample_tau,
    velocity_from_data,
)
from worldsim.heads import MOTION_SCALE
from worldsim.precision import fast_precision
from worldsim.rollout_context import own_past
from worldsim.training import (
    Ema,
    check_settings,
    finite,
    learning_rate_factor,
    load_training,
    save_training,
    set_rate,
    split_optimizers,
)


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
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True)
class DynamicsTraining:
    """How to train. Heads' weights are relative to the flow loss; ``cooldown`` is a share of all steps.

    ``play_share``: of the frames, whose signal level is one that a sampler of ``play_steps`` steps evaluates, so that
    a world learns most where it is played. ``noise_weight``: of the loss of frames of pure noise; of clean ones, 1.
    ``rollout_share``: of the clips, whose past becomes the network's own dream for ``rollout_frames`` latent frames; at
    a half it makes a step a third longer.
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
    rollout_share: float = 0.0
    rollout_frames: int = 16
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
                "rollout_share", "image_share", "shortcut_share",
            ),
        )  # fmt: skip


class ErrorBank:
    """Recent prediction errors, to be added to the context: the model learns to live with its own mistakes.

    Source: error injection as in LongLive and Matrix-Game 3. Held in memory only; a resumed run refills it at once.
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self.errors: Tensor | None = None
        self.filled = 0

    def add(self, errors_ACHW: Tensor) -> None:
        """Keep the newest errors, overwriting the oldest."""
        if self.errors is None or self.errors.shape[1:] != errors_ACHW.shape[1:]:
            self.errors, self.filled = errors_ACHW.new_zeros(self.capacity, *errors_ACHW.shape[1:]), 0
        for error in errors_ACHW:
            self.errors[self.filled % self.capacity] = error
            self.filled += 1

    def draw(self, shape: tuple[int, ...], probability: float, generator: torch.Generator) -> Tensor | None:
        """Random errors (B, T, C, H, W), scaled by +-(0 to 1), zero with probability 1 - ``probability`` per row."""
        if self.errors is None or self.filled < self.capacity or self.errors.shape[1:] != shape[2:]:
            return None
        device = generator.device
        index = torch.randint(0, self.capacity, shape[:2], generator=generator, device=device)
        scale = torch.rand(shape[0], 1, 1, 1, 1, generator=generator, device=device)
        scale = scale * (torch.rand(scale.shape, generator=generator, device=device) < probability)
        return self.errors[index] * scale


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
    learnt = torch.ones_like(tau)
    # The last rows, as shortcut steps take the first ones. Clips too short to dream in stay as they are.
    dreamt = 0 if images or t < training.rollout_frames + 2 else min(int(b * training.rollout_share), b - rows)
    own = slice(b - dreamt, b)
    if dreamt:
        conditioning = (actions[own], present[own], None if text is None else text[own])
        parts_of_rows = (data[own], noisy[own], previous[own], tau[own])
        past = own_past(dit, forward, *parts_of_rows, *conditioning, training.rollout_frames, generator)
        noisy[own], previous[own], tau[own], learnt[own] = past
    out = forward(noisy, previous, tau, step, actions, present & (not images), text, temporal=not images)
    per_frame = flow_loss(out.latents, target, tau, training.noise_weight)
    parts = {"flow": (per_frame * learnt).sum() / learnt.sum()}
    total = parts["flow"]
    if not images:
        bank.add((out.latents.detach() - data)[: own.start, 1:].flatten(0, 1)[:: max(1, t // 4)])
        heads = head_loss(out, batch, present, training)
        parts |= heads
        total = total + training.motion_weight * heads["motion"] + training.action_weight * heads["action"]
        total = total + training.termination_weight * heads["termination"]
    return total, parts


@torch.no_grad()
def validate(dit: WorldDiT, batch: LatentBatch, levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)) -> dict[str, float]:
    """x0 error of the last half of each clip given its clean past, with true and with shuffled actions.

    Only every second frame of that half is noised, so that every noised frame stands on a clean one.
    """
    data = batch.latents
    b, t = data.shape[:2]
    judged = torch.arange(t // 2, t, 2, device=data.device)
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(0)).to(data.device)
    present = recorded(batch)
    shuffled = batch.actions.roll(1, 0)
    metrics: dict[str, list[float]] = {"true": [], "shuffled": [], "repeat": []}
    motion = 0.0
    for level in levels:
        tau = data.new_ones(b, t)
        tau[:, judged] = level
        noisy = interpolate(data, noise, tau)
        for name, actions in (("true", batch.actions), ("shuffled", shuffled)):
            with fast_precision(data.device):
                out = dit(noisy, previous_of(data), tau, torch.zeros_like(tau), actions, present)
            metrics[name].append(float((out.latents - data)[:, judged].square().mean()))
            if name == "true" and level == levels[-1]:
                motion = float((out.heads.motion - batch.motion)[:, judged, :2].norm(dim=-1).mean())
        metrics["repeat"].append(float((previous_of(data) - data)[:, judged].square().mean()))
    result = {f"x0_{level:g}": value for level, value in zip(levels, metrics["true"], strict=True)}
    mean = {name: sum(values) / len(values) for name, values in metrics.items()}
    return result | {
        "x0": mean["true"],
        "repeat": mean["repeat"],
        "shuffled_ratio": mean["shuffled"] / mean["true"],
        "shuffled_ratio_noise": metrics["shuffled"][0] / metrics["true"][0],
        "motion_error_m": motion,
    }


def training_step(
    forward: Callable[..., DiTOutput],
    dit: WorldDiT,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: Ema,
    batch: LatentBatch,
    training: DynamicsTraining,
    step: int,
    seed: int,
    bank: ErrorBank,
) -> dict[str, float]:
    """Learn from one batch; ``forward`` is ``dit``, or what it was compiled to. All noise follows (seed, step).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    generator = torch.Generator(batch.latents.device).manual_seed(seed * 1_000_003 + step)
    set_rate(optimizers, learning_rate_factor(step, training.warmup, training.steps, training.cooldown))
    with fast_precision(batch.latents.device):
        loss, parts = dynamics_loss(forward, dit, batch, training, generator, bank, step >= training.shortcut_from)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(dit.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ema.update(dit, step)
    metrics = {"loss": finite(loss, step), "gradient_norm": float(norm)}
    return metrics | {name: float(part.detach()) for name, part in parts.items()}


def save_dit(path: Path, dit: WorldDiT, about: Mapping[str, Any] | None = None) -> None:
    """Write weights, configuration and what else there is to say about them to one safetensors file."""
    save_tensors(path, dit.state_dict(), {"dit": asdict(dit.config), **(about or {})})


def train_dynamics(
    dit_config: DiTConfig,
    training: DynamicsTraining,
    batches: Callable[[int], LatentBatch],
    validation: LatentBatch,
    folder: Path,
    seed: int = 0,
    initial: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train, resuming from ``folder`` when it holds a run; yields (step, metrics).

    Args:
        dit_config: sizes.
        training: schedule and loss.
        batches: step -> batch; a pure function of the step, so that resuming draws what would have come.
        validation: clips of maps not trained on.
        folder: receives ``state.safetensors`` (to resume) and ``dit.safetensors`` (averaged weights, to use).
        seed: of the initial weights and of all noise.
        initial: weights to start a new run from, those of an earlier world say; a run that is resumed ignores them.
        about: further metadata of ``dit.safetensors``: what it is trained on.
        device: that computes. Noise differs between kinds of devices; a run is resumed exactly on its own.
    """
    torch.manual_seed(seed)
    dit = WorldDiT(dit_config)
    if initial is not None:
        load_module(dit, initial, "the world to start from")
    dit.to(device)
    dit.recompute = training.recompute
    validation = validation.to(torch.device(device))
    optimizers = split_optimizers(dit, "blocks", training.rate, training.matrix_rate)
    ema = Ema(dit, training.ema)
    first = 0
    if (folder / "state.safetensors").exists():
        first = load_training(folder / "state.safetensors", dit, ema, optimizers)
    forward: Callable[..., DiTOutput] = torch.compile(dit, dynamic=False) if training.compile else dit
    bank = ErrorBank()
    saved = time.monotonic()
    for step in range(first, training.steps):
        batch = batches(step).to(torch.device(device))
        metrics = training_step(forward, dit, optimizers, ema, batch, training, step, seed, bank)
        if (step + 1) % training.validate_every == 0 or step + 1 == training.steps:
            ema.swap(dit)
            metrics |= {f"validation/{k}": v for k, v in validate(dit, validation).items()}
            ema.swap(dit)
        if time.monotonic() - saved > 60 * training.save_minutes or step + 1 == training.steps:
            save_training(folder / "state.safetensors", step + 1, dit, ema, optimizers)
            ema.swap(dit)
            save_dit(folder / "dit.safetensors", dit, about)
            ema.swap(dit)
            saved = time.monotonic()
        yield step + 1, metrics
