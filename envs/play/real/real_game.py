"""What stands beside a dream: the game that it was recorded from.

F video frames, r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.learned.initial_context import InitialContext

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class RealPast:
    """Where the real game stands, and how it came there.

    Attributes:
        frames: uint8 (F, H, W, 3).
        actions: float32 (F - 1, A) that led from frame to frame.
        poses: float32 (F, 5): x, y, z (m), yaw, pitch (degrees); None in a game without a camera.
        words: where this is, for people.
        same_start: whether it is where the dream was to begin.
    """

    frames: Frames
    actions: NDArray[np.float32]
    poses: NDArray[np.float32] | None
    words: str
    same_start: bool


class RealGame(Protocol):
    """A game in the pictures, actions and chunks of a learned world.

    Where ``rewinds``, a snapshot holds all of it; where ``takes_starts``, it can begin at a start clip's place.
    """

    title: str
    rewinds: bool
    takes_starts: bool

    def begin(self, start: InitialContext, about: Mapping[str, Any], seed: int) -> RealPast:
        """Begin where a dream would: at the place of a start clip, else at one of the game's own that the seed decides.

        Args:
            start: the dream's past.
            about: provenance of its start clip; empty where it is none.
            seed: decides what is left open.
        """
        ...

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A); returns frames (r, H, W, 3)."""
        ...

    def snapshot(self) -> Any:
        """This moment; None where the game does not rewind."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Go back to a moment; the snapshot stays good."""
        ...

    def status(self) -> str:
        """A few words about it."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
