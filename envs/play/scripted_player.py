"""A player for where there is no display: walks and looks around, smoothly, as its seed decides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.spec.actions import ActionSpec

# What it does, how often, and for how many seconds; yaw and pitch are degrees per second at most.
HABITS: tuple[tuple[dict[str, Any], float, tuple[float, float]], ...] = (
    ({"forward": 1}, 4, (1.0, 2.5)),
    ({"forward": 1, "yaw": 60}, 3, (0.6, 1.6)),
    ({"forward": 1, "yaw": -60}, 3, (0.6, 1.6)),
    ({"yaw": 90}, 1, (0.5, 1.2)),
    ({"yaw": -90}, 1, (0.5, 1.2)),
    ({"forward": 1, "jump": 1}, 1, (0.4, 0.8)),
    ({"left": 1}, 0.7, (0.4, 1.0)),
    ({"right": 1}, 0.7, (0.4, 1.0)),
    ({"back": 1}, 0.7, (0.4, 1.0)),
    ({"pitch": 40}, 0.5, (0.3, 0.6)),
    ({"pitch": -40}, 0.5, (0.3, 0.6)),
)


class ScriptedPlayer:
    """Gives one action vector (A,) per video frame.

    Args:
        spec: the game's actions.
        fps: frames a second.
        seed: decides everything.
    """

    def __init__(self, spec: ActionSpec, fps: float, seed: int):
        self.spec, self.fps = spec, fps
        self.rng = np.random.default_rng(seed)
        self.pitch = self.turn = self.tilt = 0.0
        self.habit: dict[str, Any] = {"forward": 1}
        self.left = int(1.5 * fps)

    def act(self) -> NDArray[np.float32]:
        """The next action."""
        if self.left == 0:
            weights = np.array([weight for _, weight, _ in HABITS])
            self.habit, _, seconds = HABITS[int(self.rng.choice(len(HABITS), p=weights / weights.sum()))]
            self.left = max(1, int(self.rng.uniform(*seconds) * self.fps))
        self.left -= 1
        # The mouse follows gradually, and the view drifts back to the horizon.
        self.turn += 0.25 * (self.habit.get("yaw", 0) / self.fps - self.turn)
        self.tilt += 0.25 * (self.habit.get("pitch", 0) / self.fps - 0.05 * self.pitch - self.tilt)
        self.pitch += self.tilt
        keys = {key: value for key, value in self.habit.items() if key in self.spec.keys}
        camera = {"camera": (self.tilt, self.turn)} if self.spec.camera else {}
        return self.spec.vector(keys | camera)

    def chunk(self, frames: int) -> NDArray[np.float32]:
        """The next ``frames`` actions (r, A)."""
        return np.stack([self.act() for _ in range(frames)])
