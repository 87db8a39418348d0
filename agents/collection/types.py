"""The types of a collection: jobs, transitions, what is recorded on, and where that comes from.

r video frames per step (1 for engines), H W pixels, A action vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.store import Split, split_of
from worldsim.spec.actions import ActionSpec

NOBODY = "no person recorded"


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """One map seed's share of a collection; everything random in it follows from ``seed`` and ``number``."""

    seed: int
    number: int
    map_seed: int
    mapgen: str
    names: tuple[str, ...]
    episode_frames: int
    policy: str
    frozen_limit: float
    script: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return f"world {self.number} (map seed {self.map_seed})"

    @property
    def split(self) -> Split:
        """Train, validation or test, by map seed."""
        return split_of(self.map_seed)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One frame, and how it came about.

    Attributes:
        frame: uint8 (H, W, 3).
        info: what the source tells about it: ``position`` (metres), ``yaw``, ``pitch`` (degrees), ``events``, ...
        action: the vector (A,) that was really executed on the way to it; zeros for the first frame.
        reward: of that action.
        terminated: the game is over.
        truncated: the source ends the episode here for another reason.
    """

    frame: NDArray[np.uint8]
    info: Mapping[str, Any]
    action: NDArray[np.float32]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a source knows about a recorded episode: a caption, arrays per frame, provenance."""

    text: str
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Buffer(Protocol):
    """An episode that is being recorded, as a stage reads it to tell facts. N frames, N - 1 actions."""

    @property
    def frames(self) -> list[NDArray[np.uint8]]: ...  # noqa: D102

    @property
    def infos(self) -> list[Mapping[str, Any]]: ...  # noqa: D102

    @property
    def actions(self) -> list[NDArray[np.float32]]: ...  # noqa: D102

    @property
    def scripts(self) -> list[str]: ...  # noqa: D102


class RecordingEnv(Protocol):
    """An opened source, on which one episode after the other is played.

    Attributes:
        spec: the action vector.
        fps: frames a second of game time.
        chunk: frames per step, r.
        poses: whether ``info`` has what the scripted policies need: position, yaw and pitch under MINECRAFT's keys.
        rejects_frozen: whether an episode that stands still is thrown away and played again.
    """

    spec: ActionSpec
    fps: float
    chunk: int
    poses: bool
    rejects_frozen: bool

    def reset(self, rng: np.random.Generator) -> Transition:
        """Begin an episode; all that is random about its beginning comes from ``rng``."""
        ...

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Play actions (r, A); returns as many moments, fewer where the episode ended."""
        ...

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action vector (A,)."""
        ...

    def idle(self) -> NDArray[np.float32]:
        """The action vector (A,) that does nothing."""
        ...

    def facts(self, tape: Buffer) -> Facts:
        """What is known about the episode that was just played."""
        ...

    def close(self) -> None:
        """Free what the source holds."""
        ...


class EnvFactory(Protocol):
    """Where episodes come from, before it is opened. It travels to worker processes, so it holds settings only.

    Attributes:
        name: for provenance, such as ``gym:ALE/Breakout-v5``.
        policy: who plays unless another one is asked for.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def policy(self) -> str: ...  # noqa: D102

    def __call__(self, world: MapJob, fps: float) -> RecordingEnv:
        """Open it for one unit of work."""
        ...

    def check(self, policy: str, script: str) -> float:
        """See, before workers start, that it can be opened and that the policy fits; returns its frames a second.

        Raises:
            UserError: it cannot, with what to do.
        """
        ...


# Makes what a world is played on: a source, or a function that gives an environment like Luanti's (or a stage).
MakeEnv = Callable[[MapJob, float], "RecordingEnv | gymnasium.Env[Any, Any]"]
Report = Callable[[tuple[str, Any]], None]
