"""What kind of game recordings show, measured on their pictures: it decides how a world of them is trained.

F frames of a window, H W pixels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.store import EpisodeStore

# Small things on a still ground; a picture that slides as a whole; a view that moves into the scene.
STILL, SCROLLING, FIRST_PERSON = "still", "scrolling", "first_person"
KINDS = {
    STILL: "small things on a still ground",
    SCROLLING: "a scrolling picture",
    FIRST_PERSON: "a view from within the scene",
}
# A pixel counts as changed when a colour differs by more than this, of 255.
CHANGED = 8
# Share of pixels that show their median picture, from which on the ground is still.
STILL_GROUND = 0.85
# Share of the change that one shift of the whole picture must explain, from which on it scrolls.
SLIDES = 0.3
# Largest shift between two frames that is looked for, in pixels.
REACH = 6
# Frames of a window, windows in all, and the largest picture that is looked at: a larger one is thinned out.
WINDOW, WINDOWS, LONGEST = 40, 12, 96


@dataclass(frozen=True, kw_only=True)
class GameLook:
    """What was measured.

    Attributes:
        ground: share of pixels that show what they show most of the time (the window's median picture).
        changed: share of pixels that change from one frame to the next.
        shifted: share of that change that one shift of the whole picture explains, the median of pairs that change.
        camera: whether there is a camera (a mouse) among the actions.
        depth: whether every episode that was looked at has depth.
        idle: share of frames in which no key is held.
    """

    ground: float
    changed: float
    shifted: float
    camera: bool = False
    depth: bool = False
    idle: float = 0.0

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        if self.camera:
            return FIRST_PERSON
        if self.ground >= STILL_GROUND:
            return STILL
        return SCROLLING if self.shifted >= SLIDES else FIRST_PERSON

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "GameLook":
        """The inverse of ``to_json``."""
        return GameLook(**raw)


def look_at_game(store: EpisodeStore, only: EpisodeFilter = ALL) -> GameLook:
    """Measure windows spread over the training episodes of a store.

    Raises:
        ValueError: no training episode has two frames.
    """
    names = [name for name in only.names(store, "train") if int(store.manifest(name)["frames"]) > 1]
    if not names:
        raise ValueError(f"no training episode of {store.url} has two frames")
    chosen = [names[int(i)] for i in np.linspace(0, len(names) - 1, min(WINDOWS, len(names)))]
    measured, camera, depth, idle = [], False, True, []
    for name in chosen:
        frames = int(store.manifest(name)["frames"])
        first = max(0, (frames - WINDOW) // 2)
        episode = store.read(name, first, min(frames, first + WINDOW))
        measured.append(measure(episode.frames))
        keys = episode.provenance.get("keys")
        camera = camera or keys is None or episode.actions.shape[1] == len(keys) + 2
        depth = depth and DEPTH in episode.state
        idle.append(float((np.abs(episode.actions[:-1]) < 1e-6).all(1).mean()))
    ground, changed, shifted = (float(np.median(values)) for values in zip(*measured, strict=True))
    return GameLook(
        ground=ground, changed=changed, shifted=shifted, camera=camera, depth=depth, idle=float(np.mean(idle))
    )


def measure(frames: NDArray[np.uint8]) -> tuple[float, float, float]:
    """``ground``, ``changed`` and ``shifted`` of ``GameLook`` of one window (F, H, W, 3)."""
    thin = max(1, -(-max(frames.shape[1:3]) // LONGEST))
    seen = frames[:, ::thin, ::thin].astype(np.int16)
    ground = (np.abs(seen - np.median(seen, 0)).max(-1) <= CHANGED).mean()
    changed = (np.abs(np.diff(seen, axis=0)).max(-1) > CHANGED).mean((1, 2))
    # A part of the pairs: all of them would take seconds.
    moving = np.flatnonzero(changed > 0)[:: max(1, len(changed) // 8)]
    explained = [explained_by_shift(seen[t], seen[t + 1]) for t in moving]
    return float(ground), float(changed.mean()), float(np.median(explained)) if explained else 0.0


def explained_by_shift(before: NDArray[np.int16], after: NDArray[np.int16]) -> float:
    """Share of the change between two pictures (H, W, 3) that the best shift of the first explains; 0 if none does."""
    height, width = before.shape[:2]
    reach = min(REACH, (min(height, width) - 1) // 2)
    inner = after[reach : height - reach, reach : width - reach]

    def error(down: int, right: int) -> float:
        rows, columns = slice(reach - down, height - reach - down), slice(reach - right, width - reach - right)
        return float(np.abs(before[rows, columns] - inner).mean())

    standing = error(0, 0)
    if standing == 0:
        return 0.0
    return max(0.0, 1 - min(error(down, right) for down, right in _shifts(reach)) / standing)


def _shifts(reach: int) -> Iterable[tuple[int, int]]:
    reached = range(-reach, reach + 1)
    return ((down, right) for down in reached for right in reached if (down, right) != (0, 0))
