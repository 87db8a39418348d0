"""Where agents play: a learned world or the real game behind it."""

from pathlib import Path
from typing import Any, Protocol

import worldsim
from worldsim.cli.settings import setting
from worldsim.errors import UserError
from worldsim.simulation.devices import device_of

POLICY = "policy=scripted or policy=runs/agent"
POLICIES = "random, noop, scripted (explore), a script's name, package.module:Class, or a run's folder"


class Played(Protocol):
    """Settings of everything that is played."""

    env: str
    task: str | None
    world: str | None
    sampling_steps: int | None
    device: str | None
    maps: list[int]


def env_setting(help: str = "the world's id, or any Gymnasium id with pictures") -> Any:
    """The environment."""
    return setting("WorldSim-Minecraft-v0", help=help)


def checkpoint_setting() -> Any:
    """The world, by its checkpoint."""
    return setting(None, help="checkpoint folder; default: the shipped world", check=worldsim.world_folder)


def sampling_setting() -> Any:
    """How precisely the world is sampled."""
    return setting(
        None,
        help="dream: network evaluations a latent frame; default: the world's own; 1 is fastest",
        minimum=1,
    )


def length_setting() -> Any:
    """How long an episode is."""
    return setting(150, help="after which an episode is cut", unit="steps", minimum=1)


def maps_setting() -> Any:
    """The real game's maps."""
    return setting([1], help="engine: map seeds to draw from")


def trust_setting() -> Any:
    """Until where the world is believed."""
    return setting(
        None,
        help="dream: cut an episode when the world's confidence falls below this; default: never",
        minimum=0,
        maximum=1,
    )


def environment_of(config: Played, place: str) -> tuple[str, dict[str, Any]]:
    """Id and settings of the environment in the dream or the engine."""
    from worldsim.agents.rl.envs import ENGINES, env_id, env_settings, sampled

    env = env_id(config.env, place)
    # Any other environment has a reward of its own, and takes no settings of ours.
    ours = env in ENGINES or env in ENGINES.values()
    if not ours and any(each is not None for each in (config.task, config.world, config.sampling_steps, config.device)):
        raise UserError(
            f"{config.env} has its own reward and no world: task, world, sampling_steps and device are for ours"
        )
    luanti = env == "WorldSim-Luanti-v0"
    maps = [int(seed) for seed in config.maps] if luanti else ()
    if not ours:
        return env, {}
    real = luanti or place == "engine"
    device = device_of(config.device)
    kwargs = env_settings(
        "engine" if real else "dream",
        task=config.task,
        world=config.world,
        maps=maps,
        min_trust=getattr(config, "min_trust", None),
        device=device,
    )
    if config.sampling_steps is not None and not real:
        kwargs |= sampled(env, config.world, config.sampling_steps, device)
    return env, kwargs


def take_task(config: Played, policy: str) -> None:
    """Without a task, a trained policy's own one.

    Raises:
        UserError: that is a function, which would be imported and run because a file says so.
    """
    if config.task is None and Path(policy).exists():
        from worldsim.agents.policies.policy_net import load_policy

        task = load_policy(policy).about.get("task")
        if isinstance(task, str) and ":" in task and not task.startswith("goal:"):
            raise UserError(f"{policy} was trained for task={task}, a function: give it yourself if you trust it")
        config.task = task


def frame_rate(env: Any) -> float:
    """Frames a second of what ``info["frames"]`` holds: those of a chunk, or one a step."""
    # Of many environments, the first: a list of them, or all in one.
    inner = getattr(env, "envs", env)
    inner = inner[0] if isinstance(inner, list) else inner
    unwrapped = getattr(inner, "unwrapped", inner)
    chunk = getattr(getattr(unwrapped, "world", unwrapped), "chunk", 1)
    return float((inner.metadata or {}).get("render_fps") or 30) * int(chunk)
