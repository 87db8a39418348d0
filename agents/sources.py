"""Where episodes come from: what an engine, an environment or a learned world offers to whoever records it.

r video frames per step (1 for engines), H W pixels, A action vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.action_script import parse_script
from worldsim.actions import ActionSpec
from worldsim.agents.policies import Policy, make_policy
from worldsim.agents.policies_random import Idle, StickyRandom
from worldsim.errors import UserError
from worldsim.imports import own
from worldsim.script_player import ScriptPolicy

if TYPE_CHECKING:
    from worldsim.agents.collect_tape import Tape
    from worldsim.agents.collect_world import World

NOBODY = "no person recorded"
PLAIN_POLICIES = ("random", "noop", "script")


@dataclass(frozen=True, kw_only=True)
class Moment:
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


class Stage(Protocol):
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

    def reset(self, rng: np.random.Generator) -> Moment:
        """Begin an episode; all that is random about its beginning comes from ``rng``."""
        ...

    def advance(self, actions: NDArray[np.float32]) -> list[Moment]:
        """Play actions (r, A); returns as many moments, fewer where the episode ended."""
        ...

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action vector (A,)."""
        ...

    def idle(self) -> NDArray[np.float32]:
        """The action vector (A,) that does nothing."""
        ...

    def facts(self, tape: "Tape") -> Facts:
        """What is known about the episode that was just played."""
        ...

    def close(self) -> None:
        """Free what the source holds."""
        ...


class Source(Protocol):
    """Where episodes come from, before it is opened. It travels to worker processes, so it holds settings only.

    Attributes:
        name: for provenance, such as ``gym:ALE/Breakout-v5``.
        policy: who plays unless another one is asked for.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def policy(self) -> str: ...  # noqa: D102

    def __call__(self, world: "World", fps: float) -> Stage:
        """Open it for one unit of work."""
        ...

    def check(self, policy: str, script: str) -> float:
        """See, before workers start, that it can be opened and that the policy fits; returns its frames a second.

        Raises:
            UserError: it cannot, with what to do.
        """
        ...


class Seat(Protocol):
    """What a policy has to know of the game it plays; every stage tells it. Attributes as in ``Stage``."""

    @property
    def spec(self) -> ActionSpec: ...  # noqa: D102

    @property
    def fps(self) -> float: ...  # noqa: D102

    @property
    def poses(self) -> bool: ...  # noqa: D102

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action vector (A,)."""
        ...

    def idle(self) -> NDArray[np.float32]:
        """The action vector (A,) that does nothing."""
        ...


def policy_for(name: str, stage: Seat, script: str = "") -> Policy:
    """Who plays on a stage: ``random`` (sticky), ``noop``, ``script``, a scripted player, or one of your own.

    ``package.module:Name`` is a class of yours: a ``Policy``, made with the game's actions (``ActionSpec``) and its
    frames a second.

    Raises:
        UserError: the policy is unknown, or needs what the source does not tell.
        ScriptError: the script does not fit the game.
    """
    if ":" in name:
        return own_policy(name)(stage.spec, stage.fps)
    if name == "script":
        if not script:
            raise UserError("policy=script needs a script: script=walk.script, or --script 'forward 20; yaw +90 x 10'")
        return ScriptPolicy(parse_script(script), stage.spec, fps=stage.fps)
    if name == "random":
        return StickyRandom(stage.sample, camera=stage.spec.camera, fps=stage.fps)
    if name == "noop":
        return Idle(stage.idle())
    try:
        policy = make_policy(name)
    except ValueError as error:
        raise UserError(f"{error}, {', '.join(PLAIN_POLICIES)}") from error
    if not stage.poses:
        raise UserError(
            f"policy {name!r} needs a Minecraft-like game that tells position, yaw and pitch: "
            f"use {', '.join(PLAIN_POLICIES)} here"
        )
    return policy


def own_policy(name: str) -> Callable[[ActionSpec, float], Policy]:
    """The class ``package.module:Name``, made with a game's actions and its frames a second.

    Raises:
        UserError: there is no such class.
    """
    return own(name, "policy")
