"""Who plays in an environment: a trained policy, a scripted player, at random, or nobody.

r video frames per step, A action vector.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.mixture import make_policy
from worldsim.agents.policies.scripts import SCRIPTS
from worldsim.datasets.recording.env_pictures import action_meanings
from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec

Env = gymnasium.Env[Any, Any]
# Players that are no file and no class.
KNOWN = ("random", "noop", "scripted", "mixture", *SCRIPTS)


class Player(Protocol):
    """Whoever acts; ``name`` goes into tables."""

    name: str

    def reset(self, seed: int, info: Mapping[str, Any]) -> None:
        """Begin an episode; the seed decides all later draws."""
        ...

    def act(self, observation: NDArray[np.uint8], info: Mapping[str, Any]) -> Any:
        """The next action, of the environment's action space."""
        ...


class RandomPlayer:
    """Any action of the space, each time anew."""

    name = "random"

    def __init__(self, env: Env):
        self._space = env.action_space

    def reset(self, seed: int, info: Mapping[str, Any]) -> None:
        """Begin an episode."""
        self._space.seed(_own(seed))

    def act(self, observation: NDArray[np.uint8], info: Mapping[str, Any]) -> Any:
        """A random action."""
        return self._space.sample()


class IdlePlayer:
    """Does nothing."""

    name = "noop"

    def __init__(self, env: Env):
        actions = getattr(env.unwrapped, "actions", None)
        # Elsewhere, as in Atari's games, the first option is the one that does nothing.
        self._action = 0 if actions is None else actions.nearest(actions.spec.idle())

    def reset(self, seed: int, info: Mapping[str, Any]) -> None:
        """Begin an episode."""

    def act(self, observation: NDArray[np.uint8], info: Mapping[str, Any]) -> Any:
        """The action that does nothing."""
        return self._action


class ScriptPlayer:
    """A scripted player at an agent's pace: one decision a step, by the options that an agent has.

    In the engine it knows what the engine tells (where trees are, say); in the dream only what the world estimates.

    Args:
        env: Minecraft-like, with pose; for a player of the user's own any environment that tells its actions.
        name: one of the scripts, mixture, or ``package.module:Name``: a class as ``collect`` takes it, made with the
            game's actions and its steps a second.

    Raises:
        UserError: there is no such script or class, or the environment is none for it.
    """

    def __init__(self, env: Env, name: str):
        self.name = name
        if ":" in name:
            # Imported here: sources bring the engines with them.
            from worldsim.agents.policies.factory import load_policy

            self._actions = _told_actions(env, name)
            self._policy = load_policy(name)(self._actions.spec, float(env.metadata.get("render_fps") or 1))
            return
        actions = getattr(env.unwrapped, "actions", None)
        if actions is None or "forward" not in actions.spec.keys or not actions.spec.camera:
            raise UserError(f"policy {name!r} plays Minecraft-like worlds only: use random, noop or a trained policy")
        try:
            self._policy = make_policy(name)
        except ValueError as error:
            raise UserError(f"{error}, random, noop, or the folder of a run") from error
        self._actions = actions

    def reset(self, seed: int, info: Mapping[str, Any]) -> None:
        """Begin an episode."""
        self._policy.reset(np.random.default_rng(_own(seed)), _posed(info))

    def act(self, observation: NDArray[np.uint8], info: Mapping[str, Any]) -> Any:
        """The option that comes closest to what the script does next."""
        return self._actions.nearest(self._policy.act(observation, _posed(info)))


class TrainedPlayer:
    """A trained policy.

    Args:
        env: it has to fit.
        path: a policy's file, or a run's folder.
        deterministic: always the likeliest action, instead of drawing.
    """

    def __init__(self, env: Env, path: str, deterministic: bool = False):
        # Imported here: the other players need no stable-baselines3.
        from worldsim.agents.policies.policy_net import Memory, load_policy

        self.name, self._deterministic = path, deterministic
        self._learned = load_policy(path)
        self._learned.check(env)
        self._memory = Memory(self._learned.net, env.observation_space)

    def reset(self, seed: int, info: Mapping[str, Any]) -> None:
        """Begin an episode."""
        import torch

        torch.manual_seed(_own(seed))
        self._memory.forget()

    def act(self, observation: NDArray[np.uint8], info: Mapping[str, Any]) -> Any:
        """The policy's action; it remembers the observation."""
        return self._learned.act(self._memory.see(observation), deterministic=self._deterministic)


def make_player(name: str, env: Env, *, deterministic: bool = False) -> Player:
    """A player by name: random, noop, scripted (explore), a script's name, mixture, ``package.module:Name`` for a class
    of one's own, or a run's folder or policy file.

    Raises:
        UserError: there is no such player, or it does not fit.
        FileNotFoundError: there is no such run.
    """
    if name == "random":
        return RandomPlayer(env)
    if name == "noop":
        return IdlePlayer(env)
    if name == "scripted":
        return ScriptPlayer(env, "explore")
    if name in KNOWN or (":" in name and not Path(name).exists()):
        return ScriptPlayer(env, name)
    return TrainedPlayer(env, name, deterministic)


def _own(seed: int) -> int:
    """A player's own seed: from the environment's it would draw the very numbers that the environment draws."""
    return int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])


def _told_actions(env: Env, name: str) -> Any:
    """The options of an environment of ours, or of one with discrete actions whose names it tells."""
    # Imported here: the other players need no spaces of ours.
    from worldsim.envs.learned.action_spaces import make_actions

    if (actions := getattr(env.unwrapped, "actions", None)) is not None:
        return actions
    meanings = action_meanings(env)
    if not isinstance(env.action_space, gymnasium.spaces.Discrete) or meanings is None:
        raise UserError(f"policy {name!r} needs an environment that tells what its actions are called")
    keys = tuple(meaning.lower() for meaning in meanings)
    return make_actions(ActionSpec(keys=keys, camera=False), "discrete")


def _posed(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """In the dream a pose is all that is known, elsewhere perhaps not even that."""
    if "position" in info or "pose" not in info:
        return info
    x, y, z, yaw, pitch = (float(value) for value in info["pose"])
    return {**info, "position": np.array([x, y, z]), "yaw": (yaw + 180) % 360 - 180, "pitch": pitch}
