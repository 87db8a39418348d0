"""Engines that play like Minecraft, one frame a step: Luanti by default, or any environment of that kind.

A action vector of MINECRAFT.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.agents.collection.types import NOBODY, Buffer, Facts, MapJob, RecordingEnv, Transition
from worldsim.agents.policies.factory import policy_for
from worldsim.agents.policies.random import sample_minecraft
from worldsim.agents.policies.scripts import SCRIPTS
from worldsim.datasets.captions.templates import episode_caption, place_phrase, time_phrase
from worldsim.datasets.store.episode import DEPTH
from worldsim.spec.actions import MINECRAFT

# What the players for any game do, for captions.
DOINGS = {
    "random": "playing at random",
    "noop": "standing still",
    "script": "following a script",
    "human": "a person playing",
}
STATE: dict[str, Any] = {
    "position": np.float32,
    "velocity": np.float32,
    "yaw": np.float32,
    "pitch": np.float32,
    "wield": np.int16,
    "light": np.int16,
    "on_ground": np.bool_,
    "tree_angle": np.float32,
    DEPTH: np.uint16,
}


@dataclass(frozen=True, kw_only=True)
class LuantiSource:
    """The default engine.

    Attributes:
        name, policy: see ``EnvFactory``.
        depth: also record the depth of each frame, ``state/depth``.
    """

    name: str = "luanti"
    policy: str = "mixture"
    depth: bool = True

    def __call__(self, world: MapJob, fps: float) -> RecordingEnv:
        """Open the engine on one map."""
        # Imported here: planning and tests need no engine.
        from worldsim.envs.luanti.env import LuantiEnv

        env = LuantiEnv(map_seed=world.map_seed, mapgen=world.mapgen, fps=int(fps), depth=self.depth)
        return EngineStage(env, world, fps)

    def check(self, policy: str, script: str) -> float:
        """The policy must be known and a script must fit; the engine itself tells what is missing when it starts."""
        policy_for(policy, EngineStage(gymnasium.Env(), None, 20), script)
        return 20.0


class EngineStage:
    """An engine behind ``gymnasium.Env`` that takes MINECRAFT's vectors and tells position, yaw and pitch.

    Args:
        env: the engine.
        world: the unit of work: its map.
        fps: frames a second.
    """

    spec, chunk, poses, rejects_frozen = MINECRAFT, 1, True, True

    def __init__(self, env: gymnasium.Env[Any, Any], world: "MapJob | None", fps: float):
        self.env, self.world, self.fps = env, world, fps
        self._start_seed, self._options = 0, {}

    def reset(self, rng: np.random.Generator) -> Transition:
        """Begin somewhere on the map, at some time of day."""
        return self.begin(int(rng.integers(2**31)), start_options(rng))

    def begin(self, seed: int, options: Mapping[str, Any]) -> Transition:
        """Begin where a seed and the engine's options say, as provenance tells them of a recorded episode."""
        self._start_seed, self._options = seed, dict(options)
        obs, info = self.env.reset(seed=seed, options=self._options)
        return Transition(frame=obs, info=info, action=MINECRAFT.noop())

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Play one frame."""
        obs, reward, terminated, truncated, info = self.env.step(actions[0])
        executed = np.asarray(info.get("action", actions[0]), np.float32)
        return [
            Transition(
                frame=obs,
                info=info,
                action=executed,
                reward=float(reward),
                terminated=bool(terminated),
                truncated=bool(truncated),
            )
        ]

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action."""
        return sample_minecraft(MINECRAFT, rng)

    def idle(self) -> NDArray[np.float32]:
        """Nothing pressed."""
        return MINECRAFT.noop()

    def facts(self, tape: Buffer) -> Facts:
        """Caption, privileged state and provenance of the map."""
        assert self.world is not None
        infos, first = tape.infos, tape.infos[0]
        items = sorted({item for info in infos for item in info.get("inventory", {})})
        state = _state(infos)
        if items:
            counts = [[info.get("inventory", {}).get(item, 0) for item in items] for info in infos]
            state["inventory"] = np.array(counts, np.int32)
        provenance = {
            "engine": first.get("engine", "luanti"),
            "engine_version": first.get("engine_version", ""),
            "game": first.get("game", "minetest_game"),
            "seed": self.world.map_seed,
            "mapgen": self.world.mapgen,
            "biome": first.get("biome", ""),
            "start_seed": self._start_seed,
            "start": self._options,
            "split": self.world.split,
            "source": first.get("engine", "luanti"),
            "licence": "textures CC BY-SA 3.0, engine and game code LGPL-2.1-or-later",
            "consent": NOBODY,
            "inventory_items": items,
        }
        if "camera" in first:
            provenance["camera"] = first["camera"]
        doing = Counter(tape.scripts).most_common(1)[0][0]
        biome, hour = str(first.get("biome", "")), float(self._options["time_of_day"])
        if doing in SCRIPTS:
            text = episode_caption(doing, biome, hour)
        else:
            text = f"{DOINGS.get(doing, doing)}{place_phrase(biome)} {time_phrase(hour)}"
        return Facts(text=text, state=state, provenance=provenance)

    def close(self) -> None:
        """Stop the engine."""
        self.env.close()


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


def _state(infos: list[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Privileged arrays of all frames, as far as the engine tells them."""
    state = {k: np.array([i[k] for i in infos], t) for k, t in STATE.items() if all(k in i for i in infos)}
    if all("node_feet" in info for info in infos):
        state["in_water"] = np.array(["water" in str(info["node_feet"]) for info in infos])
    return state
