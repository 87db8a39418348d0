"""Obstacles: whether what stops a player in the game stops them in the dream.

B walks, K chunks, r frames per chunk, A action vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.errors import UserError
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.lines import Line, line, number
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import Clips, Suits, draw_clips
from worldsim.evaluation.measures.rollouts import begin, film_strips, future_of
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Results
from worldsim.simulation.world_model import WorldModel

# Metres a second of somebody who holds forward: below the first something is in the way, above the second nothing is.
BLOCKED, FREE = 0.6, 2.5
KINDS = ("blocked", "free")
THROUGH = "obstacle walked through"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    walks: int = amount(quick=12, full=100, help="recorded walks of each kind, against something and free")
    walk_seconds: float = amount(quick=1.0, full=1.0, help="length of recorded walks in seconds")
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When an obstacle was walked through."""

    obstacle_share: float = limit(0.5, "share of a free walk's distance, from which on an obstacle was walked through")


def walks_after(past: int, frames: int, kind: str, fps: int) -> Suits:
    """Starts after whose ``past`` the player holds forward for ``frames`` frames on dry land, ``blocked`` or ``free``.

    Forward is held for the last fourth of a second of the past too, so that nobody has just begun to walk.
    """
    before = fps // 4

    def suits(episode: Episode) -> NDArray[np.bool_]:
        out = np.zeros(len(episode), bool)
        if "position" not in episode.state:
            raise UserError("these recordings have no position: nobody can say when the player was stopped")
        forward = (episode.actions[:, 0] > 0.5) & ~(episode.actions[:, 1] > 0.5)
        wet = np.asarray(episode.state.get("in_water", np.zeros(len(episode), bool)), bool)
        good = np.concatenate([[0], np.cumsum(forward & ~wet)])
        place = np.asarray(episode.state["position"], np.float64)[:, [0, 2]]
        seconds = frames / fps
        for t in range(len(episode) - past - frames):
            now = t + past - 1
            if good[now + frames] - good[now - before] == frames + before:
                speed = float(np.linalg.norm(place[now + frames] - place[now])) / seconds
                out[t] = speed < BLOCKED if kind == "blocked" else speed > FREE
        return out

    return suits


def metres_dreamt(world: WorldModel, clips: Clips, prefix: int, chunks: int, rows: int = 8) -> NDArray[np.float64]:
    """Level distance (B,) from the start that each dream says it covered under the recorded actions."""
    parts = []
    for at, part in clips.batches(rows):
        state = begin(world, part, prefix, at)
        for actions in np.moveaxis(future_of(part, prefix, chunks, world.chunk), 1, 0):
            state, _ = world.step(state, actions)
        parts.append(state.pose[:, [0, 2]].norm(dim=1).double().cpu().numpy())
    return np.concatenate(parts)


def obstacle_report(
    dreamt: dict[str, NDArray], maps: dict[str, NDArray], seconds: float, share: float, seed: int = 0
) -> dict[str, Any]:
    """Metres dreamt by kind of walk, and how many walks stop: cover less than ``share`` of a free walk in the dream."""
    least = share * float(np.median(dreamt["free"]))
    report: dict[str, Any] = {"seconds": seconds, "least_metres": least}
    for kind in KINDS:
        stops = dreamt[kind] < least
        report[kind] = {
            "walks": len(dreamt[kind]),
            "metres": estimate(dreamt[kind], maps[kind], seed=seed),
            "stops": estimate_by_start(stops, maps[kind], seed),
        }
    return report


class Obstacles(EvaluationPart):
    """Walking into things: what stops the player of a recording, and what stops them in the dream."""

    name = "obstacles"
    settings, thresholds = Settings, Thresholds
    failures: ClassVar = {
        THROUGH: "holding forward against what stopped the recorded player, the dream covers {obstacle_share:g} or "
        "more of what it covers where nothing is in the way, by its own account",
    }

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Walk on as recorded, against something and free."""
        p, limits, fps = Settings.of(e.preset), Thresholds.of(e.thresholds), e.world.config.fps
        if not e.first_person:
            return {"skipped": "this game has no camera to look away with"}, {}
        chunks = max(1, round(p.walk_seconds * fps / e.world.chunk))
        frames = chunks * e.world.chunk
        try:
            clips = {
                kind: draw_clips(
                    e.store, e.split, p.walks, p.prefix + frames, e.seed + 4, walks_after(p.prefix, frames, kind, fps)
                )
                for kind in KINDS
            }
        except UserError as error:
            return {"skipped": str(error)}, {}
        dreamt = {kind: metres_dreamt(e.world, found, p.prefix, chunks, e.rows) for kind, found in clips.items()}
        maps = {kind: found.maps for kind, found in clips.items()}
        report = obstacle_report(dreamt, maps, frames / fps, limits.obstacle_share, e.seed)
        metres = dreamt["blocked"]
        through = Failures(severity=metres, failed=metres >= report["least_metres"], maps=maps["blocked"])
        entry = failure_entry(self.definition(THROUGH, limits), through, e.seed)
        report["failures"] = {THROUGH: entry}
        film = film_strips(e.world, clips["blocked"], entry["gallery"], p.prefix, chunks, count=chunks)
        return report, {THROUGH: film}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How many walks stop, beside free ones."""
        blocked, free = found["blocked"], found["free"]
        beside = f"dreamt {number(blocked['metres']['value'], 'm')} in {number(found['seconds'], 's')}; "
        beside += f"free walks {number(free['metres']['value'], 'm')}, and {number(free['stops']['value'], '%')} stop"
        yield line("walks stopped by what stops the recorded player", blocked["stops"], "%", beside=beside)
