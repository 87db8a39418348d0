"""Recorded returns, dreamt: the world goes the recorded way under the recorded actions, and is compared where it ends.

B journeys, S steps of the way, F frames, H W pixels, A action vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.store import EpisodeStore
from worldsim.evaluation.measures.clips import Clips, read_clips
from worldsim.evaluation.measures.judged import Mask, judged_pixels, judged_psnr, of_luanti
from worldsim.evaluation.measures.metrics import grey
from worldsim.evaluation.measures.returns.stretches import Stretch
from worldsim.evaluation.measures.rollouts import kept_frames
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import curve, estimate
from worldsim.evaluation.measures.types import Progress
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
# Places along a way at which it is looked at; the last one is its end.
STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Journeys:
    """Recorded returns, sorted as their stretches are.

    Attributes:
        clips: the pasts, which end where each view is left.
        actions: what leads back (B, F, A), zeros after it.
        steps: frames from leaving, at S even steps of the way (B, S); the last one is being back.
        furthest: frames from leaving to the furthest point (B,).
        way: recorded pictures at the steps (B, S, H, W, 3).
        judged: pixels of those that a world must show (B, S, H, W).
        away, later: recorded at the furthest point, and a moment after being back (B, H, W, 3).
    """

    clips: Clips
    actions: NDArray[np.float32]
    steps: NDArray[np.int64]
    furthest: NDArray[np.int64]
    way: Frames
    judged: Mask
    away: Frames
    later: Frames

    @property
    def first(self) -> Frames:
        """The views that are left (B, H, W, 3)."""
        return self.clips.frames[:, -1]

    def __len__(self) -> int:
        """Number of journeys B."""
        return len(self.steps)


def read_journeys(store: EpisodeStore, stretches: Sequence[Stretch], prefix: int) -> Journeys:
    """The journeys of recorded stretches, each with ``prefix`` frames of past."""
    clips = read_clips(store, [(s.name, s.leaves - prefix + 1) for s in stretches], prefix)
    steps = np.stack([np.linspace(0, len(s), STEPS + 1).round().astype(np.int64)[1:] for s in stretches])
    furthest = np.array([s.away - s.leaves for s in stretches], np.int64)
    actions = np.zeros((len(stretches), max(map(len, stretches)), clips.actions.shape[-1]), np.float32)
    way, judged, away, later = [], [], [], []
    for row, s in enumerate(stretches):
        part = store.read(s.name, s.leaves, s.later + 1)
        actions[row, : len(s)] = part.actions[: len(s)]
        seen, depth = part.frames[steps[row]], part.state.get(DEPTH)
        sky = of_luanti(store, [s.name])
        judged.append(judged_pixels(seen, True, sky, None if depth is None else depth[steps[row]]))
        way.append(seen)
        away.append(part.frames[furthest[row]])
        later.append(part.frames[-1])
    return Journeys(
        clips=clips, actions=actions, steps=steps, furthest=furthest, way=np.stack(way), judged=np.stack(judged),
        away=np.stack(away), later=np.stack(later),
    )  # fmt: skip


def travel(
    world: WorldModel, journeys: Journeys, prefix: int, rows: int = 8, progress: Progress = lambda *_: None,
    stage: str = "returns",
) -> tuple[Frames, Frames]:  # fmt: skip
    """What the world shows on the same ways: at the steps (B, S, H, W, 3) and at the furthest points (B, H, W, 3)."""
    kept = np.concatenate([journeys.steps, journeys.furthest[:, None]], 1)
    made = kept_frames(world, journeys.clips, prefix, journeys.actions, kept, rows, progress, stage)
    return made[:, :-1], made[:, -1]


def left_share(journeys: Journeys, away: Frames) -> NDArray[np.float64]:
    """How far a dream has left its view at the furthest point (B,): its change from it, over the recorded change.

    A picture that stands still has the view on return too, since it never left it: no memory has to hold it.
    """
    first = grey(journeys.first)
    made, real = (np.abs(grey(frames) - first).mean((1, 2), dtype=np.float64) for frames in (away, journeys.away))
    return made / np.maximum(real, 1.0)


def journey_scores(journeys: Journeys, way: Frames, away: Frames) -> dict[str, NDArray[np.float64]]:
    """What dreams have on return.

    Returns:
        ``way`` and ``way repeat``: PSNR (B, S) to the recorded pictures at the steps, of dreams and of the view that
        was left; ``psnr``: that of dreams on return (B,), and of the reference rows: ``repeat`` the view that was left,
        ``away`` the recorded one at the furthest point, ``recorded`` a moment after being back; ``left`` (B,).
    """
    repeat = np.broadcast_to(journeys.first[:, None], way.shape)
    by_step = {
        name: np.stack([judged_psnr(x[:, s], journeys.way[:, s], journeys.judged[:, s]) for s in range(STEPS)], 1)
        for name, x in {"way": way, "way repeat": repeat}.items()
    }
    back, judged = journeys.way[:, -1], journeys.judged[:, -1]
    return by_step | {
        "psnr": by_step["way"][:, -1],
        "repeat": by_step["way repeat"][:, -1],
        "away": judged_psnr(journeys.away, back, judged),
        "recorded": judged_psnr(journeys.later, back, judged),
        "left": left_share(journeys, away),
    }


def held(scores: dict[str, NDArray[np.float64]], psnr: float, left: float) -> NDArray[np.bool_]:
    """Which journeys (B,) left their view and have it back."""
    return (scores["psnr"] >= psnr) & (scores["left"] >= left)


def journey_report(
    scores: dict[str, NDArray[np.float64]], journeys: Journeys, held_: NDArray[np.bool_], left: float, fps: float,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """PSNR on return and along the way beside the reference rows, and the share of journeys that left and came back."""
    maps = journeys.clips.maps
    return {
        "cases": len(journeys),
        "maps": len(np.unique(maps)),
        "seconds": round(float(journeys.steps[:, -1].mean()) / fps, 2),
        "held": estimate_by_start(held_, maps, seed),
        "psnr": estimate_by_start(scores["psnr"], maps, seed),
        "left": estimate(scores["left"] >= left, maps, seed=seed),
        "rows": {name: estimate(scores[name], maps, seed=seed) for name in ("repeat", "away", "recorded")},
        "way": {name: curve(scores[key], maps, seed) for name, key in (("dream", "way"), ("repeat", "way repeat"))},
    }


def strips(journeys: Journeys, way: Frames, away: Frames) -> Frames:
    """The view that is left; dreamt and recorded at the furthest point; dreamt and recorded on return (B, 5, ...)."""
    columns = (journeys.first, away, journeys.away, way[:, -1], journeys.way[:, -1])
    return np.stack(columns, 1)
