"""Players for the stretches of a counterfactual tree, by name: the scripted ones, at random, and the planner.

r frames per chunk, A action vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.factory import policy_for
from worldsim.agents.policies.mixture import Policy
from worldsim.agents.policies.planner import Planner
from worldsim.agents.policies.random import sample_minecraft
from worldsim.simulation.branch_tree import Actions, Player
from worldsim.simulation.branching import RewardFunction
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT, ActionSpec


def players(
    world: WorldModel, *, seed: int = 0, judge: RewardFunction | None = None
) -> Callable[[str], Callable[[], Player]]:
    """A function that gives, for a name, a maker of players in a world.

    Each stretch gets a fresh player with the same seed: branches under one name part for no other reason than their
    pasts.

    Raises (the function that is returned):
        UserError: there is no such player, or it cannot play this world's game.
    """

    def find(name: str) -> Callable[[], Player]:
        if name == "planner":
            return lambda: Planner(world, lambda rng: sample_minecraft(world.spec, rng), seed=seed, judge=judge)
        policy_for(name, _Seat(world))
        return lambda: PolicyPlayer(world, policy_for(name, _Seat(world)), seed)

    return find


class PolicyPlayer:
    """A frame-by-frame policy, told where the world estimates itself to be.

    Args:
        world: whose states it will see.
        policy: acts.
        seed: of all that is random about it.
    """

    def __init__(self, world: WorldModel, policy: Policy, seed: int):
        self._world, self._policy, self._seed = world, policy, seed
        self._last: NDArray[np.float64] | None = None

    def choose(self, state: WorldState, frame: NDArray[np.uint8] | None, count: int) -> Actions:
        """The next actions (n, A); within a chunk the policy foresees its own turns."""
        pose = state.pose[0].cpu().numpy().astype(np.float64)
        info = _told(pose, pose if self._last is None else self._last, self._world.config.fps / self._world.chunk)
        if frame is None:
            frame = np.zeros((self._world.config.height, self._world.config.width, 3), np.uint8)
        if self._last is None:
            self._policy.reset(np.random.default_rng(self._seed), info)
        self._last = pose
        chosen = []
        for _ in range(count):
            action = self._policy.act(frame, info)
            if getattr(self._policy, "finished", False):
                break
            chosen.append(action)
            if self._world.spec.camera:
                info = {**info, "yaw": info["yaw"] + float(action[-1]), "pitch": info["pitch"] + float(action[-2])}
        return np.array(chosen, np.float32).reshape(-1, self._world.spec.size)


def _told(pose: NDArray[np.float64], before: NDArray[np.float64], steps_a_second: float) -> Mapping[str, Any]:
    return {
        "position": pose[:3].copy(),
        "velocity": (pose[:3] - before[:3]) * steps_a_second,
        "yaw": (float(pose[3]) + 180) % 360 - 180,
        "pitch": float(pose[4]),
    }


@dataclass(frozen=True)
class _Seat:
    """What policies need to know of a game."""

    world: WorldModel

    @property
    def spec(self) -> ActionSpec:
        return self.world.spec

    @property
    def fps(self) -> float:
        return float(self.world.config.fps)

    @property
    def poses(self) -> bool:
        return self.world.spec == MINECRAFT

    def sample(self, rng: np.random.Generator) -> Actions:
        return sample_minecraft(self.world.spec, rng)

    def idle(self) -> Actions:
        return self.world.spec.idle()
