"""Obstacles: whether what stops a player in the game stops them in the dream.

B walks, K chunks, r frames per chunk, A action vector.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.eval_clips import Clips, Suits
from worldsim.agents.eval_rollouts import begin, future_of
from worldsim.agents.eval_starts import estimate_by_start
from worldsim.agents.eval_statistics import estimate
from worldsim.datasets.store.episode import Episode
from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel

# Metres a second of somebody who holds forward: below the first something is in the way, above the second nothing is.
BLOCKED, FREE = 0.6, 2.5
KINDS = ("blocked", "free")


def walks_after(past: int, frames: int, kind: str, fps: int) -> Suits:
    """Starts after whose ``past`` the player holds forward for ``frames`` frames on dry land, ``blocked`` or ``free``.

    Forward is held for the last fourth of a second of the past too, so that nobody has just begun to walk.
    """
    before = fps // 4

    def suits(episode: Episode) -> NDArray[np.bool_]:
        out = np.zeros(len(episode), bool)
        if "position" not in episode.state:
            raise UserError("these recordings tell no position: nobody can say when the player was stopped")
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
        parts.append(state.pose[:, [0, 2]].norm(dim=1).double().numpy())
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
