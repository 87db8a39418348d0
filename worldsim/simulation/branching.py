"""Counterfactual trees: one past, one noise, futures that part where their actions do.

K chunks, r frames per chunk, F = K r video frames, H W pixels, A action vector.

Segments that several futures have in common are computed once. All rows are stepped one by one: in a batch, matrix
products may round a row by where it stands, and equal actions would differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.simulation.branch_tree import Actions, Branch, Node, RewardFunction, Segment, Tree, nodes_of
from worldsim.simulation.state import WorldState

if TYPE_CHECKING:
    from worldsim.simulation.world_model import WorldModel


def branch(
    world: "WorldModel",
    prefix: Any,
    branches: Sequence[Any],
    *,
    seed: int = 0,
    judge: RewardFunction | None = None,
) -> list[Branch]:
    """Counterfactual futures: same past, same noise, other actions.

    Args:
        world: predicts.
        prefix: frames uint8 (F, H, W, 3), a pair of frames and actions (F - 1, A), an episode, or a state, such as
            that of an earlier branch (see ``prefill_context``).
        branches: action scripts or actions (F, A); a pair of one and a list is a branch point.
        seed: of the noise.
        judge: gives the rewards; default: the world's own.

    Returns:
        One per future: frames, rewards, poses, actions, state. Equal actions give equal bytes.

    Raises:
        ScriptError: a script has a syntax error, at a line and column.
        ValueError: shapes do not fit.
    """
    state, frame = prefill_context(world, prefix, seed)
    nodes = nodes_of(branches, world.spec, world.config.fps)
    return expand_tree(world, state, nodes, frame=frame, judge=judge).branches


def expand_tree(
    world: "WorldModel",
    past: WorldState,
    nodes: Sequence[Node],
    *,
    frame: NDArray[np.uint8] | None = None,
    judge: RewardFunction | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Tree:
    """Compute every future of a tree from one past, all with the same noise.

    The longest future decides how far all go (whole chunks); the others do nothing after their last action. A segment
    may end within a chunk: what follows it then shares that chunk's first frames' actions.

    Args:
        world: predicts.
        past: one row; left usable.
        nodes: the tree's first segments.
        frame: the last picture of the past, uint8 (H, W, 3), for players who look.
        judge: gives the rewards; default: the world's own.
        progress: called with the number of chunks computed so far.
    """
    expander = _TreeExpander(world, judge, progress)
    leaves: list[_PartialBranch] = []
    partial = _PartialBranch(state=past.select([0]), frame=frame)
    for node in nodes:
        leaves += expander.expand(node, partial)
    longest = max(len(leaf.actions) + len(leaf.waiting) for leaf in leaves)
    chunks = -(-longest // world.chunk)
    return Tree([expander.finish(leaf, chunks) for leaf in leaves], expander.segments)


@dataclass(frozen=True, kw_only=True)
class _PartialBranch:
    """A future as far as it has been computed. ``waiting``: actions that do not yet fill a chunk."""

    state: WorldState
    frame: NDArray[np.uint8] | None = None
    actions: tuple[Actions, ...] = ()
    waiting: tuple[Actions, ...] = ()
    frames: tuple[NDArray[np.uint8], ...] = ()
    rewards: tuple[float, ...] = ()
    pose: tuple[NDArray[np.float32], ...] = ()
    ended: int | None = None
    path: tuple[int, ...] = ()


@dataclass
class _TreeExpander:
    """Computes a tree's futures, each segment once."""

    world: "WorldModel"
    judge: RewardFunction | None
    progress: Callable[[int], None]
    segments: list[Segment] = field(default_factory=list)
    chunks: int = 0

    def expand(self, node: Node, partial: _PartialBranch) -> Iterator[_PartialBranch]:
        """The futures that begin with a node where ``partial`` ends."""
        number, first = len(self.segments), len(partial.actions) + len(partial.waiting)
        self.segments.append(
            Segment(name=node.name, parent=partial.path[-1] if partial.path else -1, first=first, last=first)
        )
        partial = self.play(node, replace(partial, path=(*partial.path, number)))
        last = len(partial.actions) + len(partial.waiting)
        self.segments[number] = replace(self.segments[number], last=last)
        if not node.branches:
            yield partial
        for following in node.branches:
            yield from self.expand(following, partial)

    def play(self, node: Node, partial: _PartialBranch) -> _PartialBranch:
        player = _Fixed(node.actions) if node.player is None else node.player()
        left = len(node.actions) if node.actions is not None else node.frames
        while left > 0:
            wanted = min(left, self.world.chunk - len(partial.waiting))
            chosen = np.asarray(player.choose(partial.state, partial.frame, wanted), np.float32)[:wanted]
            partial = replace(partial, waiting=(*partial.waiting, *chosen))
            left = left - len(chosen) if len(chosen) == wanted else 0
            if len(partial.waiting) == self.world.chunk:
                partial = self.step(partial)
        return partial

    def step(self, partial: _PartialBranch) -> _PartialBranch:
        """Compute a chunk with the actions that wait."""
        actions = np.stack(partial.waiting)[None]
        before = None if self.judge is None else self.judge.facts(partial.state)
        # Other futures may start from the same state: it must not be stepped in place.
        state, out = self.world.step(partial.state, actions)
        rewards, ends = (out.reward, [False]) if self.judge is None else self.judge.judge(before, state, out, actions)
        over = bool(ends[0]) or bool(out.terminated[0])
        done = len(partial.actions) + self.world.chunk
        self.chunks += 1
        self.progress(self.chunks)
        return replace(
            partial,
            state=state,
            frame=out.frames[0, -1],
            actions=(*partial.actions, *partial.waiting),
            waiting=(),
            frames=(*partial.frames, out.frames[0]),
            rewards=(*partial.rewards, 0.0 if partial.ended is not None else float(rewards[0])),
            pose=(*partial.pose, out.pose[0]),
            ended=done if over and partial.ended is None else partial.ended,
        )

    def finish(self, leaf: _PartialBranch, chunks: int) -> Branch:
        """Go on to the end of the longest future, doing nothing."""
        while len(leaf.frames) < chunks:
            missing = self.world.chunk - len(leaf.waiting)
            leaf = self.step(replace(leaf, waiting=(*leaf.waiting, *[self.world.spec.idle()] * missing)))
        return Branch(
            name=", ".join(self.segments[i].name for i in leaf.path),
            actions=np.stack(leaf.actions),
            frames=np.concatenate(leaf.frames),
            rewards=np.array(leaf.rewards, np.float32),
            pose=np.stack(leaf.pose),
            ended=leaf.ended,
            state=leaf.state,
            segments=leaf.path,
        )


class _Fixed:
    """Plays given actions."""

    def __init__(self, actions: Actions | None):
        assert actions is not None, "a node has actions or a player"
        self._left = actions

    def choose(self, state: WorldState, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        chosen, self._left = self._left[:count], self._left[count:]
        return chosen


def prefill_context(world: "WorldModel", prefix: Any, seed: int) -> tuple[WorldState, NDArray[np.uint8] | None]:
    """A state (one row) and the last picture of a past, from whatever holds one.

    Args:
        world: takes it in.
        prefix: a state; or frames uint8 (F, H, W, 3); or a pair of frames and actions (F - 1, A); or anything with
            ``frames`` and ``actions``, and ``poses`` (F, 5) and ``depth`` (H, W) where they are known: an episode
            (whose last action leads beyond it), a beginning. The oldest frames are dropped so that F = 1 + r k. Where
            there are no actions, nothing was pressed.
        seed: of the noise; a state has its own.

    Raises:
        ValueError: shapes do not fit.
    """
    if isinstance(prefix, WorldState):
        return prefix.select([0]), None
    poses, depth = (getattr(prefix, name, None) for name in ("poses", "depth"))
    if isinstance(prefix, tuple):
        frames, actions = prefix
    else:
        frames, actions = getattr(prefix, "frames", prefix), getattr(prefix, "actions", None)
    frames = np.asarray(frames)
    if frames.ndim == 3:
        frames = frames[None]
    if frames.ndim != 4 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"a past is uint8 frames (F, H, W, 3), got {frames.dtype} {frames.shape}")
    needed = len(frames) - 1
    actions = np.zeros((needed, world.spec.size), np.float32) if actions is None else np.asarray(actions, np.float32)
    if len(actions) not in (needed, needed + 1):
        raise ValueError(f"{len(frames)} frames of past need {needed} actions between them, got {len(actions)}")
    surplus = needed % world.chunk
    with torch.inference_mode():
        known = None if poses is None else np.asarray(poses, np.float32)[None, surplus:]
        past = frames[None, surplus:], actions[None, surplus:needed], [seed]
        state = world.prefill(*past, poses=known, depth=None if depth is None else np.asarray(depth)[None])
    return state, frames[-1]
