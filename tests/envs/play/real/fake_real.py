"""A real game for tests: its picture is a hash of what was played since it began."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tiny_world import HEIGHT, WIDTH
from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.play.real.real_game import RealPast
from worldsim.spec.actions import MINECRAFT


class FakeReal:
    """Begins with a past that its seed decides.

    Args:
        rewinds: whether it can go back.
        same_start: whether it can be put to the dream's start.
    """

    title = "fake"

    def __init__(self, *, rewinds: bool = True, same_start: bool = True):
        self.rewinds = self.takes_starts = rewinds
        self.same_start, self.closed = same_start, False
        self.played: list[NDArray[np.float32]] = []
        self.began: list[tuple[InitialContext, Mapping[str, Any], int]] = []
        self._value = 0

    def begin(self, start: InitialContext, about: Mapping[str, Any], seed: int) -> RealPast:
        self.began.append((start, about, seed))
        self.played, self._value = [], seed * 977 + 5
        # One frame more than whole chunks, and one more than that.
        frames = np.stack([self._frame() + np.uint8(i) for i in range(6)])
        actions = np.zeros((5, MINECRAFT.size), np.float32)
        actions[:, 0] = 1
        poses = np.zeros((6, 5), np.float32)
        return RealPast(frames=frames, actions=actions, poses=poses, words="here", same_start=self.same_start)

    def advance(self, actions: NDArray[np.float32]) -> NDArray[np.uint8]:
        self.played.append(actions)
        frames = []
        for action in actions:
            self._value = (self._value * 31 + int(np.abs(action).sum() * 100) + 1) % 9973
            frames.append(self._frame())
        return np.stack(frames)

    def snapshot(self) -> int:
        return self._value

    def restore(self, snapshot: int) -> None:
        self._value = snapshot

    def status(self) -> str:
        return f"fake {self._value}"

    def close(self) -> None:
        self.closed = True

    def _frame(self) -> NDArray[np.uint8]:
        return np.full((HEIGHT, WIDTH, 3), self._value % 256, np.uint8)
