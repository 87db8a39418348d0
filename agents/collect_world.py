"""Plan and record one world: one map seed, a few episodes from different starting points."""

import importlib.metadata
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.actions import MINECRAFT
from worldsim.agents.policies import Policy, make_policy
from worldsim.agents.policies_scripts import SCRIPTS
from worldsim.datasets.captions import episode_caption
from worldsim.datasets.episode import Episode
from worldsim.datasets.store import SPLIT_PERIOD, EpisodeStore, Split, split_of

# Mean absolute difference of two pictures (of 255) under which the second counts as frozen.
FROZEN_DIFFERENCE = 0.15
# A stretch of so many frozen frames ends the attempt.
FROZEN_STRETCH = 80
FROZEN_ATTEMPTS = 4
# Worlds take map generators in turn; v7 is Luanti's default.
MAPGENS = ("v7", "v6", "valleys", "v7", "carpathian", "v5")
# Frames between two reports of a worker.
REPORT_EVERY = 50

SCRIPT_NAMES = tuple(SCRIPTS)


@dataclass(frozen=True, kw_only=True)
class World:
    """One map seed's share of a collection; everything random in it follows from ``seed`` and ``number``."""

    seed: int
    number: int
    map_seed: int
    mapgen: str
    names: tuple[str, ...]
    episode_frames: int
    policy: str
    frozen_limit: float

    @property
    def name(self) -> str:
        """For messages."""
        return f"world {self.number} (map seed {self.map_seed}, {self.mapgen})"

    @property
    def split(self) -> Split:
        """Train, validation or test, by map seed."""
        return split_of(self.map_seed)


EnvFactory = Callable[[World, int], gymnasium.Env[Any, Any]]
Report = Callable[[tuple[str, Any]], None]


def plan_worlds(
    *, seed: int, episodes: int, episodes_per_world: int, episode_frames: int, policy: str, frozen_limit: float
) -> list[World]:
    """The worlds of a collection. A longer collection with the same seed begins with the same worlds."""
    worlds = []
    for number in range(math.ceil(episodes / episodes_per_world)):
        count = min(episodes_per_world, episodes - number * episodes_per_world)
        # Residues in turn, so that every twelve worlds hold one for validation and one for test.
        block = int(np.random.default_rng((seed, number)).integers(2**31 // SPLIT_PERIOD - 1))
        worlds.append(
            World(
                seed=seed,
                number=number,
                map_seed=block * SPLIT_PERIOD + number % SPLIT_PERIOD,
                # A step of seven against the twelve residues lets every split see every generator.
                mapgen=MAPGENS[(number + number // SPLIT_PERIOD) % len(MAPGENS)],
                names=tuple(f"s{seed}-w{number:04d}-e{i:02d}" for i in range(count)),
                episode_frames=episode_frames,
                policy=policy,
                frozen_limit=frozen_limit,
            )
        )
    return worlds


def make_luanti(world: World, fps: int) -> gymnasium.Env[Any, Any]:
    """The default engine."""
    # Imported here: planning and tests need no engine.
    from worldsim.envs.luanti_env import LuantiEnv

    return LuantiEnv(map_seed=world.map_seed, mapgen=world.mapgen, fps=fps)


def record_world(store: EpisodeStore, world: World, *, make_env: EnvFactory, fps: int, report: Report) -> None:
    """Record the episodes of a world that the store lacks.

    ``report`` receives ``("steps", n)``, ``("episode", {...})`` and ``("frozen", name)`` as they happen.

    Raises:
        Exception: whatever the engine raises; what is committed stays.
    """
    env = make_env(world, fps)
    try:
        for number, name in enumerate(world.names):
            for attempt in range(FROZEN_ATTEMPTS):
                if name in store:
                    break
                rng = np.random.default_rng((world.seed, world.number, number, attempt))
                tape = _play(env, world, rng, report)
                if tape.frozen > world.frozen_limit * max(1, len(tape.frames)) or tape.stretch >= FROZEN_STRETCH:
                    report(("frozen", name))
                    continue
                episode = tape.episode(world, fps)
                store.append(episode, name)
                report(("episode", {"name": name, "frames": len(episode), "frozen": tape.frozen}))
    finally:
        env.close()


def start_options(rng: np.random.Generator) -> dict[str, Any]:
    """Where, when and which way an episode begins: mostly by day, some at dusk or dawn, few at night."""
    kind = rng.choice(3, p=[0.84, 0.12, 0.04])
    if kind == 0:
        hour = float(rng.uniform(0.30, 0.70))
    elif kind == 1:
        hour = float(rng.choice([rng.uniform(0.225, 0.29), rng.uniform(0.72, 0.785)]))
    else:
        hour = float(rng.uniform(0.85, 1.15) % 1.0)
    return {"time_of_day": hour, "yaw": float(rng.uniform(-180, 180)), "pitch": float(rng.normal(2, 6))}


def _play(env: gymnasium.Env[Any, Any], world: World, rng: np.random.Generator, report: Report) -> "Tape":
    """One attempt at an episode, given up when the picture stands still for too long."""
    start_seed, options = int(rng.integers(2**31)), start_options(rng)
    policy = make_policy(world.policy)
    obs, info = env.reset(seed=start_seed, options=options)
    tape = Tape(obs, info, start_seed, options)
    policy.reset(rng, info)
    unreported = 0
    for _ in range(world.episode_frames - 1):
        action = policy.act(obs, info)
        obs, reward, terminated, truncated, info = env.step(action)
        tape.add(obs, info, np.asarray(info.get("action", action), np.float32), float(reward), terminated, policy)
        unreported += 1
        if unreported == REPORT_EVERY:
            report(("steps", unreported))
            unreported = 0
        hopeless = tape.frozen > world.frozen_limit * world.episode_frames
        if terminated or truncated or hopeless or tape.stretch >= FROZEN_STRETCH:
            break
    report(("steps", unreported))
    return tape


class Tape:
    """An episode while it is being recorded."""

    def __init__(self, obs: NDArray[np.uint8], info: Mapping[str, Any], start_seed: int, options: Mapping[str, Any]):
        self.frames, self.infos = [obs], [info]
        self.actions: list[NDArray[np.float32]] = []
        self.rewards: list[float] = []
        self.terminated = [False]
        self.scripts: list[int] = []
        self.start_seed, self.options = start_seed, dict(options)
        self.frozen = 0
        self.stretch = 0

    def add(
        self,
        obs: NDArray[np.uint8],
        info: Mapping[str, Any],
        action: NDArray[np.float32],
        reward: float,
        terminated: bool,
        policy: Policy,
    ) -> None:
        """Add the frame that ``action`` led to."""
        still = float(np.abs(obs.astype(np.int16) - self.frames[-1]).mean()) < FROZEN_DIFFERENCE
        self.frozen += still
        self.stretch = self.stretch + 1 if still else 0
        self.frames.append(obs)
        self.infos.append(info)
        self.actions.append(action)
        self.rewards.append(reward)
        self.terminated.append(bool(terminated))
        self.scripts.append(SCRIPT_NAMES.index(policy.name))

    def episode(self, world: World, fps: int) -> Episode:
        """The finished episode."""
        frames, infos = len(self.frames), self.infos
        actions = np.zeros((frames, MINECRAFT.size), np.float32)
        actions[:-1] = self.actions
        items = sorted({item for info in infos for item in info.get("inventory", {})})
        state = _state(infos) | {"script": np.array([*self.scripts, self.scripts[-1]], np.int16)}
        if items:
            counts = [[info.get("inventory", {}).get(item, 0) for item in items] for info in infos]
            state["inventory"] = np.array(counts, np.int32)
        return Episode(
            frames=np.stack(self.frames),
            actions=actions,
            rewards=np.array([*self.rewards, 0.0], np.float32),
            terminated=np.array(self.terminated),
            state=state,
            events=[{**event, "frame": t} for t, info in enumerate(infos) for event in info.get("events", ())],
            text=episode_caption(
                SCRIPT_NAMES[Counter(self.scripts).most_common(1)[0][0]],
                str(infos[0].get("biome", "")),
                float(self.options["time_of_day"]),
            ),
            provenance={
                "engine": infos[0].get("engine", "luanti"),
                "engine_version": infos[0].get("engine_version", ""),
                "game": infos[0].get("game", "minetest_game"),
                "seed": world.map_seed,
                "mapgen": world.mapgen,
                "biome": infos[0].get("biome", ""),
                "start_seed": self.start_seed,
                "start": self.options,
                "policy": world.policy,
                "scripts": list(SCRIPT_NAMES),
                "split": world.split,
                "licence": "textures CC BY-SA 3.0, engine and game code LGPL-2.1-or-later",
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "software": f"worldsim {importlib.metadata.version('worldsim')}",
                "keys": list(MINECRAFT.keys),
                "inventory_items": items,
                "frozen_frames": int(self.frozen),
                "fps": fps,
            },
        )


def _state(infos: list[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Privileged arrays of all frames, as far as the engine tells them."""
    kinds: dict[str, Any] = {
        "position": np.float32,
        "velocity": np.float32,
        "yaw": np.float32,
        "pitch": np.float32,
        "wield": np.int16,
        "light": np.int16,
        "on_ground": np.bool_,
    }
    state = {k: np.array([i[k] for i in infos], t) for k, t in kinds.items() if all(k in i for i in infos)}
    if all("node_feet" in info for info in infos):
        state["in_water"] = np.array(["water" in str(info["node_feet"]) for info in infos])
    return state
