"""What the window shows, and when: frames that wait, each until it is due.

r video frames per chunk, H W pixels.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
# Pictures of one moment beside its frames, by name: the real game's, depth, whose each pixel is.
Insight = Mapping[str, Frame]
# Ways to look at a world, and at one beside the real game.
PICTURE, DEPTH, MEMORY = "picture", "depth", "memory"
DREAM, REAL, BOTH = "dream", "real", "both"


@dataclass(frozen=True)
class Prompt:
    """A text that a world is to follow."""

    text: str


# Where play can begin: at a start clip by its number, from a picture's or video's file, with a text.
Start = int | str | Prompt


class Phase(Enum):
    """What the window shows."""

    LOADING = "loading"
    READY = "ready"  # stands at a moment until a key of the game is pressed
    PLAYING = "playing"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Showing:
    """A frame that waits.

    Attributes:
        number: of its moment.
        frame: uint8 (H, W, 3).
        insight: other pictures of the same time.
        taken: when the controls that it answers were taken; None: it is not the first that answers them.
    """

    number: int
    frame: Frame
    insight: Insight
    taken: float | None


class Rate:
    """How often something happened a second, over its last 80 times."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=80)

    def count(self, now: float) -> None:
        """It happened."""
        self._times.append(now)

    def __call__(self) -> float:
        """Times a second."""
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])


class FrameQueue:
    """Frames in their order.

    Attributes:
        fps: frames a second.
        wanted: single frames that somebody asked for while the world stands.
        rate: of the frames that were shown.
        answers: seconds from taking controls to showing the first frame that answers them, the latest.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock, self.fps, self.wanted = clock, 1.0, 0
        self.rate, self.answers = Rate(), deque[float](maxlen=200)
        self._waiting: deque[Showing] = deque()
        self._due = 0.0

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self.wanted = 0

    def start(self) -> None:
        """From now on frames are due."""
        self.wanted, self.rate, self._due = 0, Rate(), self._clock()

    def put(self, number: int, frames: Frame, insight: Insight, taken: float) -> None:
        """Add the frames (r, H, W, 3) of a moment, with pictures (r, H, W, 3) of what else is known."""
        for i, frame in enumerate(frames):
            beside = {name: pictures[i] for name, pictures in insight.items()}
            self._waiting.append(Showing(number=number, frame=frame, insight=beside, taken=None if i else taken))

    def soon(self, lead: float) -> bool:
        """Whether the frame after those that wait is due in ``lead`` seconds."""
        return self._clock() >= self._due + len(self._waiting) / self.fps - lead

    def next(self, *, playing: bool) -> Showing | None:
        """The frame that is due, if one is; where the world stands, one that somebody asked for."""
        now = self._clock()
        if not self._waiting or (now < self._due if playing else not self.wanted):
            return None
        self.wanted = max(0, self.wanted - 1)
        showing = self._waiting.popleft()
        self.rate.count(now)
        if showing.taken is not None:
            self.answers.append(now - showing.taken)
        # After a stall, go on from now: else a slow world's frames would come in pairs.
        stalled = now > self._due + 1 / self.fps
        self._due = (now if stalled else self._due) + 1 / self.fps
        return showing
