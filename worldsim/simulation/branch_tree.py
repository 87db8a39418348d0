"""The tree of a counterfactual: segments of actions, and what may follow each.

H W pixels, A action vector. As nested lists, each entry is an action script (or an array of actions), or a pair of one
and the list of what follows it:

    ["forward 20", ("yaw +90 x 10", ["forward 20", "back 20"])]    # positive yaw turns right
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import script_actions
from worldsim.simulation.state import Step, WorldState
from worldsim.spec.actions import ActionSpec

Actions = NDArray[np.float32]


class Player(Protocol):
    """Whoever decides what is done during a segment of a future."""

    def choose(self, state: WorldState, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        """The next actions (n, A), n at most ``count``; fewer when the player has finished.

        Args:
            state: where the world stands, one row; not to be changed.
            frame: what it shows, uint8 (H, W, 3); None before the first step from a state.
            count: frames until the next step of the world.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Node:
    """A segment of actions, and what may follow it.

    Attributes:
        name: for people.
        actions: float32 (n, A); or
        player: makes whoever decides them, anew for each time the segment is played, for ``frames`` frames at most.
        branches: what follows; none: a future ends here.
    """

    name: str
    actions: Actions | None = None
    player: Callable[[], Player] | None = None
    frames: int = 0
    branches: tuple["Node", ...] = ()


class RewardFunction(Protocol):
    """Rewards and ends of a world's steps (``worldsim.envs.learned.world_rewards.WorldRewardFunction``)."""

    def facts(self, state: WorldState) -> Any:
        """Facts before a step, which ``judge`` needs."""
        ...

    def judge(
        self, before: Any, state: WorldState, out: Step, actions: Actions
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rewards and ends (B,) of a step under actions (B, r, A) that led to ``state``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A node of an expanded tree: frames ``first`` to ``last`` (exclusive); ``parent`` is -1 at the root."""

    name: str
    parent: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One future.

    Attributes:
        name: the names of its segments.
        actions: float32 (F, A), as they were played.
        frames: uint8 (F, H, W, 3).
        rewards: float32 (K,), zero after the end.
        pose: float32 (K, 5): x, y, z (metres), yaw, pitch (degrees) relative to the end of the past.
        ended: the frame after which the episode would be over, or None; the rollout goes on.
        state: where the world stands after it: a past for further branches.
        segments: numbers of its segments, from the root on.
    """

    name: str
    actions: Actions
    frames: NDArray[np.uint8]
    rewards: NDArray[np.float32]
    pose: NDArray[np.float32]
    ended: int | None
    state: WorldState
    segments: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """Every future of a tree, in the order in which it is written, and the segments that they are made of."""

    branches: list[Branch]
    segments: list[Segment]


def nodes_of(items: Sequence[Any], spec: ActionSpec, fps: float) -> tuple[Node, ...]:
    """Read nested lists of scripts, arrays of actions, nodes, and pairs of one of them and what follows.

    Raises:
        ScriptError: a script has a mistake.
        ValueError: an entry is none of these, or actions have a wrong shape.
    """
    if isinstance(items, str) or not isinstance(items, Sequence) or not len(items):
        raise ValueError(f"branches are a list of scripts or actions with at least one entry, got {items!r:.60}")
    nodes = []
    for number, item in enumerate(items, 1):
        follow: tuple[Node, ...] = ()
        if isinstance(item, tuple):
            item, below = _pair(item)
            follow = nodes_of(below, spec, fps)
        if isinstance(item, Node):
            nodes.append(replace(item, branches=(*item.branches, *follow)))
        elif isinstance(item, str):
            actions = script_actions(parse_script(item), spec, fps=fps)
            nodes.append(Node(name=" ".join(item.split()), actions=actions, branches=follow))
        else:
            nodes.append(Node(name=str(number), actions=_checked(item, spec), branches=follow))
    return tuple(nodes)


def _pair(item: tuple[Any, ...]) -> list[Any]:
    if len(item) != 2:
        raise ValueError(f"a branch point is a pair: what is played, and a list of what follows; got {len(item)} parts")
    return list(item)


def _checked(item: Any, spec: ActionSpec) -> Actions:
    actions = np.asarray(item, np.float32) if isinstance(item, np.ndarray | list) else np.zeros((0, 0), np.float32)
    if actions.ndim != 2 or actions.shape[1] != spec.size or not len(actions) or not np.isfinite(actions).all():
        raise ValueError(
            f"a branch is a script, finite actions of shape (F, {spec.size}), or a pair of one and what follows it; "
            f"got {type(item).__name__} {actions.shape}"
        )
    return actions
