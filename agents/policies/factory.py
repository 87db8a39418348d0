"""Who plays, by name: scripted players, at random, an action script, or a class of the user's own."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.mixture import Policy, make_policy
from worldsim.agents.policies.random import Idle, StickyRandom
from worldsim.errors import UserError
from worldsim.imports import load_object
from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import ScriptPolicy
from worldsim.spec.actions import ActionSpec

PLAIN_POLICIES = ("random", "noop", "script")


class PolicyContext(Protocol):
    """What a policy has to know of the game it plays; every recording environment has it."""

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


def policy_for(name: str, stage: PolicyContext, script: str = "") -> Policy:
    """Who plays on a stage: ``random`` (sticky), ``noop``, ``script``, a scripted player, or one of your own.

    ``package.module:Name`` is a class of yours: a ``Policy``, made with the game's actions (``ActionSpec``) and its
    frames a second.

    Raises:
        UserError: the policy is unknown, or needs what the source does not tell.
        ScriptError: the script does not fit the game.
    """
    if ":" in name:
        return load_policy(name)(stage.spec, stage.fps)
    if name == "script":
        if not script:
            raise UserError(
                "policy=script needs a script: script=walk.script, or --script 'forward 20; yaw +90 x 10' (turns right)"
            )
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


def load_policy(name: str) -> Callable[[ActionSpec, float], Policy]:
    """The class ``package.module:Name``, made with a game's actions and its frames a second.

    Raises:
        UserError: there is no such class.
    """
    return load_object(name, "policy")
