"""What a world is evaluated on: clips of recorded play, drawn evenly over the maps of a held-out split.

B clips, F frames, H W pixels, A action vector.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.loading.starts import recorded_poses
from worldsim.datasets.store.episode import DEPTH, Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError

T = TypeVar("T")
# Whether a clip of F frames may begin at a frame of an episode.
Suits = Callable[[Episode], NDArray[np.bool_]]
# Metres a second, degrees a frame: a player who stands still and looks at one place.
STANDING_SPEED, STEADY_TURN = 0.05, 0.05


class ChosenStore(EpisodeStore):
    """A store that lists only the episodes of some licences and sources."""

    def __init__(self, path: str | Path, only: EpisodeFilter = ALL):
        super().__init__(path)
        self.only = only

    def names(self, split: Split | None = None) -> list[str]:
        """Sorted names of the chosen episodes, of one split if given; UserError where there are some and none fits."""
        return self.only.names(self, split)


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Recorded clips: a past and what followed.

    Attributes:
        frames: uint8 (B, F, H, W, 3).
        actions: float32 (B, F - 1, A); action t leads from frame t to frame t + 1.
        maps: map seed of each (B,).
        pitch: of the camera (B, F) in degrees, positive down; zeros where it was not recorded.
        places: episode and first frame of each.
        poses: of the camera (B, F, 5): x, y, z (m), yaw, pitch (degrees); None where they were not recorded.
        store: that has the episodes; None: unknown.
        offset: frames between the places and the first frames.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    maps: NDArray[np.int64]
    pitch: NDArray[np.float32]
    places: Sequence[tuple[str, int]] = ()
    poses: NDArray[np.float32] | None = None
    store: EpisodeStore | None = None
    offset: int = 0

    def __len__(self) -> int:
        """Number of clips B."""
        return len(self.frames)

    def part(self, rows: slice | NDArray) -> "Clips":
        """Some of the clips."""
        numbers = np.arange(len(self))[rows]
        return replace(
            self,
            frames=self.frames[numbers],
            actions=self.actions[numbers],
            maps=self.maps[numbers],
            pitch=self.pitch[numbers],
            places=[self.places[int(i)] for i in numbers] if self.places else (),
            poses=None if self.poses is None else self.poses[numbers],
        )

    def between(self, first: int, last: int) -> "Clips":
        """Their frames ``first`` to ``last`` (exclusive), with the actions between those."""
        return replace(
            self,
            frames=self.frames[:, first:last],
            actions=self.actions[:, first : last - 1],
            pitch=self.pitch[:, first:last],
            poses=None if self.poses is None else self.poses[:, first:last],
            offset=self.offset + first,
        )

    def last_depth(self) -> NDArray[np.uint16] | None:
        """Depth of their last frames (B, H, W), as in ``Episode.state``; None where it was not recorded."""
        if self.store is None or not self.places:
            return None
        last = self.offset + self.frames.shape[1] - 1
        parts = [self.store.read(name, first + last, first + last + 1).state for name, first in self.places]
        return np.stack([part[DEPTH][0] for part in parts]) if all(DEPTH in part for part in parts) else None

    def batches(self, rows: int) -> Iterator[tuple[int, "Clips"]]:
        """Parts of ``rows`` clips with the number of their first."""
        for at in range(0, len(self), rows):
            yield at, self.part(slice(at, at + rows))

    def foreign(self) -> NDArray[np.int64]:
        """For each clip, the number of another one whose actions stand for random ones: of another map, if there is."""
        order = np.argsort(self.maps, kind="stable")
        counts = np.unique(self.maps, return_counts=True)[1]
        # Turned by the largest group, no clip meets its own map unless one map has more than half of them.
        shift = int(counts.max()) if 2 * counts.max() <= len(self) else max(1, len(self) // 2)
        out = np.empty(len(self), np.int64)
        out[order] = np.roll(order, shift)
        return out


def draw_clips(
    store: EpisodeStore, split: Split, count: int, frames: int, seed: int = 0, suits: Suits | None = None
) -> Clips:
    """Clips of ``frames`` frames, as many of each map as of any other, the same for the same seed and store.

    Args:
        store: where the episodes are.
        split: which maps.
        count: how many; fewer where ``suits`` leaves fewer.
        frames: length F.
        seed: of the draw.
        suits: says at which frames of an episode a clip may begin (F_episode,); default: anywhere.

    Raises:
        UserError: nothing suits.
    """
    by_map: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name in store.names(split):
        total = int(store.manifest(name)["frames"])
        if total < frames:
            continue
        fits = np.ones(total, bool) if suits is None else np.array(suits(store.read(name, depth=False)), bool)
        starts = np.flatnonzero(fits[: total - frames + 1])
        if suits is not None:
            starts = _apart(starts, 8)
        by_map[map_of(store, name)] += [(name, int(t)) for t in starts]
    drawn = draw_evenly(by_map, count, seed)
    if not drawn:
        raise UserError(f"no {split} episode in {store.url} has the {frames} frames that are needed here")
    return read_clips(store, drawn, frames)


def curve_clips(
    store: EpisodeStore, split: Split, count: int, prefix: int, chunks: int, chunk: int, seed: int = 0
) -> Clips:
    """Clips of a past and K chunks of ``chunk`` frames after it."""
    frames = prefix + chunks * chunk
    # An odd number of frames, 1 + r k, so that whole clips can be encoded too.
    frames += (1 - frames) % chunk
    return draw_clips(store, split, count, frames, seed)


def map_of(store: EpisodeStore, name: str) -> int:
    """The seed of an episode's map; 0 where it was not recorded."""
    return int(store.manifest(name)["provenance"].get("seed", 0))


def draw_evenly(by_map: Mapping[int, Sequence[T]], count: int, seed: int) -> list[T]:
    """At most ``count`` of all members, sorted, as many of each map as of any other as long as it has some."""
    rng = np.random.default_rng(seed)
    decks = [[found[i] for i in rng.permutation(len(found))] for _, found in sorted(by_map.items()) if found]
    rounds = range(max(map(len, decks), default=0))
    drawn = [deck[round_] for round_ in rounds for deck in decks if round_ < len(deck)]
    return sorted(drawn[:count])  # pyright: ignore[reportArgumentType]


def read_clips(store: EpisodeStore, places: Sequence[tuple[str, int]], frames: int) -> Clips:
    """The clips of ``frames`` frames that begin at (episode, frame)."""
    parts = [store.read(name, start, start + frames, depth=False) for name, start in places]
    poses = [recorded_poses(part) for part in parts]
    known = [each for each in poses if each is not None]
    return Clips(
        frames=np.stack([p.frames for p in parts]),
        actions=np.stack([p.actions[:-1] for p in parts]),
        maps=np.array([int(p.provenance.get("seed", 0)) for p in parts]),
        pitch=np.stack([np.asarray(p.state.get("pitch", np.zeros(frames)), np.float32) for p in parts]),
        places=list(places),
        poses=np.stack(known) if len(known) == len(parts) else None,
        store=store,
    )


def standing(episode: Episode) -> NDArray[np.bool_]:
    """Frames (F,) at which the player stands on the ground, turns nothing and presses nothing.

    Raises:
        UserError: the episode has no velocity.
    """
    if "velocity" not in episode.state:
        raise UserError("these recordings tell no velocity: nobody can say when the player stood still")
    speed = np.linalg.norm(episode.state["velocity"], axis=1)
    idle = ~(episode.actions[:, :-2] > 0.5).any(1) & (np.abs(episode.actions[:, -2:]).max(1) < STEADY_TURN)
    dry = ~np.asarray(episode.state.get("in_water", np.zeros(len(episode), bool)), bool)
    return (speed < STANDING_SPEED) & idle & dry


def stands_after(past: int, ahead: int = 0, rest: int = 4) -> Suits:
    """Starts whose player stands for the last ``rest`` of ``past`` frames, and for ``ahead`` frames after them."""

    def suits(episode: Episode) -> NDArray[np.bool_]:
        still = np.concatenate([[0], np.cumsum(standing(episode))])
        out = np.zeros(len(episode), bool)
        for t in range(len(episode) - past - ahead + 1):
            out[t] = still[t + past + ahead] - still[t + past - rest] == rest + ahead
        return out

    return suits


def _apart(starts: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Those of sorted starts that lie ``frames`` apart: neighbours show the same."""
    kept: list[int] = []
    for t in starts:
        if not kept or t - kept[-1] >= frames:
            kept.append(int(t))
    return np.array(kept, np.int64)
