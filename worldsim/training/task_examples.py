"""What task heads learn from: a world's features of recorded play, with the truth about each moment.

N moments, D width of the network, B windows, T latent frames, r video frames per chunk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.captions.templates import clip_caption
from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.loading.task_facts import episode_facts, pieces_of_wood
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.diffusion.flow import interpolate, time_steps
from worldsim.diffusion.noise import noise
from worldsim.models.heads import HeadOutputs
from worldsim.models.patchify import previous_of
from worldsim.models.shield import shielded
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.facts import LEARNED

# Latent frames of a window, at most, and how many of them, at most a quarter, only give context to those after them.
WINDOW, CONTEXT = 32, 8
ROWS = 4
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TaskExamples:
    """N moments.

    features (N, 2 D); truth and whether it is known, by fact (N,); motion of the world's own head and the true one:
    forward, right, up in metres (N, 3), nan where unknown; captions (N,); names of the episodes by store.
    """

    features: Tensor
    truth: dict[str, Tensor]
    known: dict[str, Tensor]
    motion: Tensor
    moved: Tensor
    captions: list[str]
    episodes: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)


@shielded
@torch.inference_mode()
def recorded_heads(world: WorldModel, frames: Tensor, actions: Tensor, seeds: Sequence[int]) -> HeadOutputs:
    """What a world's heads put out over recorded play, at the signal level at which they are read when playing.

    Args:
        world: the world.
        frames: uint8 (B, 1 + r (T - 1), H, W, 3), T at most the network's window + 1.
        actions: float32 (B, r (T - 1), A).
        seeds: of the noise, one per row.
    """
    latents = world.encode(frames)
    batch, count = latents.shape[:2]
    given = torch.zeros(batch, count, world.chunk, world.spec.size)
    given[:, 1:] = actions.reshape(batch, count - 1, world.chunk, -1)
    present = torch.ones(batch, count, dtype=torch.bool)
    present[:, 0] = False
    sampling = world.config.sampling
    # Folded, the last denoising evaluation is the one that is read and kept; else the one that writes the cache.
    level = float(time_steps(sampling.steps)[-2]) if sampling.reuse_last_eval_for_cache else sampling.context_tau
    size = 1.0 / sampling.steps if sampling.shortcut and sampling.reuse_last_eval_for_cache else 0.0
    tau = torch.full((batch, count), level)
    noisy = interpolate(latents, noise(seeds, [0] * batch, tuple(latents.shape[1:])), tau)
    previous = previous_of(latents)
    with torch.autocast("cpu", torch.bfloat16, enabled=world.bf16):
        return world.dit(noisy, previous, tau, torch.full_like(tau, size), given, present).heads


@shielded
def make_examples(
    world: WorldModel,
    stores: Sequence[EpisodeStore],
    split: Split,
    *,
    windows: int,
    rare_first: bool = False,
    seed: int = 0,
    only: EpisodeFilter = ALL,
    progress: Progress = lambda done, total: None,
) -> TaskExamples:
    """Moments of up to ``windows`` windows of a split, drawn uniformly; no moment is in two of them.

    Args:
        world: gives the features.
        stores: where the episodes are.
        split: which of them.
        windows: how many, at most.
        rare_first: fill up to half of them with windows in which something rare happens (to train, not to judge by).
        seed: of the draw and of the noise.
        only: the episodes that may be used.
        progress: called with windows done and in all.

    Raises:
        ValueError: the split has no episode that is long enough.
        UserError: a store has episodes of the split, and none may be used.
    """
    names = [only.names(store, split) for store in stores]
    places = _draw(stores, names, world, windows, rare_first, seed)
    if not places:
        raise ValueError(f"no {split} episode has {_frames(world)} frames")
    parts: list[TaskExamples] = []
    for at in range(0, len(places), ROWS):
        chosen = places[at : at + ROWS]
        clips = [stores[s].read(name, start, start + _frames(world)) for s, name, start in chosen]
        parts.append(_read(world, clips, [seed * 1_000_003 + at + i for i in range(len(chosen))]))
        progress(min(len(places), at + ROWS), len(places))
    episodes: dict[str, list[str]] = {}
    for s, name, _ in places:
        episodes.setdefault(str(stores[s].url), []).append(name)
    return TaskExamples(
        features=torch.cat([p.features for p in parts]),
        truth={n: torch.cat([p.truth[n] for p in parts]) for n in LEARNED},
        known={n: torch.cat([p.known[n] for p in parts]) for n in LEARNED},
        motion=torch.cat([p.motion for p in parts]),
        moved=torch.cat([p.moved for p in parts]),
        captions=[c for p in parts for c in p.captions],
        episodes={store: sorted(set(names)) for store, names in episodes.items()},
    )


def _frames(world: WorldModel) -> int:
    return 1 + world.chunk * (_latents(world) - 1)


def _latents(world: WorldModel) -> int:
    return min(world.dit.config.window + 1, WINDOW)


def _context(world: WorldModel) -> int:
    return min(CONTEXT, _latents(world) // 4)


def _draw(
    stores: Sequence[EpisodeStore],
    names: Sequence[Sequence[str]],
    world: WorldModel,
    windows: int,
    rare_first: bool,
    seed: int,
) -> list[tuple[int, str, int]]:
    """Store, episode and first frame of each window, drawn from episodes by store."""
    frames, stride = _frames(world), world.chunk * (_latents(world) - _context(world))
    places, rare = [], []
    for s, store in enumerate(stores):
        for name in names[s]:
            starts = range(0, int(store.manifest(name)["frames"]) - frames + 1, stride)
            places += [(s, name, start) for start in starts]
            if rare_first and len(starts):
                rare += [(s, name, start) for start in starts if _is_rare(store, name, start, frames)]
    rng = np.random.default_rng((seed, len(places)))
    first = [rare[i] for i in rng.permutation(len(rare))[: windows // 2]]
    taken = set(first)
    rest = [places[i] for i in rng.permutation(len(places)) if places[i] not in taken]
    return sorted(first + rest[: windows - len(first)])


def _is_rare(store: EpisodeStore, name: str, start: int, frames: int) -> bool:
    """Whether trunk is cut in a window: events stand in the manifest, so that no picture has to be read."""
    events = store.manifest(name)["events"]
    return pieces_of_wood([e for e in events if start < e["frame"] < start + frames]) > 0


def _read(world: WorldModel, clips: list[Episode], seeds: list[int]) -> TaskExamples:
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips]))
    actions = torch.from_numpy(np.stack([clip.actions[:-1] for clip in clips]))
    heads = recorded_heads(world, frames, actions, seeds)
    truth, known = {n: [] for n in LEARNED}, {n: [] for n in LEARNED}
    moved, context = [], _context(world)
    for clip in clips:
        facts, reported = episode_facts(clip, world.chunk)
        count = len(facts) - context
        for name in LEARNED:
            truth[name].append(torch.from_numpy(getattr(facts, name)[context:]).clamp(0, 1))
            known[name].append(torch.full((count,), name in reported))
        change = np.diff(facts.position, axis=0)[context - 1 :]
        change = change if "position" in reported else np.full_like(change, np.nan)
        moved.append(torch.from_numpy(change))
    late = slice(context, None)
    return TaskExamples(
        features=heads.pooled[:, late].flatten(0, 1).float().clone(),
        truth={n: torch.cat(v) for n, v in truth.items()},
        known={n: torch.cat(v) for n, v in known.items()},
        motion=heads.motion[:, late, :3].flatten(0, 1).float().clone(),
        moved=torch.cat(moved),
        captions=[caption for clip in clips for caption in [clip_caption(clip)] * (heads.pooled.shape[1] - context)],
    )
