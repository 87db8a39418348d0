"""Luanti beside the dream of it: put to where a start clip was recorded, as exactly as a map made anew allows.

F video frames, r video frames per chunk, A action vector.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.luanti.env import map_changed
from worldsim.envs.play.real.real_game import Frames, RealPast

# What provenance must tell of a start clip for its place to be found again.
NEEDED = ("seed", "mapgen", "start")
# Frames of standing still that the dream sees first, after the first one.
IDLE = 32
# Beyond so many metres from where a start was recorded it is another place: who jumped there falls to the ground here.
FAR = 2.0
# What the eye can be in.
FREE = ("air", "water")


class RealLuanti:
    """The engine in the size that worlds are recorded in. It cannot be rewound.

    Args:
        make_env: makes it.
    """

    title, rewinds, takes_starts = "Luanti", False, True

    def __init__(self, make_env: Callable[[], gymnasium.Env[Any, Any]]):
        self._env = make_env()
        self._info: Mapping[str, Any] = {}
        self._changed = False

    def begin(self, start: InitialContext, about: Mapping[str, Any], seed: int) -> RealPast:
        """Stand where the clip ends, or, where that is not known, on a spot that the seed decides."""
        known = start.poses is not None and about.get("engine") == "luanti" and set(NEEDED) <= about.keys()
        if not known or start.poses is None:
            frame = self._arrive({}, seed)
            return self._stand(
                frame, start, "a place of the game's own: where this start is on a map is not known", False
            )
        x, y, z, yaw, pitch = start.poses[-1].tolist()
        options = {
            "map_seed": int(about["seed"]), "mapgen": str(about["mapgen"]), "yaw": yaw, "pitch": pitch,
            "time_of_day": about["start"].get("time_of_day"),
        }  # fmt: skip
        frame = self._arrive({**options, "position": (x, y, z)}, seed)
        if not any(name in str(self._info["node_head"]) for name in FREE):
            # Dug free when it was recorded: on the ground above, or beside it.
            frame = self._arrive({**options, "position": (x, z)}, seed)
        off = float(np.linalg.norm(np.asarray(self._info["position"], np.float64) - (x, y, z)))
        if off > FAR:
            return self._stand(
                frame, start, f"{off:.1f} m from where this start was recorded: something is in the way", False
            )
        return self._stand(frame, start, f"where this start was recorded, to {off:.2f} m", True)

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A)."""
        return np.stack([self._play(action) for action in actions])

    def snapshot(self) -> None:
        """The engine has none."""

    def restore(self, snapshot: Any) -> None:
        """Never asked for."""

    def status(self) -> str:
        """Position in the world, metres."""
        position = self._info.get("position")
        return "" if position is None else "Luanti at " + " ".join(f"{v:.0f}" for v in position)

    def close(self) -> None:
        """Stop the game."""
        self._env.close()

    def _arrive(self, options: dict[str, Any], seed: int) -> Frames:
        frame, self._info = self._env.reset(seed=seed, options={**options, "fresh": self._changed})
        self._changed = False
        return frame

    def _stand(self, frame: Frames, start: InitialContext, words: str, same_start: bool) -> RealPast:
        """A past of standing still."""
        frames, poses = [frame], [_pose(self._info)]
        idle = np.zeros((IDLE, start.actions.shape[1]), np.float32)
        for action in idle:
            frames.append(self._play(action))
            poses.append(_pose(self._info))
        return RealPast(
            frames=np.stack(frames), actions=idle, poses=np.stack(poses).astype(np.float32), words=words,
            same_start=same_start,
        )  # fmt: skip

    def _play(self, action: NDArray[np.float32]) -> Frames:
        frame, *_, self._info = self._env.step(action)
        self._changed = self._changed or map_changed(self._info)
        return frame


def _pose(info: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([*info["position"], info["yaw"], info["pitch"]], np.float64)
