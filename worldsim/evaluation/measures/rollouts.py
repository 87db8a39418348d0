"""What a world dreams from recorded pasts: free-running, teacher-forced, one action held.

B clips, K chunks, r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.types import Progress
from worldsim.simulation.state import Step, WorldState
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
# Between the seeds of a clip's samples: no other clip has these.
OTHER_NOISE = 1_000_003
# How far away one looks, and how fast at most (degrees, degrees a frame).
AWAY, FASTEST = 72.0, 18.0


def begin(world: WorldModel, clips: Clips, prefix: int, first: int = 0) -> WorldState:
    """The state after the past of each clip; ``first``: number of the first clip among all, which decides the noise.

    Branches from one past differ by their actions only, since noise depends on the clip and the step alone.
    """
    seeds = list(range(first, first + len(clips)))
    past = clips.between(0, prefix)
    return world.prefill(past.frames, past.actions, seeds, poses=past.poses, depth=depth_for(world, past))


def depth_for(world: WorldModel, past: Clips) -> NDArray[np.uint16] | None:
    """Depth of the last frames of a past (B, H, W) where a world makes use of it and it was recorded."""
    return None if world.memory is None else past.last_depth()


def dream(world: WorldModel, state: WorldState, future: NDArray) -> Iterator[tuple[Frames, NDArray[np.float32]]]:
    """Chunk by chunk under actions (B, K, r, A): frames (B, r, H, W, 3), root mean square of the latents (B,).

    ``state`` stays usable.
    """
    for _, step in stepped(world, state, future):
        yield step.frames, step.latents.float().square().mean((1, 2, 3)).sqrt().cpu().numpy()


def stepped(
    world: WorldModel, state: WorldState, future: NDArray, poses: Tensor | None = None
) -> Iterator[tuple[WorldState, Step]]:
    """Chunk by chunk under actions (B, K, r, A): the state, usable until the next is asked for, and the step to it.

    ``poses``: where the camera is taken to be (B, K, r, 5); None: where the actions lead. ``state`` stays usable.
    """
    for k in range(future.shape[1]):
        known = {} if poses is None else {"poses": poses[:, k]}
        state, step = world.step(state, future[:, k], inplace=k > 0, **known)
        yield state, step


def rollout(world: WorldModel, state: WorldState, future: NDArray) -> Frames:
    """Free-running futures uint8 (B, K, r, H, W, 3) under ``future`` actions (B, K, r, A); ``state`` stays usable."""
    return np.stack([shown for shown, _ in dream(world, state, future)], 1)


def kept_frames(
    world: WorldModel, clips: Clips, prefix: int, actions: NDArray[np.float32], kept: NDArray[np.int64], rows: int = 8,
    progress: Progress = lambda *_: None, stage: str = "rollouts",
) -> Frames:  # fmt: skip
    """Chosen frames (B, n, H, W, 3) of futures; nothing else is kept, since minutes of pictures would not fit.

    Args:
        world: dreams.
        clips: the pasts (B).
        prefix: frames of a past.
        actions: what is done after each past, one a frame (B, F, A); nothing is done after those.
        kept: numbers (B, n) of the frames: how many actions lead there. 0 is the last frame of the past.
        rows: side by side; they go on until the last frame of any of them is there, so rows of like length belong
            together.
        progress: told ``stage``, frames done, and of how many.
        stage: what progress is told.
    """
    r = world.chunk
    out = np.repeat(clips.frames[:, prefix - 1][:, None], kept.shape[1], 1)
    ends = [-(-int(kept[at : at + rows].max()) // r) for at in range(0, len(clips), rows)]
    done = 0
    for (at, part), chunks in zip(clips.batches(rows), ends, strict=True):
        wanted = kept[at : at + len(part)]
        future = np.tile(world.spec.idle(), (len(part), chunks * r, 1))
        given = actions[at : at + len(part), : chunks * r]
        future[:, : given.shape[1]] = given
        future = future.reshape(len(part), chunks, r, -1)
        for k, (frames, _) in enumerate(dream(world, begin(world, part, prefix, at), future)):
            row, column = np.nonzero((wanted > k * r) & (wanted <= (k + 1) * r))
            out[at + row, column] = frames[row, wanted[row, column] - k * r - 1]
            done += r
            progress(stage, done, sum(ends) * r)
    return out


def future_of(clips: Clips, prefix: int, chunks: int, chunk: int, actions: NDArray | None = None) -> NDArray:
    """The actions (B, K, r, A) after the past of each clip; ``actions``: those of other clips, shaped as the clips'."""
    taken = (clips.actions if actions is None else actions)[:, prefix - 1 : prefix - 1 + chunks * chunk]
    return taken.reshape(len(clips), chunks, chunk, -1)


def truth_of(clips: Clips, prefix: int, chunks: int, chunk: int) -> Frames:
    """The recorded frames (B, K, r, H, W, 3) after the past of each clip."""
    taken = clips.frames[:, prefix : prefix + chunks * chunk]
    return taken.reshape(len(clips), chunks, chunk, *taken.shape[2:])


def held(world: WorldModel, chunks: int, **action: Any) -> NDArray[np.float32]:
    """One action held for some chunks: (K, r, A)."""
    return np.tile(world.spec.vector(action), (chunks, world.chunk, 1))


def look_away(world: WorldModel, gap: int, degrees: float = AWAY) -> dict[str, NDArray[np.float32]]:
    """Actions (K, r, A) that look away and come back after ``gap`` chunks, and their controls of equal length.

    ``return``: turn right by up to so many degrees, wait, turn left as far; ``away``: turn right twice as far (another
    view after the same time); ``stay``: do nothing. Each ends with a chunk of nothing.
    """
    r = world.chunk
    half = max(1, gap // 2)
    frames = half * r
    turning = min(frames, max(4, round(degrees / 8)))
    rate = min(FASTEST, degrees / turning)
    out = np.zeros((2 * frames, world.spec.size), np.float32)
    out[:turning, -1] = rate
    back, on = out.copy(), out.copy()
    back[frames : frames + turning, -1], on[frames : frames + turning, -1] = -rate, rate
    rest = np.zeros((r, world.spec.size), np.float32)
    branches = {"return": back, "away": on, "stay": np.zeros_like(out)}
    return {k: np.concatenate([v, rest]).reshape(-1, r, world.spec.size) for k, v in branches.items()}


def held_rollouts(
    world: WorldModel, clips: Clips, prefix: int, branches: Mapping[str, NDArray[np.float32]], rows: int = 8
) -> Iterator[tuple[int, dict[str, Frames]]]:
    """Futures (b, K, r, H, W, 3) of all clips under each branch of actions (K, r, A), some rows at a time.

    Yields the number of the first row with the futures by name of the branch.
    """
    for at, part in clips.batches(rows):
        state = begin(world, part, prefix, at)
        yield at, {name: rollout(world, state, np.repeat(b[None], len(part), 0)) for name, b in branches.items()}


def all_held(
    world: WorldModel, clips: Clips, prefix: int, branches: Mapping[str, NDArray[np.float32]], rows: int = 8
) -> dict[str, Frames]:
    """The futures of all clips (B, K, r, H, W, 3) by name of the branch."""
    parts = [made for _, made in held_rollouts(world, clips, prefix, branches, rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in branches}


def teacher_forced(
    world: WorldModel, clips: Clips, prefix: int, place: int, first_seed: int, samples: int = 1
) -> Frames:
    """The next chunk after the true past up to ``place`` chunks beyond the prefix, by noise: (N, B, r, H, W, 3)."""
    end = prefix + place * world.chunk
    past = clips.between(end - prefix, end)
    state, future = begin(world, past, prefix, first_seed), future_of(clips, end, 1, world.chunk)
    others = [replace(state, seeds=state.seeds + n * OTHER_NOISE) for n in range(samples)]
    return np.stack([rollout(world, other, future)[:, 0] for other in others])


def reconstruction(world: WorldModel, clips: Clips, prefix: int, chunks: int) -> Frames:
    """The recorded futures through encoder and decoder (B, K, r, H, W, 3): the most that a world could show."""
    coded, _ = world.decode(world.encode(clips.frames[:, : prefix + chunks * world.chunk]))
    return coded[:, -chunks:]


def recorded_and_predicted(
    world: WorldModel, clips: Clips, row: int, prefix: int, chunks: int
) -> tuple[Frames, Frames]:
    """What was recorded and what is dreamt for K chunks after the past of one clip, each (K, r, H, W, 3)."""
    part = clips.part(slice(row, row + 1))
    made = rollout(world, begin(world, part, prefix, row), future_of(part, prefix, chunks, world.chunk))
    return truth_of(part, prefix, chunks, world.chunk)[0], made[0]


def film_strips(world: WorldModel, clips: Clips, rows: Sequence[int], prefix: int, chunks: int, count: int) -> Frames:
    """Some frames of chosen clips: what was recorded, then what is dreamt for K chunks (n, 2 count, H, W, 3)."""
    at = np.linspace(0, chunks - 1, count).astype(int)
    pairs = [recorded_and_predicted(world, clips, row, prefix, chunks) for row in rows]
    return np.stack([np.concatenate([film[at, -1] for film in pair]) for pair in pairs])
