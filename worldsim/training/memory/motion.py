"""Training of ego-motion: unrolled freely, fed with its own predictions as in play, over stretches of recorded walks.

B stretches, K chunks, R video frames of a chunk, L = K R, A action vector, S summary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.shield import shielded
from worldsim.simulation.memory.ego_motion import EgoMotion, EgoMotionConfig
from worldsim.training.memory.motion_data import FARTHEST, RESTING, Track

# Video frames over which the positions that a stretch adds up to are compared, and how much each counts.
SPANS = {8: 0.5, 32: 0.25}
# Metres up to which errors of displacements and of positions count squared, beyond which by their size.
SMALL_STEP, SMALL_DRIFT = 0.05, 0.1
# How much it counts, in dead zones, that what rests is not in the middle of the dead zone.
REST = 0.05


@dataclass(frozen=True, kw_only=True)
class MotionTraining:
    """How ego-motion is trained.

    Attributes:
        hidden: width of the recurrent state.
        chunk: video frames between pictures that it sees.
        steps: gradient steps.
        batch: stretches of a step.
        shortest: chunks of a stretch at the beginning.
        longest: chunks of a stretch at the end.
        known: most chunks at the beginning of a stretch whose displacement is told afterwards; in some none is.
        rate: learning rate.
        decay: weight decay.
        erroneous: share of stretches that see depth with errors.
        told: share of stretches that are told every displacement afterwards, at the beginning; none at the end.
    """

    hidden: int = 64
    chunk: int = 2
    steps: int = 800
    batch: int = 160
    shortest: int = 12
    longest: int = 60
    known: int = 10
    rate: float = 3e-3
    decay: float = 0.01
    erroneous: float = 0.5
    told: float = 0.8


@dataclass(frozen=True)
class Stretches:
    """Equally long parts of walks: actions (B, L, A), moved (B, L, 3), pitch (B, K), near (B, K, S)."""

    actions: Tensor
    moved: Tensor
    pitch: Tensor
    near: Tensor


def cut(
    tracks: Sequence[Track], places: Sequence[tuple[int, int]], chunks: int, chunk: int, views: Tensor
) -> Stretches:
    """Stretches that begin with chunk ``start`` of track ``i``, (i, start) each; ``views`` tells which summaries."""
    parts = []
    for (i, start), view in zip(places, views.tolist(), strict=True):
        track, frames = tracks[i], slice(start * chunk, (start + chunks) * chunk)
        near = track.near[view, start : start + chunks].float()
        parts.append((track.actions[frames], track.moved[frames], track.pitch[frames][::chunk], near))
    return Stretches(*(torch.stack(each) for each in zip(*parts, strict=True)))


def unroll(model: EgoMotion, stretches: Stretches, chunk: int, known: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted displacements (B, L, 3), with and without the dead zone.

    Each chunk is predicted before anything is known of it. After it, rows with more ``known`` (B,) chunks than that
    are told its last displacement; all others go on from their own prediction.
    """
    batch, chunks = len(known), stretches.near.shape[1]
    actions = stretches.actions.unflatten(1, (chunks, chunk))
    turns = actions[..., model.config.camera.yaw_action]
    sensed = model.sense(actions.flatten(0, 1), stretches.near.flatten(0, 1), stretches.pitch.flatten())
    sensed = sensed.unflatten(0, (batch, chunks))
    state = model.initial(batch)
    out, raw = [], []
    for k in range(chunks):
        moved, state, free = model.steps(state, sensed[:, k], turns[:, k])
        out.append(moved)
        raw.append(free)
        told = model.measured(state, stretches.moved[:, (k + 1) * chunk - 1], turns[:, k, -1])
        state = torch.where((known > k)[:, None], told, state)
    return torch.cat(out, 1), torch.cat(raw, 1)


def headings(turns_BL: Tensor) -> Tensor:
    """Mean heading (B, L) in degrees of each video frame, from the heading at the beginning of the stretch."""
    return turns_BL.cumsum(1) - turns_BL / 2


def in_world(moved_BL3: Tensor, headings_BL: Tensor) -> Tensor:
    """Displacements (z, x, up) (B, L, 3) in the axes of the heading at the beginning of the stretch."""
    angle = torch.deg2rad(headings_BL)
    forward, right, up = moved_BL3.unbind(-1)
    sin, cos = angle.sin(), angle.cos()
    return torch.stack([forward * cos - right * sin, forward * sin + right * cos, up], -1)


def motion_loss(moved: Tensor, raw: Tensor, stretches: Stretches, turns_BL: Tensor, still: float) -> Tensor:
    """Huber losses of displacements and of what they add up to; where nothing moves, ``raw`` belongs to the middle."""
    sound = (stretches.moved.abs() < FARTHEST).all(2, keepdim=True).float()
    error = (moved - stretches.moved) * sound
    loss = F.huber_loss(error, torch.zeros_like(error), delta=SMALL_STEP) / SMALL_STEP
    world = in_world(error, headings(turns_BL))
    for span, weight in SPANS.items():
        length = world.shape[1] // span * span
        if length:
            drift = world[:, :length].unflatten(1, (-1, span)).sum(2)
            loss = (
                loss
                + weight * F.huber_loss(drift, torch.zeros_like(drift), delta=SMALL_DRIFT) / SMALL_DRIFT / span**0.5
            )
    rests = (stretches.moved.abs() < RESTING).float()
    return loss + REST * (rests * raw.abs()).mean() / max(still, RESTING)


@shielded
def train_motion(
    tracks: Sequence[Track],
    training: MotionTraining,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EgoMotion:
    """Train on walks; the same seed gives the same weights.

    Raises:
        ValueError: no walk is as long as the longest stretch.
    """
    chunk, lengths = training.chunk, [len(track) // training.chunk for track in tracks]
    if not lengths or max(lengths) < training.longest:
        raise ValueError(
            f"no episode has {training.longest * chunk} frames: record longer ones, or set training.longest"
        )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        size = tracks[0].actions.shape[1]
        model = EgoMotion(EgoMotionConfig(actions=size, camera=tracks[0].camera, hidden=training.hidden))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), training.rate, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.rate, total_steps=training.steps, pct_start=0.1)
    for step, (stretches, known) in enumerate(_draws(tracks, lengths, training, generator)):
        moved, raw = unroll(model, stretches, chunk, known)
        turns = stretches.actions[..., model.config.camera.yaw_action]
        loss = motion_loss(moved, raw, stretches, turns, model.config.still)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress(step + 1, training.steps)
    return model.eval().requires_grad_(False)


def _draws(
    tracks: Sequence[Track], lengths: Sequence[int], training: MotionTraining, generator: torch.Generator
) -> Iterator[tuple[Stretches, Tensor]]:
    """Stretches of each step and how many of their chunks are known; they grow longer."""
    weights = torch.tensor([float(n) if n >= training.longest else 0.0 for n in lengths])
    for step in range(training.steps):
        share = step / max(1, training.steps - 1)
        chunks = round(training.shortest + (training.longest - training.shortest) * share)
        chosen = torch.multinomial(weights, training.batch, replacement=True, generator=generator).tolist()
        starts = torch.rand(training.batch, generator=generator)
        places = [(i, int(at * (lengths[i] - chunks + 1))) for i, at in zip(chosen, starts.tolist(), strict=True)]
        views = (torch.rand(training.batch, generator=generator) < training.erroneous).long()
        views = views.clamp(max=len(tracks[0].near) - 1)
        known = torch.randint(-1, training.known + 1, (training.batch,), generator=generator)
        # One step ahead of what is known, gravity and jumps are learned at once; freely running they never begin.
        told = torch.rand(training.batch, generator=generator) < training.told * (1 - share)
        known = torch.where(told, chunks, known)
        yield cut(tracks, places, chunks, training.chunk, views), known
