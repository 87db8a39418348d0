"""Counterfactual trees: one past, one noise, futures that part where their actions do.

K chunks, r frames per chunk, F = K r video frames, H W pixels, A action vector.

Stretches that several futures have in common are dreamed once. All rows are stepped one by one: in a batch, matrix
products may round a row by where it stands, and equal actions would differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.simulation.branch_tree import Actions, Node
from worldsim.simulation.state import WorldState

if TYPE_CHECKING:
    from worldsim.simulation.world_model import Step, WorldModel

TERMINATION_THRESHOLD = 0.5


class Judge(Protocol):
    """Gives reward, as ``worldsim.envs.learned.tasks.DreamTask`` does."""

    def facts(self, state: WorldState) -> Any:
        """What has to be known of the moment before a step."""
        ...

    def judge(
        self, before: Any, state: WorldState, out: "Step", actions: Actions
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rewards and ends (B,) of a step under actions (B, r, A) that led to ``state``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A node in a grown tree: frames ``first`` to ``last`` (exclusive) of its futures; ``parent`` is -1 at the root."""

    name: str
    parent: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One future.

    Attributes:
        name: the names of its stretches.
        actions: float32 (F, A), as they were played.
        frames: uint8 (F, H, W, 3).
        rewards: float32 (K,), zero after the end.
        pose: float32 (K, 5): x, y, z (metres), yaw, pitch (degrees) relative to the end of the past.
        ended: the frame after which the episode would be over, or None; the dream goes on.
        state: where the world stands after it: a past for further branches.
        stretches: numbers of its stretches, from the root on.
    """

    name: str
    actions: Actions
    frames: NDArray[np.uint8]
    rewards: NDArray[np.float32]
    pose: NDArray[np.float32]
    ended: int | None
    state: WorldState
    stretches: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """Every future of a tree, in the order in which it is written, and the stretches that they are made of."""

    branches: list[Branch]
    stretches: list[Stretch]


def grow(
    world: "WorldModel",
    past: WorldState,
    nodes: Sequence[Node],
    *,
    frame: NDArray[np.uint8] | None = None,
    judge: Judge | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Tree:
    """Dream every future of a tree from one past, all with the same noise.

    The longest future decides how far all go (whole chunks); the others do nothing after their last action. A stretch
    may end within a chunk: what follows it then shares that chunk's first frames' actions.

    Args:
        world: dreams.
        past: one row; left usable.
        nodes: the tree's first stretches.
        frame: the last picture of the past, uint8 (H, W, 3), for players who look.
        judge: gives the rewards; default: the world's own.
        progress: told how many chunks have been dreamed.
    """
    garden = _Garden(world, judge, progress)
    leaves: list[_Bud] = []
    bud = _Bud(state=past.select([0]), frame=frame)
    for node in nodes:
        leaves += garden.grow(node, bud)
    longest = max(len(leaf.actions) + len(leaf.waiting) for leaf in leaves)
    chunks = -(-longest // world.chunk)
    return Tree([garden.finish(leaf, chunks) for leaf in leaves], garden.stretches)


@dataclass(frozen=True, kw_only=True)
class _Bud:
    """A future as far as it has grown. ``waiting``: actions that do not yet fill a chunk."""

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
class _Garden:
    world: "WorldModel"
    judge: Judge | None
    progress: Callable[[int], None]
    stretches: list[Stretch] = field(default_factory=list)
    dreamed: int = 0

    def grow(self, node: Node, bud: _Bud) -> Iterator[_Bud]:
        """The futures that begin with a node where ``bud`` ends."""
        number, first = len(self.stretches), len(bud.actions) + len(bud.waiting)
        self.stretches.append(Stretch(name=node.name, parent=bud.path[-1] if bud.path else -1, first=first, last=first))
        bud = self.play(node, replace(bud, path=(*bud.path, number)))
        last = len(bud.actions) + len(bud.waiting)
        self.stretches[number] = replace(self.stretches[number], last=last)
        if not node.branches:
            yield bud
        for following in node.branches:
            yield from self.grow(following, bud)

    def play(self, node: Node, bud: _Bud) -> _Bud:
        player = _Fixed(node.actions) if node.player is None else node.player()
        left = len(node.actions) if node.actions is not None else node.frames
        while left > 0:
            wanted = min(left, self.world.chunk - len(bud.waiting))
            chosen = np.asarray(player.choose(bud.state, bud.frame, wanted), np.float32)[:wanted]
            bud = replace(bud, waiting=(*bud.waiting, *chosen))
            left = left - len(chosen) if len(chosen) == wanted else 0
            if len(bud.waiting) == self.world.chunk:
                bud = self.step(bud)
        return bud

    def step(self, bud: _Bud) -> _Bud:
        """Dream a chunk with the actions that wait."""
        actions = np.stack(bud.waiting)[None]
        before = None if self.judge is None else self.judge.facts(bud.state)
        # Other futures may grow from the same state: it is not given away.
        state, out = self.world.step(bud.state, actions)
        rewards, ends = (out.reward, [False]) if self.judge is None else self.judge.judge(before, state, out, actions)
        over = bool(ends[0]) or bool(out.termination[0] > TERMINATION_THRESHOLD)
        done = len(bud.actions) + self.world.chunk
        self.dreamed += 1
        self.progress(self.dreamed)
        return replace(
            bud,
            state=state,
            frame=out.frames[0, -1],
            actions=(*bud.actions, *bud.waiting),
            waiting=(),
            frames=(*bud.frames, out.frames[0]),
            rewards=(*bud.rewards, 0.0 if bud.ended is not None else float(rewards[0])),
            pose=(*bud.pose, out.pose[0]),
            ended=done if over and bud.ended is None else bud.ended,
        )

    def finish(self, leaf: _Bud, chunks: int) -> Branch:
        """Go on to the end of the longest future, doing nothing."""
        while len(leaf.frames) < chunks:
            missing = self.world.chunk - len(leaf.waiting)
            leaf = self.step(replace(leaf, waiting=(*leaf.waiting, *[self.world.spec.idle()] * missing)))
        return Branch(
            name=", ".join(self.stretches[i].name for i in leaf.path),
            actions=np.stack(leaf.actions),
            frames=np.concatenate(leaf.frames),
            rewards=np.array(leaf.rewards, np.float32),
            pose=np.stack(leaf.pose),
            ended=leaf.ended,
            state=leaf.state,
            stretches=leaf.path,
        )


class _Fixed:
    """Plays given actions."""

    def __init__(self, actions: Actions | None):
        assert actions is not None, "a node has actions or a player"
        self._left = actions

    def choose(self, state: WorldState, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        chosen, self._left = self._left[:count], self._left[count:]
        return chosen


def past_of(world: "WorldModel", prefix: Any, seed: int) -> tuple[WorldState, NDArray[np.uint8] | None]:
    """A state (one row) and the last picture of a past, from whatever holds one.

    Args:
        world: takes it in.
        prefix: a state; or frames uint8 (F, H, W, 3); or a pair of frames and actions (F - 1, A); or anything with
            ``frames`` and ``actions``: an episode (whose last action leads beyond it), a beginning. The oldest frames
            are dropped so that F = 1 + r k. Where there are no actions, nothing was pressed.
        seed: of the noise; a state has its own.

    Raises:
        ValueError: shapes do not fit.
    """
    if isinstance(prefix, WorldState):
        return prefix.select([0]), None
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
        state = world.prefill(frames[None, surplus:], actions[None, surplus:needed], [seed])
    return state, frames[-1]
