"""Real Minecraft through MineRL 0.4.4 (the optional extra ``minerl``) or 1.0, imported only when it is used.

Both have classic Gym's interface: ``seed``, a ``reset`` that gives the observation alone, four values from ``step``.
A action vector of MINECRAFT.
"""

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.collection.source_engine import DOINGS
from worldsim.agents.collection.types import NOBODY, Buffer, Facts, MapJob, RecordingEnv, Transition
from worldsim.agents.policies.factory import policy_for
from worldsim.agents.policies.random import sample_minecraft
from worldsim.datasets.store.store import SPLIT_PERIOD, split_of
from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.spec.actions import MINECRAFT

NEEDED_BY = "source=minerl"
# Names that MineRL and classic Gym use and NumPy no longer has.
NUMPY_1 = {
    "bool8": np.bool_, "float": float, "float_": np.float64, "int": int, "object": object, "string_": np.bytes_,
    "unicode": str, "unicode_": np.str_,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MineRLSource:
    """One of MineRL's environments."""

    env: str = "MineRLBasaltFindCave-v0"
    policy: str = "random"

    @property
    def name(self) -> str:
        """For provenance."""
        return f"minerl:{self.env}"

    def __call__(self, world: MapJob, fps: float) -> RecordingEnv:
        """Make the environment; Minecraft starts with the first episode."""
        return MineRLStage(self.make(), self.env, split_residue=world.map_seed % SPLIT_PERIOD)

    def check(self, policy: str, script: str) -> float:
        """Packages, Java, environment and policy; Minecraft itself takes minutes to start."""
        stage = MineRLStage(self.make(), self.env)
        try:
            if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
                raise UserError(f"{NEEDED_BY} needs Java 8: there is no program java, and JAVA_HOME is not set")
            policy_for(policy, stage, script)
        finally:
            stage.close()
        return stage.fps

    def make(self) -> Any:
        """The environment, in classic Gym's form.

        Raises:
            UserError: a package is missing, there is no such environment, or it is not played by keys and camera.
        """
        gym: Any = classic_gym()
        try:
            env = gym.make(self.env)
        except gym.error.Error as error:
            raise UserError(f"{self.env} cannot be made: {error}") from error
        if "camera" not in env.action_space.spaces or "pov" not in env.observation_space.spaces:
            raise UserError(
                f"{self.env} has actions {', '.join(env.action_space.spaces)}: {NEEDED_BY} plays environments with "
                "keys, a camera and pictures, for example MineRLTreechop-v0"
            )
        return env


def classic_gym() -> Any:
    """Classic Gym, in which MineRL's environments are registered.

    Raises:
        MissingPackage: one of them is not installed.
    """
    for name, kind in NUMPY_1.items():
        if name not in vars(np):
            setattr(np, name, kind)
    gym = require("gym", NEEDED_BY)
    require("minerl", NEEDED_BY)
    return gym


class MineRLStage:
    """Minecraft, 20 frames a second, in the environment's own size (64x64, or 640x360 in MineRL 1.0).

    Keys that an environment does not have (``hotbar.1`` in MineRL 0.4.4) are not pressed, and recorded as not pressed.

    Args:
        env: made by the old Gym.
        name: of the environment.
        split_residue: map seeds are drawn with this remainder, so that all of them are in one split.
    """

    spec, fps, chunk, poses, rejects_frozen = MINECRAFT, 20.0, 1, False, False

    def __init__(self, env: Any, name: str, split_residue: int = 0):
        self.env, self.name, self._residue, self._seed, self._steps = env, name, split_residue, 0, 0
        self._limit = getattr(getattr(env.unwrapped, "task", None), "max_episode_steps", None)

    def reset(self, rng: np.random.Generator) -> Transition:
        """Make a new map."""
        self._seed = int(rng.integers(2**31 // SPLIT_PERIOD - 1)) * SPLIT_PERIOD + self._residue
        self._steps = 0
        self.env.seed(self._seed)
        return Transition(frame=_picture(self.env.reset()), info={}, action=MINECRAFT.noop())

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Play one frame. Keys that MINECRAFT does not name stay up: ESC would end the episode."""
        wanted = MINECRAFT.mapping(actions[0])
        given = {name: value for name, value in wanted.items() if name in self.env.action_space.spaces}
        obs, reward, done, info = self.env.step({**self.env.action_space.no_op(), **given})
        executed = MINECRAFT.vector(given)
        self._steps += 1
        # Classic Gym does not tell an end from a time limit. Its own wrapper marks limits, MineRL's wrappers only count
        # steps; and where Minecraft stopped answering, MineRL ends the episode with an error.
        limit = bool(done) and (
            bool(info.get("TimeLimit.truncated", False))
            or (self._limit is not None and self._steps >= self._limit)
            or "error" in info
        )
        ended = bool(done) and not limit
        return [
            Transition(
                frame=_picture(obs),
                info={**info, "reward": float(reward)},
                action=executed,
                reward=float(reward),
                terminated=ended,
                truncated=limit,
            )
        ]

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action."""
        return sample_minecraft(MINECRAFT, rng)

    def idle(self) -> NDArray[np.float32]:
        """Nothing pressed."""
        return MINECRAFT.noop()

    def facts(self, tape: Buffer) -> Facts:
        """Caption and provenance."""
        doing = max(set(tape.scripts), key=tape.scripts.count)
        provenance = {
            "engine": "minecraft",
            "engine_version": f"minerl {_version()}",
            "game": self.name,
            "seed": self._seed,
            "split": split_of(self._seed),
            "source": f"minerl:{self.name}",
            "licence": "Minecraft's pictures belong to Mojang: see the Minecraft usage guidelines",
            "consent": NOBODY,
        }
        return Facts(text=f"{DOINGS.get(doing, doing)} in Minecraft", provenance=provenance)

    def close(self) -> None:
        """Stop Minecraft."""
        self.env.close()


def _picture(obs: Any) -> NDArray[np.uint8]:
    return np.ascontiguousarray(obs["pov"], dtype=np.uint8)


def _version() -> str:
    try:
        return importlib.metadata.version("minerl")
    except importlib.metadata.PackageNotFoundError:
        return ""
