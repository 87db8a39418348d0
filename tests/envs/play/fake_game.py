"""A game for tests of the window: its state is a few numbers, so that every frame tells how it came about."""

import threading
import time

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.pace import Prompt, Start
from worldsim.envs.play.session import Phase, Session
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.spec.actions import MINECRAFT, ActionSpec

CHUNK, HEIGHT, WIDTH = 2, 40, 72


class FakeGame:
    """A hash of all actions since the beginning, drawn as a colour.

    Args:
        spec: the game's actions.
        seconds: that a step takes.
        rewinds: whether it can go back.
    """

    def __init__(self, spec: ActionSpec = MINECRAFT, *, seconds: float = 0.0, rewinds: bool = True):
        self.hands = HumanInputMapper(spec)
        self.chunk, self.fps, self.width, self.height = CHUNK, 20.0, WIDTH, HEIGHT
        self.title, self.rewinds = "fake", rewinds
        self.views, self.watch, self.news = ("picture", "negative"), "picture", ""
        self.pictures: NDArray[np.uint8] | None = np.full((5, HEIGHT, WIDTH, 3), 90, np.uint8)
        self.prompts: tuple[str, ...] = ()
        self.text = ""
        self.start = 0
        self.seconds, self.steps, self.broken = seconds, 0, False
        self.open = threading.Event()
        self.open.set()
        self._state = np.zeros(1, np.uint64)
        self.seen: list[NDArray[np.float32]] = []

    def reset(self, seed: int) -> NDArray[np.uint8]:
        self._state = np.array([seed * 7919 + 1 + 100 * self.start], np.uint64)
        return self._frames()

    def advance(self, actions: NDArray[np.float32]) -> NDArray[np.uint8]:
        self.open.wait()
        time.sleep(self.seconds)
        if self.broken:
            raise RuntimeError("out of ink")
        self.steps += 1
        self.seen.append(actions)
        told = np.frombuffer(actions.tobytes(), np.uint8).astype(np.uint64).sum(dtype=np.uint64)
        self._state = (self._state * np.uint64(6364136223846793005) + told + np.uint64(1)) % np.uint64(2**61 - 1)
        return self._frames()

    def snapshot(self) -> NDArray[np.uint64]:
        return self._state.copy()

    def restore(self, snapshot: NDArray[np.uint64]) -> None:
        self._state = snapshot.copy()

    def begin_at(self, start: Start) -> None:
        if isinstance(start, Prompt):
            self.text = start.text
            return
        if isinstance(start, str) and not start.endswith(".png"):
            raise ValueError(f"{start} is no picture")
        self.start = len(start) if isinstance(start, str) else start

    def insight(self) -> dict[str, NDArray[np.uint8]]:
        return {"negative": 255 - self._frames()} if self.watch == "negative" else {}

    def latent(self) -> NDArray[np.float16]:
        return np.array([int(self._state[0] >> np.uint64(8 * i)) % 256 for i in range(6)], np.float16)

    def status(self) -> str:
        return "status"

    def close(self) -> None:
        pass

    def _frames(self) -> NDArray[np.uint8]:
        colours = [int(self._state[0] >> np.uint64(8 * i)) % 256 for i in range(6)]
        frames = np.array(colours, np.uint8).reshape(CHUNK, 1, 1, 3)
        return np.broadcast_to(frames, (CHUNK, HEIGHT, WIDTH, 3)).copy()


def forward(times: int = 1, yaw: float = 0.0) -> NDArray[np.float32]:
    """Actions of a chunk."""
    return np.tile(MINECRAFT.vector({"forward": 1, "camera": (0, yaw)}), (CHUNK, 1)) * np.float32(times)


def drive(session: Session, until, seconds: float = 20.0) -> list[NDArray[np.uint8]]:
    """Tick until something holds; returns the frames that were shown."""
    shown, end = [], time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"nothing came of it: {session.phase}"
        frame = session.tick(lambda frames: forward()[:frames])
        if frame is not None:
            shown.append(frame)
        time.sleep(0.001)
    return shown


def timeline_of(session: Session) -> Timeline:
    """The timeline of a session that is loaded."""
    assert session.timeline is not None
    return session.timeline


def ready(game: FakeGame, **options) -> Session:
    """A session whose game is loaded."""
    session = Session(lambda tell: game, seed=3, **options)
    drive(session, lambda: session.phase is Phase.READY)
    return session
