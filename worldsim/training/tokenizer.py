"""Training the video tokenizer on clips of recorded frames. A generator of metrics: the caller shows and logs them.

B batch, T chunks, r frames per chunk.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from worldsim.models.checkpoint import load_module, save_tensors
from worldsim.models.precision import fast_precision
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.optim.distributed.ranks import ranks
from worldsim.optim.distributed.shares import Rows, share_of
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, finite, has_state, split_optimizers
from worldsim.optim.schedule import check_settings, learning_rate_factor, set_rate
from worldsim.training.discriminator import Discriminator

# Keys of earlier versions, and their names now.
OLD_KEYS = {"rare_weight": "saliency_weight", "adversary_rate": "discriminator_rate"}


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining:
    """Settings of the tokenizer's training.

    Attributes:
        steps: optimizer steps of the whole run.
        rate: learning rate.
        warmup: steps of linear warm-up.
        latent_noise: largest amount of noise on latents before they are decoded, so that the decoder tolerates a
            sampler's errors.
        edge_weight: weight of the loss of differences between neighbouring pixels.
        saliency_weight: for small things on a still background: 0 counts all pixels alike, 1 gives half of the weight
            to pixels by how far they are from the batch's mean picture.
        latent_std: standard deviation of the latents that the linear path is scaled to. Where most of the picture is
            still, a smaller one keeps what moves within reach of the noise.
        fit_batches: batches that the linear path is fitted to. Small things have to be in them in every place.
        ema: decay of the exponential moving average of the weights.
        save_minutes: minutes between saves.
        validate_every: steps between validations.
        freeze_encoder: train the decoder alone, where dynamics already use the latents.
        adversarial: weight of the discriminator's gradient relative to that of reconstruction (ratio of norms, as in
            VQGAN), from the end of the warm-up on. For decoders that already reconstruct: with ``initial=``.
        discriminator_rate: learning rate of the discriminator.
        parts: batches of a step, each of ``batch`` clips, whose losses are averaged (gradient accumulation); several
            ranks share them out. 1 with a discriminator.
    """

    steps: int = 4000
    rate: float = 6e-4
    warmup: int = 100
    latent_noise: float = 0.1
    edge_weight: float = 0.5
    saliency_weight: float = 0.0
    latent_std: float = 1.0
    fit_batches: int = 4
    ema: float = 0.998
    save_minutes: float = 4.0
    validate_every: int = 200
    freeze_encoder: bool = False
    adversarial: float = 0.0
    discriminator_rate: float = 4e-4
    parts: int = 1

    def __post_init__(self) -> None:
        positive = ("steps", "latent_std", "fit_batches", "validate_every", "parts")
        check_settings(self, positive=positive, shares=("ema",))
        if self.adversarial and self.parts > 1:
            raise ValueError(
                f"parts must be 1 with a discriminator (adversarial={self.adversarial:g}), got {self.parts}"
            )


def to_chunks(frames: Tensor, chunk: int) -> Tensor:
    """uint8 frames (B, T * r, H, W, 3) to chunks (B, T, r, 3, H, W) in 0..1."""
    return rearrange(frames, "b (t r) h w c -> b t r c h w", r=chunk).float() / 255


def saliency(target: Tensor) -> Tensor:
    """How far each pixel of (B, T, r, 3, H, W) is from the mean picture, averaged over colours, with mean 1."""
    away = (target - target.mean((0, 1, 2), keepdim=True)).abs().mean(-3, keepdim=True)
    return away / away.mean().clamp_min(1e-6)


def reconstruction_loss(predicted: Tensor, target: Tensor, edge_weight: float, saliency_weight: float = 0.0) -> Tensor:
    """L1 plus a scaled L2 (which PSNR measures) plus L1 of horizontal and vertical differences (edges)."""
    error = predicted - target
    each = error.abs() + 10.0 * error.square()
    if saliency_weight:
        each = each * (1 + saliency_weight * saliency(target)) / (1 + saliency_weight)
    loss = each.mean()
    if edge_weight:
        loss = loss + edge_weight * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
    return loss


def psnr(predicted: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per leading row, for pictures in 0..1 compared as 8-bit values."""
    predicted = (predicted.clamp(0, 1) * 255).round() / 255
    return -10 * (predicted - target).square().flatten(1).mean(1).clamp_min(1e-10).log10()


@torch.no_grad()
def validate(tokenizer: VideoTokenizer, chunks: Tensor) -> dict[str, float]:
    """PSNR of the whole tokenizer and of its linear path alone on held-out chunks (B, T, r, 3, H, W), and more.

    ``sharpness_ratio``: mean difference of neighbouring pixels, decoded through recorded.
    """
    latents = tokenizer.encode_chunks(chunks)
    out, _ = tokenizer.decode_chunks(latents)
    patches = rearrange(chunks, "b t r c (h p) (w q) -> (b t h w) (r c p q)", p=8, q=8) - tokenizer.mean
    linear = patches @ tokenizer.components @ tokenizer.components.T
    error = (linear - patches).reshape(len(chunks), -1).square().mean(1)
    edges = [float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()) for x in (out, chunks)]
    return {
        "psnr": float(psnr(out, chunks).mean()),
        "sharpness_ratio": edges[0] / max(edges[1], 1e-6),
        "psnr_linear": float((-10 * error.log10()).mean()),
        "latent_std": float(latents.std()),
    }


def save_tokenizer(path: Path, tokenizer: VideoTokenizer, about: Mapping[str, Any] | None = None) -> None:
    """Write weights, configuration and what else there is to say about them to one safetensors file."""
    if ranks().first:
        save_tensors(path, tokenizer.state_dict(), {"tokenizer": asdict(tokenizer.config), **(about or {})})


def train_tokenizer(
    tokenizer_config: TokenizerConfig,
    training: TokenizerTraining,
    batches: Callable[[int], Tensor],
    validation: Tensor,
    folder: Path,
    seed: int = 0,
    initial: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Generator[tuple[int, dict[str, float]]]:
    """Train, resuming from ``folder`` when it holds a run; yields (step, metrics). Closed early, it saves what it has.

    Args:
        tokenizer_config: sizes.
        training: schedule and loss.
        batches: step -> uint8 frames (B, T * r, H, W, 3); a pure function of the step, so that resuming is exact.
        validation: uint8 frames (B, T * r, H, W, 3) of maps not trained on.
        folder: receives ``state.safetensors`` (to resume) and ``tokenizer.safetensors`` (averaged weights, to use).
        seed: of the initial weights and the latent noise.
        initial: weights to start a new run from, its linear path included; a run that is resumed ignores them.
        about: further metadata of ``tokenizer.safetensors``: what it is trained on.
    """
    torch.manual_seed(seed)
    folder = folder.absolute()
    tokenizer = VideoTokenizer(tokenizer_config)
    r = tokenizer_config.chunk
    held_out = to_chunks(validation, r)
    if initial is not None:
        load_module(tokenizer, initial, "the tokenizer to start from")
    elif not has_state(folder / "state.safetensors"):
        tokenizer.fit_linear(
            torch.cat([to_chunks(batches(-1 - i), r) for i in range(training.fit_batches)]), training.latent_std
        )
    trained = prepared(tokenizer, training, folder / "state.safetensors")
    discriminator = Discriminator(r, training.discriminator_rate) if training.adversarial else None
    first, share = 0, trained.share
    if (restored := trained.restore()) is not None:
        first = restored.step
        if discriminator is not None:
            discriminator.resume(folder, restored.more)

    def learn(step: int) -> dict[str, float]:
        clips = [to_chunks(batches(index), r) for index in share.indices(step)]
        return training_step(trained, tokenizer, clips, training, step, seed, discriminator)

    def judge() -> dict[str, float]:
        with trained.ema.averaged(tokenizer):
            return validate(tokenizer, held_out)

    def save(step: int) -> None:
        trained.save(step, None if discriminator is None else discriminator.keep(folder, step))
        with trained.ema.averaged(tokenizer):
            save_tokenizer(folder / "tokenizer.safetensors", tokenizer, about)

    yield from trained.run(
        first, training.steps, learn, judge, save,
        validate_every=training.validate_every, save_minutes=training.save_minutes,
    )  # fmt: skip


def prepared(tokenizer: VideoTokenizer, training: TokenizerTraining, path: Path) -> TrainedModule:
    """A tokenizer with the optimizers and averaged weights of its training; its state is kept at ``path``."""
    if training.freeze_encoder:
        for name, parameter in tokenizer.named_parameters():
            parameter.requires_grad_(not name.startswith("encode"))
    optimizers = split_optimizers(tokenizer, "-", training.rate, 0.0)
    return TrainedModule(tokenizer, optimizers, Ema(tokenizer, training.ema), path, share_of(training.parts))


def reconstructed(
    tokenizer: VideoTokenizer, chunks: Tensor, latent_noise: float, generator: torch.Generator, rows: Rows
) -> Tensor:
    """Chunks (B, T, r, 3, H, W) encoded, and decoded from latents with noise; each rank computes its own rows."""
    mine, count = rows.mine(len(chunks)), len(chunks)
    with fast_precision():
        latents = tokenizer.encode_chunks(chunks[mine])
        noise = torch.randn((count, *latents.shape[1:]), generator=generator)
        amount = torch.rand(count, 1, 1, 1, 1, generator=generator) * latent_noise
        out, _ = tokenizer.decode_chunks(latents + (amount * noise)[mine])
    return rows.gathered([out], count)[0]


def training_step(
    trained: TrainedModule,
    tokenizer: VideoTokenizer,
    parts: Sequence[Tensor],
    training: TokenizerTraining,
    step: int,
    seed: int,
    discriminator: Discriminator | None = None,
) -> dict[str, float]:
    """Learn from this rank's parts of a step: chunks (B, T, r, 3, H, W) in 0..1; ``trained`` holds ``tokenizer``.

    All noise follows (seed, step, part).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    share, results, shown = trained.share, [], parts[0]
    set_rate(trained.optimizers, learning_rate_factor(step, training.warmup, training.steps))
    judged = discriminator if step >= training.warmup else None
    for part, chunks in zip(share.mine, parts, strict=True):
        generator = share.generator(seed, step, part)
        with trained.engine.part(last=part == share.mine[-1]):
            out = trained.engine(reconstructed, tokenizer, chunks, training.latent_noise, generator, share.rows)
            shown = out.detach().float().requires_grad_()
            loss, gradient = _loss_and_gradient(shown, chunks, training, judged)
            trained.backward(out, gradient.to(out.dtype))
        results.append({"loss": loss})
    trained.step(step)
    metrics = {"loss": finite(share.mean(results)["loss"], step)}
    if discriminator is not None:
        with fast_precision():
            metrics["discriminator"] = discriminator.learn(parts[0].flatten(0, 1), shown.flatten(0, 1))
    return metrics


def _loss_and_gradient(
    shown: Tensor, chunks: Tensor, training: TokenizerTraining, discriminator: Discriminator | None
) -> tuple[Tensor, Tensor]:
    """The loss of reconstruction, and what ``shown`` should do about it and about the discriminator."""
    loss = reconstruction_loss(shown, chunks, training.edge_weight, training.saliency_weight)
    (gradient,) = torch.autograd.grad(loss, shown)
    if discriminator is not None:
        with fast_precision():
            generator_loss = discriminator.generator_loss(shown.flatten(0, 1))
        (wanted,) = torch.autograd.grad(generator_loss, shown)
        gradient = gradient + training.adversarial * gradient.norm() / wanted.norm().clamp_min(1e-12) * wanted
    return loss, gradient


__all__ = ["TokenizerTraining", "psnr", "save_tokenizer", "to_chunks", "train_tokenizer", "training_step", "validate"]
