"""Environments for stable-baselines3: learned worlds with all rows in one forward pass, engines one after another."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from worldsim.envs.learned.initial_context import resolve
from worldsim.envs.learned.sb3_vec_env import WorldSimVecEnv
from worldsim.errors import UserError

DREAM = "WorldSim-Minecraft-v0"
# The engine behind each learned world.
ENGINES = {DREAM: "WorldSim-Luanti-v0", "WorldSim-Pong-v0": "WorldSim-PongEngine-v0"}
PLACES = ("dream", "engine")


def env_id(env: str, place: str) -> str:
    """The environment for ``--in dream`` or ``--in engine``.

    Raises:
        UserError: there is no such place, or no engine is known for the world.
    """
    if place not in PLACES:
        raise UserError(f"in must be dream or engine, got {place!r}")
    env = env.removeprefix("worldsim:")
    if place == "dream":
        return env
    if env not in ENGINES and env in ENGINES.values():
        return env
    if env not in ENGINES:
        raise UserError(f"no engine is known behind {env}: name the engine's own environment, as env=ALE/Pong-v5")
    return ENGINES[env]


def make_rows(env: str, rows: int, *, steps: int, kwargs: Mapping[str, Any]) -> VecEnv:
    """``rows`` environments side by side that truncate after ``steps`` steps.

    Raises:
        UserError: there is no such environment, or it does not take these settings.
    """
    try:
        spec = spec_of(env)
        if spec.vector_entry_point is not None and "worldsim" in str(spec.vector_entry_point):
            return WorldSimVecEnv(rows, max_episode_steps=steps, **{**spec.kwargs, **kwargs})
        return DummyVecEnv([lambda: make_one(env, steps=steps, kwargs=kwargs)] * rows)
    except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
        raise UserError(f"cannot make {env}: {error}") from error


def spec_of(env: str) -> EnvSpec:
    """The registration of an id, with or without the module that registers it (``package:Name-v0``).

    Raises:
        ModuleNotFoundError: there is no such module.
        gymnasium.error.Error: there is no such environment.
    """
    module, _, name = env.rpartition(":")
    if module:
        importlib.import_module(module)
    return gymnasium.spec(name)


def make_one(env: str, *, steps: int, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """One environment that truncates after ``steps`` steps.

    Raises:
        UserError: there is no such environment, or it does not take these settings.
    """
    try:
        return gymnasium.make(env, max_episode_steps=steps, **kwargs)
    except (gymnasium.error.Error, TypeError) as error:
        raise UserError(f"cannot make {env}: {error}") from error


def sampled(env: str, world: str | None, steps: int, device: str | None = None) -> dict[str, Any]:
    """World and start clips of an environment of ours, denoised in so many steps on a device, as its settings.

    Raises:
        ValueError: ``steps`` is below 1, or there is no such device.
    """
    model, starts = resolve(world or spec_of(env).kwargs.get("world", "minecraft"), None, device)
    return {"world": model.with_sampling(steps=steps), "starts": starts}


def env_settings(
    place: str,
    *,
    task: str | None,
    world: str | None,
    maps: Sequence[int],
    min_trust: float | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """What an environment of ours is made with; what was not given is left to its own defaults."""
    given: dict[str, Any] = {"task": task}
    dream = {"world": world, "min_trust": min_trust, "device": device}
    given |= dream if place == "dream" else {"maps": tuple(maps) or None}
    return {name: value for name, value in given.items() if value is not None}
