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

# What provenance must tell of a start clip for it to be begun again; how long a past is without one.
NEEDED = ("seed", "mapgen", "start")
IDLE = 32
# Beyond so many metres from where it was recorded it is another place.
FAR = 1.0


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
        """Stand where the clip's first frame was taken and play its actions; else on a spot that the seed decides."""
        known = start.poses is not None and about.get("engine") == "luanti" and set(NEEDED) <= about.keys()
        if not known or start.poses is None:
            past = self._play_past({"fresh": self._changed}, np.zeros((IDLE, start.actions.shape[1]), np.float32), seed)
            return self._told(past, "a place of the game's own: where this start is on a map is not known", False)
        x, y, z, yaw, pitch = start.poses[0].tolist()
        options = {
            "map_seed": int(about["seed"]), "mapgen": str(about["mapgen"]), "position": (x, y, z), "yaw": yaw,
            "pitch": pitch, "time_of_day": about["start"].get("time_of_day"), "fresh": self._changed,
        }  # fmt: skip
        past = self._play_past(options, start.actions, seed)
        off = float(np.linalg.norm(past[2][-1][:3] - start.poses[-1][:3]))
        if off > FAR:
            return self._told(past, f"{off:.1f} m from where this start was recorded: something is in the way", False)
        return self._told(past, f"where this start was recorded, to {off:.2f} m", True)

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A)."""
        return np.stack([self._play(action)[0] for action in actions])

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

    def _play_past(
        self, options: dict[str, Any], actions: NDArray[np.float32], seed: int
    ) -> tuple[list[Frames], list[NDArray[np.float32]], list[NDArray[np.float64]]]:
        """Frames, the actions that were really executed, and poses."""
        frame, self._info = self._env.reset(seed=seed, options=options)
        self._changed = False
        frames, executed, poses = [frame], [], [_pose(self._info)]
        for action in actions:
            frame, info = self._play(action)
            frames.append(frame)
            executed.append(np.asarray(info["action"], np.float32))
            poses.append(_pose(info))
        return frames, executed, poses

    def _play(self, action: NDArray[np.float32]) -> tuple[Frames, Mapping[str, Any]]:
        frame, *_, self._info = self._env.step(action)
        self._changed = self._changed or map_changed(self._info)
        return frame, self._info

    def _told(
        self, past: tuple[list[Frames], list[NDArray[np.float32]], list[NDArray[np.float64]]], words: str, same: bool
    ) -> RealPast:
        frames, actions, poses = past
        return RealPast(
            frames=np.stack(frames), actions=np.stack(actions), poses=np.stack(poses).astype(np.float32), words=words,
            same_start=same,
        )  # fmt: skip


def _pose(info: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([*info["position"], info["yaw"], info["pitch"]], np.float64)
