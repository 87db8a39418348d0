"""Real Minecraft through MineRL 1.0: the optional extra ``minerl``, imported only when it is used (it needs Java).

A action vector of MINECRAFT.
"""

import importlib
import importlib.metadata
import importlib.util
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
from worldsim.spec.actions import MINECRAFT


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
        """Start Minecraft."""
        try:
            gym = importlib.import_module("gym")
            importlib.import_module("minerl")
        except ImportError as error:
            raise UserError(f"source=minerl needs MineRL ({error}): pip install 'worldsim[minerl]'") from error
        return MineRLStage(gym.make(self.env), self.env, split_residue=world.map_seed % SPLIT_PERIOD)

    def check(self, policy: str, script: str) -> float:
        """The packages must be there and the policy must fit; Minecraft itself takes minutes to start."""
        for package in ("minerl", "gym"):
            if importlib.util.find_spec(package) is None:
                raise UserError(f"source=minerl needs the package {package} and Java 8: pip install 'worldsim[minerl]'")
        stage = MineRLStage(None, self.env)
        policy_for(policy, stage, script)
        return stage.fps


class MineRLStage:
    """Minecraft, 20 frames a second, 640x360. It follows the old Gym interface: four values from ``step``.

    Args:
        env: made by the old Gym.
        name: of the environment.
        split_residue: map seeds are drawn with this remainder, so that all of them are in one split.
    """

    spec, fps, chunk, poses, rejects_frozen = MINECRAFT, 20.0, 1, False, False

    def __init__(self, env: Any, name: str, split_residue: int = 0):
        self.env, self.name, self._residue, self._seed = env, name, split_residue, 0

    def reset(self, rng: np.random.Generator) -> Transition:
        """Make a new map."""
        self._seed = int(rng.integers(2**31 // SPLIT_PERIOD - 1)) * SPLIT_PERIOD + self._residue
        self.env.seed(self._seed)
        return Transition(frame=_picture(self.env.reset()), info={}, action=MINECRAFT.noop())

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Play one frame. Keys that MINECRAFT does not name stay up: ESC would end the episode."""
        action = dict(self.env.action_space.no_op()) | MINECRAFT.mapping(actions[0])
        obs, reward, done, info = self.env.step(action)
        executed = actions[0].copy()
        executed[:-2] = executed[:-2] > 0.5
        # The old interface does not tell an end from a time limit, but Gym's wrapper does.
        limit = bool(info.get("TimeLimit.truncated", False))
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
