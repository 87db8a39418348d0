"""Training of depth completion: the game's depth, or reprojection alone, and a confidence by what reprojects rightly.

B pictures, N others, H W pixels.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.models.checkpoint import load_module
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, finite, run_steps, split_optimizers
from worldsim.optim.schedule import check_settings, learning_rate_factor, set_rate
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.depth import FILE, DepthCompletion, DepthCompletionConfig, save_depth_completion
from worldsim.training.memory.depth_examples import DepthBatch, Walks
from worldsim.training.memory.depth_losses import (
    confidence_loss,
    depth_loss,
    edge_loss,
    reprojection_error,
    self_supervised_loss,
    smoothness_loss,
)

# Reprojection errors (of colour, 0 to 1) are divided by it, so that their loss is of the size of that of depth.
COLOUR = 0.1
# Degrees, standard deviation, by which the pitch is wrong where it is.
TILT = 15.0
# A picture tells whether another reprojects onto it only if the camera moved by as much (metres, degrees) between them.
LEAST_SHIFT, LEAST_TURN = 0.1, 1.0


@dataclass(frozen=True, kw_only=True)
class DepthTraining:
    """Settings of the training of depth completion.

    Attributes:
        steps: optimizer steps of the whole run.
        rate: learning rate.
        warmup: steps of linear warm-up.
        far: weight of what is more than 60 metres away, for what is nearer.
        edges: weight of the differences between neighbours' depths.
        jitter: standard deviation of the logarithm of brightness, colour and contrast that pictures are changed by.
        tilted: share of pictures whose pitch the network is told wrong.
        confidence_weight: weight of the confidence's loss; at 0 nothing is computed for it, which saves a third.
        smoothness: weight of smooth depth, where it is learned from reprojection alone.
        ema: decay of the exponential moving average of the weights.
        save_minutes: minutes between saves.
        validate_every: steps between validations.
    """

    steps: int = 3000
    rate: float = 1e-3
    warmup: int = 50
    far: float = 0.2
    edges: float = 0.5
    jitter: float = 0.15
    tilted: float = 0.1
    confidence_weight: float = 0.5
    smoothness: float = 0.01
    ema: float = 0.995
    save_minutes: float = 3.0
    validate_every: int = 250

    def __post_init__(self) -> None:
        check_settings(
            self,
            positive=("steps", "validate_every"),
            shares=("far", "tilted", "ema"),
        )


def train_depth(
    walks: Walks,
    config: DepthCompletionConfig,
    training: DepthTraining,
    folder: Path,
    *,
    batch: int = 16,
    seed: int = 0,
    validate: Callable[[DepthCompletion], dict[str, float]] = lambda network: {},
    initial: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Generator[tuple[int, dict[str, float]]]:
    """Train, resuming from ``folder`` when it holds a run; yields (step, metrics). Closed early, it saves what it has.

    Args:
        walks: to learn from.
        config: sizes of the network.
        training: schedule and losses.
        folder: receives ``state.safetensors`` (to resume) and ``depth_completion.safetensors`` (averaged weights).
        batch: pictures a step.
        seed: of the first weights and of all that is drawn.
        validate: measures of a network on walks that it does not learn from.
        initial: weights to start a new run from; a run that is resumed ignores them.
        about: further metadata of the weights: what they are trained on.
    """
    torch.manual_seed(seed)
    network = DepthCompletion(config)
    if initial is not None:
        load_module(network, initial, "the depth completion to start from")
    optimizers = split_optimizers(network, "-", training.rate, 0.0)
    trained = TrainedModule(network, optimizers, Ema(network, training.ema), folder / "state.safetensors")
    restored = trained.restore()

    def learn(step: int) -> dict[str, float]:
        examples = walks.batch(seed, step, batch)
        generator = _generator(seed, step)
        pictures = jittered(examples.pictures, training.jitter, generator)
        seen = pictures, walks.lens.descents(tilted(examples.poses, training.tilted, generator))
        set_rate(trained.optimizers, learning_rate_factor(step, training.warmup, training.steps))
        loss, parts = losses(network, walks, examples, training, seen)
        loss.backward()
        trained.step(step)
        return {"loss": finite(loss, step), **parts}

    def judge() -> dict[str, float]:
        with trained.ema.averaged(network):
            return validate(network)

    def save(step: int) -> None:
        trained.save(step)
        with trained.ema.averaged(network):
            save_depth_completion(folder / FILE, network, {**(about or {}), "steps": step})

    yield from run_steps(
        restored.step if restored else 0, training.steps, learn, judge, save,
        validate_every=training.validate_every, save_minutes=training.save_minutes,
    )  # fmt: skip


def jittered(pictures_BHWC: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Pictures (0 to 255) at other times of day: brightness and colour times, contrast to the power of, random numbers.

    Depth is the same by any light, and the maps of a recording are few.
    """
    b = len(pictures_BHWC)
    gain, colour, gamma = (
        (strength * torch.randn(b, 1, 1, channels, generator=generator)).exp() for channels in (1, 3, 1)
    )
    colour = colour.sqrt()
    return ((pictures_BHWC / 255) ** gamma * gain * colour * 255).clamp(0, 255)


def tilted(poses_B5: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Poses of which a share has a wrong pitch: videos from elsewhere are taken to be level at first."""
    wrong = (torch.rand(len(poses_B5), generator=generator) < share) * TILT
    pitch = poses_B5[:, 4] + wrong * torch.randn(len(poses_B5), generator=generator)
    return torch.cat([poses_B5[:, :4], pitch[:, None]], 1)


def losses(
    network: DepthCompletion,
    walks: Walks,
    examples: DepthBatch,
    training: DepthTraining,
    seen: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts as numbers. ``seen``: pictures and descents as the network is told them."""
    lens, rows = walks.lens, walks.rows
    code, sure = network(*((examples.pictures, lens.descents(examples.poses)) if seen is None else seen))
    near = (examples.pictures, examples.poses, examples.others, examples.other_poses)
    if examples.inverse_depth is not None:
        counts = torch.zeros_like(code, dtype=torch.bool)
        counts[:, :rows] = True
        depth = depth_loss(code, examples.inverse_depth, counts, training.far)
        if training.edges:
            depth = depth + training.edges * edge_loss(code, examples.inverse_depth, counts)
    else:
        depth = self_supervised_loss(lens, code, *near, rows) / COLOUR
        depth = depth + training.smoothness * smoothness_loss(code, examples.pictures)
    if not training.confidence_weight:
        return depth, {"depth": float(depth.detach())}
    with torch.no_grad():
        error, known = evidence(lens, code, *near, rows)
    sureness = confidence_loss(sure, error, known)
    loss = depth + training.confidence_weight * sureness
    return loss, {"depth": float(depth.detach()), "confidence": float(sureness.detach())}


def evidence(
    lens: Intrinsics,
    code: Tensor,
    pictures: Tensor,
    poses_B5: Tensor,
    others: Tensor,
    other_poses: Tensor,
    rows: int,
) -> tuple[Tensor, Tensor]:
    """How wrong each pixel's reprojection is and whether that is known, (B, 1, H, W) each: what confidence learns from.

    Of several others the one counts that fits best: what one hides another shows. One from the same place tells
    nothing. What lies below the rows of the world is always wrong.
    """
    error, inside = reprojection_error(lens, code, pictures, poses_B5, others, other_poses, rows)
    inside = inside & moved(poses_B5[:, None], other_poses)[..., None, None]
    known = inside.any(1, keepdim=True)
    best = torch.where(inside, error, torch.inf).amin(1, keepdim=True)
    known[:, :, rows:], best[:, :, rows:] = True, torch.inf
    return best, known


def moved(one: Tensor, other: Tensor) -> Tensor:
    """Whether the camera is at another place or turned (...,) between poses (..., 5)."""
    difference = one - other
    turned = torch.remainder(difference[..., 3:] + 180, 360).sub(180).abs().amax(-1)
    return (difference[..., :3].abs().amax(-1) >= LEAST_SHIFT) | (turned >= LEAST_TURN)


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
