"""Choose a source by name and settings."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from worldsim.agents.collection.source_engine import LuantiSource
from worldsim.agents.collection.source_gym import GymSource
from worldsim.agents.collection.source_minerl import MineRLSource
from worldsim.agents.collection.types import EnvFactory
from worldsim.errors import UserError

SOURCES = ("luanti", "gym", "worldsim", "minerl")


def make_source(
    kind: str,
    *,
    env: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    frames: str = "auto",
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    licence: str | None = None,
    text: str | None = None,
    world: str = "minecraft",
    starts: str | None = None,
    split: str | None = None,
    prompt: str | None = None,
    depth: bool = True,
    threads: int = 1,
) -> EnvFactory:
    """A source by name; settings of other sources are left aside.

    Raises:
        UserError: there is no such source, or a setting is missing.
    """
    if kind == "luanti":
        return LuantiSource(depth=depth)
    if kind == "minerl":
        return MineRLSource(env=env) if env else MineRLSource()
    if kind == "gym":
        if not env:
            raise UserError("env is missing: give, for example, env=ALE/Breakout-v5")
        given = {"licence": licence, "text": text}
        options = {name: value for name, value in given.items() if value is not None}
        return GymSource(env=env, kwargs=dict(env_kwargs or {}), frames=frames, fps=fps, size=size, **options)
    if kind == "worldsim":
        # Imported here: it brings the network, which no other source needs.
        from worldsim.agents.collection.source_world import WorldSource, check_split

        return WorldSource(world=world, starts=starts, split=check_split(split), prompt=prompt, threads=threads)
    raise UserError(f"source must be one of {', '.join(SOURCES)}, got {kind!r}")


def name_prefix(source: EnvFactory, *, policy: str, script: str, episode_frames: int) -> str:
    """The beginning of the names of a collection's episodes: what it would record otherwise gets another name.

    The default engine under one of its scripted players has none, as it always had.
    """
    if isinstance(source, LuantiSource) and policy not in ("random", "noop", "script"):
        return ""
    settings = asdict(source)  # pyright: ignore[reportArgumentType] (every source is a dataclass)
    # The same play, with or without its depth.
    settings.pop("depth", None)
    if settings.get("size", "") is None:
        # Names of collections made before there was such a setting.
        del settings["size"]
    chosen = {"source": settings, "policy": policy, "script": script, "frames": episode_frames}
    text = json.dumps(chosen, sort_keys=True, default=str)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", source.name).strip("-").lower()
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:6]}-"
