"""Stretches of recorded play that leave a view and come back to it, as scripted players make them on purpose.

F frames.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import draw_evenly, map_of, standing

NEEDED = ("state/position", "state/velocity", "state/yaw", "state/pitch", "state/script")
# Frames that a player stands at least when it is back, and after which the game's own change is looked at.
STANDS, LATER = 5, 8
# From where on a way encloses an area: of the square of its length to the farthest point. A triangle of equal sides
# has .43.
ROUND = 0.1


@dataclass(frozen=True, kw_only=True)
class Going:
    """What counts as leaving a view, and as having it back.

    Attributes:
        metres, degrees: how far from the place, or from the heading, one must come.
        near_metres, near_degrees: how near to place, heading and pitch one must come back.
    """

    metres: float = 0.0
    degrees: float = 0.0
    near_metres: float
    near_degrees: float


LOOK = Going(degrees=60, near_metres=0.1, near_degrees=0.5)
# The recorded view on return is the measure, so that the place need not be the very same: a step up is allowed.
WALK = Going(metres=4, near_metres=1.5, near_degrees=2)
MIRRORED = Going(metres=2, near_metres=1.5, near_degrees=3)
LOOK_ROUND, THERE_AND_BACK, ROUND_TRIP, MIRROR = "look round", "A-B-A walk", "A-B-C-A walk", "mirrored walk"
# Scripts by name, with what counts as a return in each.
SCRIPTS: Mapping[str, Going] = {"look_round": LOOK, "loop": WALK, "mirror": MIRRORED}
# Kinds of returns, and the scripts that make them.
KINDS: Mapping[str, str] = {LOOK_ROUND: "look_round", THERE_AND_BACK: "loop", ROUND_TRIP: "loop", MIRROR: "mirror"}


@dataclass(frozen=True, order=True)
class Stretch:
    """A view left and come back to.

    Attributes:
        name: of the episode.
        leaves: the last frame at the view.
        away: the frame furthest from it.
        back: the first frame at rest again.
        later: a frame of the same rest, a moment after.
    """

    name: str
    leaves: int
    away: int
    back: int
    later: int

    def __len__(self) -> int:
        """Frames from leaving to being back."""
        return self.back - self.leaves


def spans(episode: Episode, script: str) -> Iterator[tuple[int, int]]:
    """First frame and end of each span of an episode that a script played."""
    names = list(episode.provenance.get("scripts", ()))
    if script not in names or "script" not in episode.state:
        return
    begun = 0
    for playing, frames in groupby(np.asarray(episode.state["script"]) == names.index(script)):
        end = begun + len(list(frames))
        if playing:
            yield begun, end
        begun = end


def returns_in(episode: Episode, name: str, span: tuple[int, int], going: Going, prefix: int) -> list[Stretch]:
    """The returns within a span of an episode, none of which overlap, after ``prefix`` frames or more of past."""
    first, end = span
    place = np.asarray(episode.state["position"][first:end], np.float64)
    turned = np.stack([episode.state[key][first:end] for key in ("yaw", "pitch")], -1).astype(np.float64)
    still = standing(episode)[first:end]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8))).reshape(-1, 2)
    # Left at the end of a rest, or in the middle of a move where the script begins with one.
    leaving = [int(until) - 1 for _, until in edges] if still[0] else [0, *(int(until) - 1 for _, until in edges)]
    found, free = [], max(0, prefix - 1 - first)
    for back, until in edges.tolist():
        if until - back < STANDS:
            continue
        for a in (a for a in reversed(leaving) if free <= a < back):
            far = np.linalg.norm(place[a : back + 1] - place[a], axis=1)
            off = np.abs((turned[a : back + 1] - turned[a] + 180) % 360 - 180)
            near = far[-1] <= going.near_metres and off[-1].max() <= going.near_degrees
            if near and ((far >= going.metres) & (off[:, 0] >= going.degrees)).any():
                away = a + int(np.argmax(far if going.metres else off[:, 0]))
                numbers = (first + n for n in (a, away, back, min(back + LATER, until - 1)))
                found.append(Stretch(name, *numbers))
                free = back
                break
    return found


def goes_round(episode: Episode, stretch: Stretch) -> bool:
    """Whether a walk encloses an area (A-B-C-A), instead of taking the same way back (A-B-A)."""
    x, _, z = np.asarray(episode.state["position"][stretch.leaves : stretch.back + 1], np.float64).T
    x, z = x - x[0], z - z[0]
    area = abs(float((x * np.roll(z, -1) - z * np.roll(x, -1)).sum())) / 2
    return area > ROUND * float((x * x + z * z).max())


def scripted_episodes(
    store: EpisodeStore, splits: Sequence[Split], scripts: Sequence[str]
) -> Iterator[tuple[str, Episode]]:
    """Episodes that say where the player was and which script played, and in which one of some scripts may have."""
    for name in (name for split in splits for name in store.names(split)):
        manifest = store.manifest(name)
        known = set(NEEDED) <= set(manifest["arrays"])
        if known and set(scripts) & set(manifest["provenance"].get("scripts", ())):
            yield name, store.read(name, depth=False)


def find_returns(
    store: EpisodeStore, splits: Sequence[Split], prefix: int, most: int, seed: int = 0
) -> dict[str, list[Stretch]]:
    """At most ``most`` recorded returns of each of ``KINDS``, as many of each map as of any other; sorted by length."""
    found: dict[str, dict[int, list[Stretch]]] = {kind: defaultdict(list) for kind in KINDS}
    for name, episode in scripted_episodes(store, splits, tuple(SCRIPTS)):
        for script, going in SCRIPTS.items():
            for span in spans(episode, script):
                for stretch in returns_in(episode, name, span, going, prefix):
                    kinds = [kind for kind, by in KINDS.items() if by == script]
                    kind = kinds[-1] if len(kinds) == 1 or goes_round(episode, stretch) else kinds[0]
                    found[kind][map_of(store, name)].append(stretch)
    return {kind: by_length(draw_evenly(by_map, most, seed)) for kind, by_map in found.items()}


def by_length(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Sorted by length: what is dreamt side by side goes on until the longest is back."""
    return sorted(stretches, key=lambda stretch: (len(stretch), stretch))


def standing_still(episode: Episode, frames: Sequence[int]) -> NDArray[np.float64]:
    """How far (F,) the player's places at some frames are from that at the last of them, in metres."""
    places = np.asarray(episode.state["position"], np.float64)[list(frames)]
    return np.linalg.norm(places - places[-1], axis=1)
