"""What can be played: a learned world, or the real game, chunk by chunk.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import InitialContext, choose, last_frames, prefill
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.worker import StepTimes
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT, hold

Frames = NDArray[np.uint8]
# What a step may take of a chunk's duration: the rest is for drawing, and for when the machine is busy.
IN_TIME = 0.7
WARM_UP, TIMED_STEPS = 3, 8


class Game(Protocol):
    """A game that gives ``chunk`` frames for as many actions.

    ``hands`` turns a person's controls into the game's actions. Where ``rewinds``, a snapshot holds all that the
    future depends on: restored, the same actions give the same frames.
    """

    hands: HumanInputMapper
    width: int
    height: int
    fps: float
    chunk: int
    title: str
    rewinds: bool
    # Pictures uint8 (N, H, W, 3) of starts to choose from, or None.
    pictures: Frames | None

    def reset(self, seed: int) -> Frames:
        """Begin anew; returns the frames (r, H, W, 3) to show first."""
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

    def begin_at(self, number: int) -> None:
        """Let ``reset`` begin at one of the starts."""
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
        learned: the keys that the world knows; None: all.

    Raises:
        UserError: a keyboard cannot play it.
    """

    rewinds = True

    def __init__(
        self,
        world: WorldModel,
        starts: StartClips,
        options: dict[str, Any] | None = None,
        beginning: InitialContext | None = None,
        learned: Collection[str] | None = None,
    ):
        self.world, self.starts, self.options, self.beginning = world, starts, dict(options or {}), beginning
        self._learned = learned
        self.hands = HumanInputMapper(world.spec, learned=learned)
        self.chunk, self.fps = world.chunk, float(world.config.fps)
        self.width, self.height = world.config.width, world.config.height
        self.title = "WorldSim"
        self.pictures: Frames | None = None if beginning is not None else starts.frames[:, -1]
        self._state: WorldState | None = None
        self._begun: InitialContext | None = None
        self._trust = float("nan")

    @property
    def state(self) -> WorldState:
        """Where the world stands."""
        assert self._state is not None, "reset comes first"
        return self._state

    @property
    def begun(self) -> InitialContext:
        """The past that the last reset began from."""
        assert self._begun is not None, "reset comes first"
        return self._begun

    def another(self) -> "WorldGame":
        """A game of its own in the same world, which is loaded once; for before anybody plays this one."""
        return WorldGame(self.world, self.starts, self.options, self.beginning, self._learned)

    def reset(self, seed: int) -> Frames:
        """Begin from a start clip that the seed decides, or where it was said."""
        self._begun = self.beginning or choose(self.world, self.starts, np.random.default_rng(seed), self.options)
        self._state, self._trust = prefill(self.world, [self._begun]), float("nan")
        return last_frames(self._begun, self.chunk)

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Generate the next chunk."""
        self._state, out = self.world.step(self.state, actions[None], inplace=True)
        self._trust = float(out.trust[0])
        return out.frames[0]

    def snapshot(self) -> WorldState:
        """A copy: the next step is taken in place."""
        return self.state.select([0])

    def begin_at(self, number: int) -> None:
        """Begin at a start clip from now on."""
        self.options["prefix"] = number

    def restore(self, snapshot: WorldState) -> None:
        """Go on from a copy of the snapshot."""
        self._state, self._trust = snapshot.select([0]), float("nan")

    def status(self) -> str:
        """Distance from the start, as the world itself estimates it, and how far it trusts its picture."""
        words = []
        if self._state is not None and self.world.spec == MINECRAFT:
            x, _, z = self._state.pose[0, :3].tolist()
            words.append(f"{np.hypot(x, z):.0f} m from the start")
        if np.isfinite(self._trust):
            words.append(f"trust {100 * self._trust:.0f} %")
        return "   ".join(words)

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
    actions, times = hold(world.spec.idle(), game.chunk), StepTimes(game.chunk, keep=TIMED_STEPS)
    for _ in range(WARM_UP + TIMED_STEPS):
        times.measure(lambda: game.advance(actions))
    return world.with_sampling(steps=1) if times.percentile(50) > 1000 * share * game.chunk / game.fps else world


class LuantiGame:
    """The real game: at its own pace for people, as fast as it goes for scripts."""

    rewinds = False

    def __init__(self, width: int = 576, height: int = 320, *, realtime: bool = True):
        from worldsim.envs.luanti.env import LuantiEnv

        self.hands, self.chunk, self.fps = HumanInputMapper(MINECRAFT), 1, 20.0
        self.width, self.height = width, height
        self.title = "Luanti"
        self.pictures: Frames | None = None
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

    def snapshot(self) -> None:
        """The engine has none."""

    def restore(self, snapshot: Any) -> None:
        """Never asked for."""

    def begin_at(self, number: int) -> None:
        """Never asked for."""

    def status(self) -> str:
        """Position in the world, metres."""
        position = self._info.get("position")
        return "" if position is None else "at " + " ".join(f"{v:.0f}" for v in position)

    def close(self) -> None:
        """Stop the game."""
        self._env.close()
