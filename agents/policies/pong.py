"""A player of Pong for recordings: skilled for a while, then careless, so that rallies and points both happen."""

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.body import Action, Info
from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec

# Share of time of each way to play, and the steps that one is kept for.
WAYS = {"follow": 0.8, "random": 0.12, "hold": 0.08}
STEPS = (8, 60)
# Half of the paddle is 4 pixels: aiming so far off its middle sends the ball off at every angle, and misses at times.
AIM = 4.5
# The paddle coasts: within so many pixels of the aim it is left alone.
NEAR = 3.0
PONG = ActionSpec(keys=("noop", "up", "down"), camera=False)


class PongPlayer:
    """Follows the ball with a part of the paddle that changes, or moves at random, or holds one action.

    Args:
        spec: the game's actions: noop, up, down.
        fps: pictures a second (unused: ways are kept for numbers of steps).

    Raises:
        UserError: the game is another one.
    """

    name = "follow"

    def __init__(self, spec: ActionSpec, fps: float):
        if spec != PONG:
            raise UserError(
                f"PongPlayer plays games with the actions {', '.join(PONG.keys)}, not {', '.join(spec.keys)}"
            )

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode.

        Raises:
            UserError: the game does not tell where ball and paddle are.
        """
        if "paddle_y" not in info:
            raise UserError("PongPlayer needs a game that tells where ball and paddle are: env=WorldSim-PongEngine-v0")
        self._rng, self._left, self._held, self._aim = rng, 0, 0, 0.0

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (3,)."""
        if self._left <= 0:
            self.name = str(self._rng.choice(list(WAYS), p=list(WAYS.values())))
            self._left = int(self._rng.integers(*STEPS))
            self._held, self._aim = int(self._rng.integers(3)), float(self._rng.uniform(-AIM, AIM))
        self._left -= 1
        if self.name == "follow":
            away = float(info["ball_y"]) + self._aim - float(info["paddle_y"])
            self._held = 0 if abs(away) < NEAR or not info["ball_seen"] else 1 if away < 0 else 2
        elif self.name == "random" and self._rng.random() < 0.4:
            self._held = int(self._rng.integers(3))
        return np.eye(3, dtype=np.float32)[self._held]
