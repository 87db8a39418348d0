"""What a compositor learns from: recorded pictures, what memory draws of them, and what the network makes of them.

F frames of a walk, T latent frames, r frames per chunk, B chunks, K sources, H W pixels, A action vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.loading.walks import Walk
from worldsim.errors import UserError
from worldsim.models.patchify import previous_of
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.compositor import staying
from worldsim.simulation.memory.depth import DepthCompletion
from worldsim.simulation.memory.render import Drawing, Sources
from worldsim.simulation.world_model import WorldModel
from worldsim.training.memory.drawings import completed, drawing_of, punched

# Latent frames that lead up to those whose pictures are used, and pictures whose depth is found at once.
LEAD, PICTURES = 8, 32
# Of a walk, the network makes so many stretches of its window, and one in so many frames may be a source.
STRETCHES, STRIDE = 3, 4
# Frames between the last picture and what memory draws from, at most.
LONGEST_GAP = 400
# Share of chunks of which memory holds the last picture too, as it mostly does at play.
LATELY = 0.85
SOURCES = 5


@dataclass(frozen=True)
class Scene:
    """A walk with what networks say of it.

    Attributes:
        walk: what was recorded.
        lasts: frames before the chunks that are used, multiples of ``STRIDE``.
        generated: what the network makes of those chunks from their true past, uint8 (len(lasts), r, H, W, 3).
        inverse_depth: what depth completion says of one in ``STRIDE`` frames, 1/m (F / STRIDE, H, W) float16.
        confidence: of that, uint8 (F / STRIDE, H, W).
    """

    walk: Walk
    lasts: list[int]
    generated: Tensor
    inverse_depth: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class ChunkBatch:
    """B chunks, their r frames as rows in the order (B r).

    Attributes:
        drawn: what memory shows.
        screen: the last picture before the chunk, uint8.
        generated: what the network makes, uint8.
        truth: what was recorded, uint8.
        actions: that led to each frame (B r, A).
        may_stay: bool (B r, H, W), where the last picture may be kept.
        ages: frames between the last picture and the newest that memory has of it.
    """

    drawn: Drawing
    screen: Tensor
    generated: Tensor
    truth: Tensor
    actions: Tensor
    may_stay: Tensor
    ages: Tensor


@torch.inference_mode()
def scene_of(
    world: WorldModel,
    depth: DepthCompletion,
    walk: Walk,
    least_confidence: float,
    seed: int,
    fixed: Tensor,
    drawn: Tensor | None = None,
) -> Scene:
    """All that is needed of a walk, computed once.

    Args:
        world: generates.
        depth: what depth is found with.
        walk: what was recorded.
        least_confidence: depth below it is none.
        seed: of the network's noise.
        fixed: pixels (H, W) that do not show the world.
        drawn: what a memory draws of each latent frame (T, D, h, w), for a network that takes it; chunks are of those.
    """
    depths, sures = [], []
    lens = Intrinsics.of(walk.camera, *walk.frames.shape[1:3])
    for pictures, poses in zip(*(of[::STRIDE].split(PICTURES) for of in (walk.frames, walk.poses)), strict=True):
        said, sure = completed(depth, lens, pictures, poses)
        depths.append(said.half())
        sure = torch.where(sure >= least_confidence, sure, 0.0)
        sure[:, fixed] = 0
        sures.append((sure * 255).round().to(torch.uint8))
    r, window = world.chunk, world.dit.config.window + 1
    room = (len(walk) - 1) // r - window if drawn is None else len(drawn) - window
    if room < 0:
        raise UserError(f"walks must have {r * window + r + 1} frames or more, got {len(walk)}")
    lasts, made = [], []
    for first in np.linspace(0, room, STRETCHES).astype(int).tolist():
        for last, shown in _generated(world, walk, int(first), seed, drawn):
            lasts.append(last)
            made.append(shown)
    return Scene(walk, lasts, torch.stack(made), torch.cat(depths), torch.cat(sures))


def _generated(world: WorldModel, walk: Walk, first: int, seed: int, drawn: Tensor | None) -> list[tuple[int, Tensor]]:
    """What one evaluation from noise makes of chunks, the true past given: what play does, a window at once.

    Of the window of latent frames that begins at number ``first``; each with the frame before it.
    """
    r, window = world.chunk, world.dit.config.window + 1
    frames, actions = walk.frames[first * r :], walk.actions[first * r :]
    latents = world.encode(frames[None, : 1 + (window - 1) * r])
    nothing = torch.zeros(1, 1, r, actions.shape[1])
    led = torch.cat([nothing, actions[: (window - 1) * r].view(1, window - 1, r, -1)], 1)
    present = torch.ones(1, window, dtype=torch.bool)
    present[:, 0] = False
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed + first))
    given = None
    if drawn is not None:
        given = drawn[None, first : first + window].float() * present[..., None, None, None]
    context = (previous_of(latents), torch.zeros(present.shape), led, present)
    made = world.sampler.predict(noise, *context, drawn=given)
    # The pictures of the lead are the recorded ones; the decoder's stream has them as its past.
    made[:, :LEAD] = latents[:, :LEAD]
    shown = torch.from_numpy(world.decode(made)[0])[0]
    numbers = range(LEAD, window)
    return [(at, shown[n]) for n in numbers if (at := (first + n - 1) * r) % STRIDE == 0]


class Scenes:
    """Chunks of scenes in random order. A batch is a function of (seed, step) alone."""

    def __init__(self, scenes: Sequence[Scene], chunk: int, fixed: Tensor) -> None:
        self.scenes, self.chunk, self.fixed = list(scenes), chunk, fixed
        self.camera = scenes[0].walk.camera
        height, width = scenes[0].walk.frames.shape[1:3]
        self.lens, self.rows = Intrinsics.of(self.camera, height, width), self.camera.rows_of_world(height)

    def batch(self, seed: int, step: int, size: int, *, drift: float, holes: float) -> ChunkBatch:
        """Batch ``step``: ``size`` chunks.

        Args:
            seed: of the draws.
            step: number of the batch.
            size: chunks B.
            drift: largest error of a source's position, for the distance to it.
            holes: largest share of a drawing that is punched out.
        """
        random = np.random.default_rng((seed, step))
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        scenes = [self.scenes[i] for i in random.integers(len(self.scenes), size=size)]
        picks = [int(random.integers(len(scene.lasts))) for scene in scenes]
        last = [scene.lasts[pick] for scene, pick in zip(scenes, picks, strict=True)]
        gaps = [_gaps(random, at) for at in last]
        sources = self._sources(scenes, last, gaps)
        now = torch.stack([s.walk.poses[t + 1 : t + 1 + self.chunk] for s, t in zip(scenes, last, strict=True)])
        before = torch.stack([s.walk.poses[t] for s, t in zip(scenes, last, strict=True)])
        far = sources.poses[..., :3] - now[:, :1, :3]
        wrong = torch.rand(size, 1, 1, generator=generator) * drift * far.norm(dim=-1, keepdim=True)
        error = torch.randn(far.shape, generator=generator) * wrong
        moved = torch.cat([sources.poses[..., :3] + error, sources.poses[..., 3:]], -1)
        each = torch.arange(size).repeat_interleave(self.chunk)
        some = Sources(*(t[each] for t in vars(replace(sources, poses=moved)).values()))
        steps = torch.tensor(last) // self.chunk + 1
        drawn = drawing_of(self.lens, some, now.flatten(0, 1), self.fixed, steps_B=steps[each])
        covered = punched(drawn.covered, holes, generator)
        return ChunkBatch(
            drawn=replace(drawn, covered=covered, picture=torch.where(covered[..., None], drawn.picture, 0)),
            screen=torch.stack([s.walk.frames[t] for s, t in zip(scenes, last, strict=True)])[each],
            generated=torch.cat([s.generated[pick] for s, pick in zip(scenes, picks, strict=True)]),
            truth=torch.cat([s.walk.frames[t + 1 : t + 1 + self.chunk] for s, t in zip(scenes, last, strict=True)]),
            actions=torch.cat([s.walk.actions[t : t + self.chunk] for s, t in zip(scenes, last, strict=True)]),
            may_stay=staying(before[each], now.flatten(0, 1), self.fixed),
            ages=torch.tensor([min(g) for g in gaps])[each],
        )

    def _sources(self, scenes: Sequence[Scene], last: Sequence[int], gaps: Sequence[Sequence[int]]) -> Sources:
        """Frames so long before the last ones, the newest first, filled up."""
        size, (height, width) = len(scenes), (self.lens.height, self.lens.width)
        pictures = torch.zeros(size, SOURCES, height, width, 3, dtype=torch.uint8)
        depth = torch.zeros(size, SOURCES, height, width)
        confidence = torch.zeros(size, SOURCES, height, width, dtype=torch.uint8)
        poses, taken = torch.zeros(size, SOURCES, 5), torch.full((size, SOURCES), -1)
        for row, (scene, t, before) in enumerate(zip(scenes, last, gaps, strict=True)):
            at, n = [t - gap for gap in before], len(before)
            looked = [frame // STRIDE for frame in at]
            pictures[row, :n], poses[row, :n] = scene.walk.frames[at], scene.walk.poses[at]
            depth[row, :n], confidence[row, :n] = scene.inverse_depth[looked].float(), scene.confidence[looked]
            taken[row, :n] = torch.tensor(at) // self.chunk
        return Sources(pictures, depth, confidence, poses, taken)


def _gaps(random: np.random.Generator, last: int) -> list[int]:
    """How long before frame ``last`` each source was seen, in rising order; mostly one of them just now.

    Long ago as often as lately, by order of magnitude.
    """
    count = int(random.integers(1, SOURCES + 1))
    longest = min(LONGEST_GAP, last) // STRIDE
    found = {int(g) for g in np.exp(random.uniform(0, np.log(longest + 1), size=count))}
    if random.random() < LATELY:
        found = {0, *sorted(found)[1:]}
    return [gap * STRIDE for gap in sorted(found) if gap <= longest]
