"""The truth about tasks: facts from what an engine tells, live or in a recorded episode.

F video frames, r of them per chunk, K chunks: moment k is frame r k, and moment 0 the beginning.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.spec.facts import LEARNED, Facts

# A trunk counts as looked at within so many degrees of the middle of the view.
TREE_DEGREES = 10.0


def is_trunk(node: str) -> bool:
    """Whether a node's name is that of a trunk: ``default:pine_tree``, not ``default:pine_needles``."""
    return node.endswith("tree")


def pieces_of_wood(events: Sequence[Mapping[str, Any]]) -> int:
    """How many pieces of trunk were dug."""
    return sum(event["kind"] == "dig" and is_trunk(str(event.get("node", ""))) for event in events)


def episode_facts(episode: Episode, chunk: int) -> tuple[Facts, frozenset[str]]:
    """Facts (K + 1,) at every ``chunk``-th frame of an episode, and the names of those that its recording tells."""
    at = slice(0, (len(episode) - 1) // chunk * chunk + 1, chunk)
    moments = len(range(len(episode))[at])
    state, known = episode.state, {"wood"} if episode.provenance.get("engine") == "luanti" else set()
    position = np.zeros((moments, 3))
    if "position" in state:
        known |= {"position", "furthest"}
        position = state["position"][at].astype(np.float64)
        position = position - position[0]
    nothing = np.zeros(moments, np.float32)
    sees, wet = nothing, nothing
    if "tree_angle" in state:
        known.add("sees_tree")
        sees = (state["tree_angle"][at] < TREE_DEGREES).astype(np.float32)
    if "in_water" in state:
        known.add("wet")
        wet = state["in_water"][at].astype(np.float32)
    if episode.provenance.get("engine") == "gymnasium":
        known |= {"won", "lost"}
    facts = Facts(
        position=position.astype(np.float32),
        furthest=np.maximum.accumulate(_horizontal(position)).astype(np.float32),
        sees_tree=sees,
        wood=_wood(episode.events, moments, chunk),
        wet=wet,
        won=_points(episode.rewards, moments, chunk),
        lost=_points(-episode.rewards, moments, chunk),
    )
    return facts, frozenset(known)


class FactsFollower:
    """The same facts, live: from the ``info`` of an engine's frames.

    Args:
        info: of the frame that an episode begins with.
    """

    def __init__(self, info: Mapping[str, Any]):
        self._start = np.asarray(info["position"], np.float64)
        self._furthest = 0.0
        self.facts = self._read(info, 0)

    def advance(self, infos: Sequence[Mapping[str, Any]]) -> Facts:
        """Facts (1,) after a chunk, given the infos of its frames."""
        wood = sum(pieces_of_wood(info.get("events", ())) for info in infos)
        self.facts = self._read(infos[-1], wood)
        return self.facts

    def _read(self, info: Mapping[str, Any], wood: int) -> Facts:
        # Recordings hold single precision.
        position = np.asarray(info["position"], np.float32).astype(np.float64) - self._start.astype(np.float32)
        self._furthest = max(self._furthest, float(_horizontal(position[None])[0]))
        wet = "water" in str(info.get("node_feet", ""))
        numbers = {
            "furthest": self._furthest,
            "sees_tree": float(info.get("tree_angle", 180.0) < TREE_DEGREES),
            "wood": wood,
            "wet": wet,
            "won": 0,
            "lost": 0,
        }
        arrays = {name: np.array([value], np.float32) for name, value in numbers.items()}
        return Facts(position=position[None].astype(np.float32), **arrays)


def points_facts(rewards: NDArray[np.float32]) -> Facts:
    """Facts (1,) after a chunk of a game that tells nothing but its rewards (r,)."""
    none = np.zeros(1, np.float32)
    reported = {name: _points(sign * rewards, 2, len(rewards))[1:] for name, sign in (("won", 1), ("lost", -1))}
    return Facts(position=np.zeros((1, 3), np.float32), furthest=none, **{name: none for name in LEARNED} | reported)


def _horizontal(position: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(position[:, 0], position[:, 2])


def _points(rewards: NDArray[np.float32], moments: int, chunk: int) -> NDArray[np.float32]:
    """Rewards above 0, counted; reward f belongs to the way from frame f to f + 1."""
    points = np.zeros(moments, np.float32)
    points[1:] = (rewards[: (moments - 1) * chunk] > 0).reshape(-1, chunk).sum(1)
    return points


def _wood(events: Sequence[Mapping[str, Any]], moments: int, chunk: int) -> NDArray[np.float32]:
    """Events of frame f happened on the way from frame f - 1 to f, so in chunk ceil(f / r)."""
    wood = np.zeros(moments, np.float32)
    for event in events:
        moment = -(-int(event["frame"]) // chunk)
        if moment < moments:
            wood[moment] += pieces_of_wood([event])
    return wood
