"""Pong's console beside the dream of it.

F video frames, r video frames per chunk, A action vector.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.play.real.real_game import Frames, RealPast
from worldsim.envs.pong.engine import ACTIONS, PongEngine, PongMoment

# What recordings name as their game.
GAME = "WorldSim-PongEngine"
# Frames of the past that the dream sees; the ball is in play in the last SEEN of them; LONGEST: to look for that.
PAST, SEEN, LONGEST = 33, 12, 400
# The paddle is left alone where it is so near to the ball's height, pixels.
NEAR = 3.0
OWN_START = "a game of the console's own: start clips do not hold its memory"


class RealPong:
    """The console; it is rewound by clones.

    Args:
        chunk: frames a step.

    Raises:
        UserError: its emulator is not installed.
    """

    title, rewinds, takes_starts = "the console", True, False

    def __init__(self, chunk: int):
        self._chunk, self._engine = chunk, PongEngine()
        self._score, self._over = [0, 0], False

    def begin(self, start: InitialContext, about: Mapping[str, Any], seed: int) -> RealPast:
        """A game of its own that the seed decides, some seconds old, the ball in play; a simple player came there."""
        frame, info = self._engine.reset(seed=seed)
        kept: deque[tuple[Frames, int]] = deque([(frame, 0)], maxlen=PAST)
        self._score, self._over, seen = [0, 0], False, 0
        for _ in range(LONGEST):
            action = _follow(info)
            frame, info = self._play(action)
            kept.append((frame, action))
            seen = seen + 1 if info["ball_seen"] else 0
            if len(kept) == PAST and seen >= SEEN:
                break
        spec = np.eye(len(ACTIONS), dtype=np.float32)
        return RealPast(
            frames=np.stack([frame for frame, _ in kept]), actions=spec[[action for _, action in kept][1:]],
            poses=None, words=OWN_START, same_start=False,
        )  # fmt: skip

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, 3), of which the largest number counts; a game that is over stands still."""
        return np.stack([self._play(int(action.argmax()))[0] for action in actions])

    def snapshot(self) -> tuple[PongMoment, tuple[int, ...], bool]:
        """A clone."""
        return self._engine.clone_state(), tuple(self._score), self._over

    def restore(self, snapshot: tuple[PongMoment, tuple[int, ...], bool]) -> None:
        """Go back to a clone."""
        moment, score, self._over = snapshot
        self._engine.restore_state(moment)
        self._score = list(score)

    def status(self) -> str:
        """Points since it stands beside the dream."""
        return f"console {self._score[0]} : {self._score[1]}" + (" (game over)" if self._over else "")

    def close(self) -> None:
        """Stop the emulator."""
        self._engine.close()

    def _play(self, action: int) -> tuple[Frames, dict[str, Any]]:
        if self._over:
            return self._engine.clone_state().frame, {}
        frame, reward, self._over, _, info = self._engine.step(action)
        self._score[0] += reward > 0
        self._score[1] += reward < 0
        return frame, info


def _follow(info: Mapping[str, Any]) -> int:
    """The action that moves the paddle to the ball's height."""
    away = info["ball_y"] - info["paddle_y"]
    if not info["ball_seen"] or abs(away) < NEAR:
        return ACTIONS.index("NOOP")
    return ACTIONS.index("DOWN" if away > 0 else "UP")
