"""Training of depth completion: the game's depth, or reprojection alone, and a confidence by what reprojects rightly.

B pictures, N others, H W pixels.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
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
from worldsim.simulation.memory.render import Sources
from worldsim.training.memory.depth_examples import DepthBatch, Walks
from worldsim.training.memory.depth_losses import (
    confidence_loss,
    depth_loss,
    edge_loss,
    reprojection_error,
    self_supervised_loss,
    smoothness_loss,
)
from worldsim.training.memory.depth_priors import drawn_prior, moved_sources, own_depth, punched, wrong_depth

# Reprojection errors (of colour, 0 to 1) are divided by it, so that their loss is of the size of that of depth.
COLOUR = 0.1
# A picture tells whether another reprojects onto it only if the camera moved by as much (metres, degrees) between them.
LEAST_SHIFT, LEAST_TURN = 0.1, 1.0


@dataclass(frozen=True, kw_only=True)
class DepthTraining:
    """Settings of the training of depth completion.

    Attributes:
        steps: optimizer steps of the whole run.
        rate: learning rate.
        warmup: steps of linear warm-up.
        prior: share of pictures that get the depth that memory draws.
        own: share of those whose sources have the network's own depth; the others have the game's with noise. Without
            the game's depth it is all of them.
        depth_noise: mean standard deviation of the logarithm of that noise.
        position_drift: standard deviation of a source's position per frame of its age, in metres.
        angle_drift: the same of its angles, in degrees.
        holes: largest share of what memory draws that is punched out.
        least_confidence: the network's own depth below this confidence is not drawn.
        far: weight of what is more than 60 metres away, for what is nearer.
        edges: weight of the differences between neighbours' depths.
        jitter: standard deviation of the logarithm of brightness, colour and contrast that pictures are changed by.
        confidence_weight: weight of the confidence's loss; at 0 nothing is computed for it, which saves a third.
        smoothness: weight of smooth depth, where it is learned from reprojection alone.
        ema: decay of the exponential moving average of the weights.
        save_minutes: minutes between saves.
        validate_every: steps between validations.
    """

    steps: int = 3000
    rate: float = 1e-3
    warmup: int = 50
    prior: float = 0.5
    own: float = 0.25
    depth_noise: float = 0.2
    position_drift: float = 0.002
    angle_drift: float = 0.01
    holes: float = 0.5
    least_confidence: float = 0.5
    far: float = 0.2
    edges: float = 0.5
    jitter: float = 0.15
    confidence_weight: float = 0.5
    smoothness: float = 0.01
    ema: float = 0.995
    save_minutes: float = 3.0
    validate_every: int = 250

    def __post_init__(self) -> None:
        check_settings(
            self,
            positive=("steps", "validate_every"),
            shares=("prior", "own", "holes", "far", "least_confidence", "ema"),
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
        # Own depth is worth nothing at first.
        own = training.own if walks.has_depth else 1.0
        own = own if initial is not None or step >= training.steps // 10 else 0.0
        examples = walks.batch(seed, step, batch, training.prior)
        generator = _generator(seed, step)
        drawn = prior_of(network, walks, examples, training, own, generator)
        seen = jittered(examples.pictures, training.jitter, generator)
        set_rate(trained.optimizers, learning_rate_factor(step, training.warmup, training.steps))
        loss, parts = losses(network, walks, examples, drawn, training, seen)
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


def prior_of(
    network: DepthCompletion,
    walks: Walks,
    examples: DepthBatch,
    training: DepthTraining,
    own: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Inverse depth that memory draws (B, H, W), and where it does: nothing where a picture has no sources.

    ``own``: share of pictures whose sources have the network's own depth; without the game's, no others are drawn.
    """
    sources = examples.sources
    drawn = torch.zeros(examples.pictures.shape[:3])
    covered = drawn.bool()
    given = (examples.gaps > 0).any(1).nonzero()[:, 0]
    chosen = torch.rand(len(given), generator=generator) < own
    parts = []
    if own_rows := given[chosen].tolist():
        parts.append((own_rows, own_depth(network, _rows(sources, own_rows), training.least_confidence)))
    if walks.has_depth and (other := given[~chosen].tolist()):
        some = _rows(sources, other)
        wrong = wrong_depth(some.inverse_depth, training.depth_noise, generator)
        parts.append((other, replace(some, inverse_depth=wrong)))
    for rows, some in parts:
        some = moved_sources(some, examples.gaps[rows], training.position_drift, training.angle_drift, generator)
        shown = drawn_prior(walks.lens, some, examples.poses[rows], walks.fixed)
        drawn[rows], covered[rows] = shown.inverse_depth, punched(shown.covered, training.holes, generator)
    return drawn, covered


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


def losses(
    network: DepthCompletion,
    walks: Walks,
    examples: DepthBatch,
    prior: tuple[Tensor, Tensor],
    training: DepthTraining,
    seen: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts as numbers. ``seen``: its pictures as the network is shown them."""
    code, sure = network(examples.pictures if seen is None else seen, *prior)
    lens, rows = walks.lens, walks.rows
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


def _rows(sources: Sources, rows: list[int]) -> Sources:
    """Some of the pictures' sources."""
    return replace(sources, **{name: getattr(sources, name)[rows] for name in vars(sources)})


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
