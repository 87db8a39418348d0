"""What can be played: a learned world, or the real game, chunk by chunk.

r video frames per chunk, H W pixels, A action vector.
"""

import time
from collections import deque
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import InitialContext, choose, last_frames, prefill
from worldsim.envs.play.controls import HELP
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT, ActionSpec, hold

Frames = NDArray[np.uint8]
# What a step may take of a chunk's duration: the rest is for drawing, and for when the machine is busy.
IN_TIME = 0.7
WARM_UP, TIMED_STEPS = 3, 8


class Game(Protocol):
    """A game that gives ``chunk`` frames for as many actions."""

    spec: ActionSpec
    width: int
    height: int
    fps: float
    chunk: int
    title: str

    def reset(self, seed: int) -> Frames:
        """Begin anew; returns the frames (r, H, W, 3) to show first."""
        ...

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A); returns frames (r, H, W, 3)."""
        ...

    def status(self) -> str:
        """A few words about where the player is."""
        ...

    def close(self) -> None:
        """Free what the game holds."""
        ...


class WorldGame:
    """A learned world. One of another game than Minecraft is played by what the same keys mean there.

    Args:
        world: dreams.
        starts: clips to begin from.
        options: as for ``WorldSimEnv.reset``.
        beginning: begin here every time instead.

    Raises:
        UserError: a keyboard cannot play it.
    """

    def __init__(
        self,
        world: WorldModel,
        starts: StartClips,
        options: dict[str, Any] | None = None,
        beginning: InitialContext | None = None,
    ):
        self.world, self.starts, self.options, self.beginning = world, starts, options, beginning
        self._hands = None if world.spec == MINECRAFT else HumanInputMapper(world.spec)
        self.spec = world.spec if self._hands is None else self._hands.spec
        self.help = HELP if self._hands is None else self._hands.help
        self.chunk, self.fps = world.chunk, float(world.config.fps)
        self.width, self.height = world.config.width, world.config.height
        self.title = "WorldSim"
        self._state: WorldState | None = None
        # The world's own actions since the last reset, one (r, A) a step.
        self.played: list[NDArray[np.float32]] = []

    @property
    def state(self) -> WorldState:
        """Where the world stands."""
        assert self._state is not None, "reset comes first"
        return self._state

    def reset(self, seed: int) -> Frames:
        """Begin from a start clip that the seed decides, or where it was said."""
        beginning = self.beginning or choose(self.world, self.starts, np.random.default_rng(seed), self.options)
        self._state, self.played = prefill(self.world, [beginning]), []
        return last_frames(beginning, self.chunk)

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Generate the next chunk."""
        assert self._state is not None, "reset comes first"
        if self._hands is not None:
            actions = np.stack([self._hands(action) for action in actions])
        self.played.append(actions)
        self._state, out = self.world.step(self._state, actions[None], inplace=True)
        return out.frames[0]

    def status(self) -> str:
        """Distance from the start, as the world itself estimates it."""
        if self._state is None:
            return ""
        x, _, z = self._state.pose[0, :3].tolist()
        return f"{np.hypot(x, z):.0f} m from the start"

    def close(self) -> None:
        """Nothing to free."""


def in_time(world: WorldModel, starts: StartClips, share: float = IN_TIME) -> WorldModel:
    """The same world where it keeps real time on this machine, else sampled in one network evaluation a latent frame.

    ``share``: of a chunk's duration, that a step may take at most (the median of some steps from the first start).
    """
    if world.config.sampling.steps == 1:
        return world
    game = WorldGame(world, starts)
    game.reset(seed=0)
    actions, times = hold(game.spec.idle(), game.chunk), StepTimes(game.chunk, keep=TIMED_STEPS)
    for _ in range(WARM_UP + TIMED_STEPS):
        times.measure(game, actions)
    return world.with_sampling(steps=1) if times.percentile(50) > 1000 * share * game.chunk / game.fps else world


class LuantiGame:
    """The real game: at its own pace for people, as fast as it goes for scripts."""

    def __init__(self, width: int = 576, height: int = 320, *, realtime: bool = True):
        from worldsim.envs.luanti.env import LuantiEnv

        self.spec, self.chunk, self.fps = MINECRAFT, 1, 20.0
        self.width, self.height = width, height
        self.title = "Luanti"
        self._env = LuantiEnv(width, height, observation=None, realtime=realtime)
        self._info: dict[str, Any] = {}

    def reset(self, seed: int) -> Frames:
        """Begin at a random spot that the seed decides."""
        frame, self._info = self._env.reset(seed=seed)
        return frame[None]

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play one frame."""
        frame, _, _, _, self._info = self._env.step(actions[0])
        return frame[None]

    def status(self) -> str:
        """Position in the world, metres."""
        position = self._info.get("position")
        return "" if position is None else "at " + " ".join(f"{v:.0f}" for v in position)

    def close(self) -> None:
        """Stop the game."""
        self._env.close()


class StepTimes:
    """Wall time of the latest steps."""

    def __init__(self, chunk: int, keep: int = 100_000):
        self.chunk = chunk
        self.seconds: deque[float] = deque(maxlen=keep)

    def measure(self, game: Game, actions: NDArray[np.float32]) -> Frames:
        """Advance the game and note how long it took."""
        begun = time.perf_counter()
        frames = game.advance(actions)
        self.seconds.append(time.perf_counter() - begun)
        return frames

    def percentile(self, percent: float) -> float:
        """Milliseconds."""
        return 1000 * float(np.percentile(self.seconds, percent)) if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames a second, if steps followed each other without a pause."""
        return self.chunk * len(self.seconds) / max(1e-9, sum(self.seconds))

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.frames_per_second:.1f} frames/s, step latency p50 {self.percentile(50):.1f} ms, "
            f"p95 {self.percentile(95):.1f} ms"
        )
