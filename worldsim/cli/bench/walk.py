"""Worlds that walk on, for measurements: each call is one step of all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import choose, prefill
from worldsim.simulation.state import Step, WorldState
from worldsim.simulation.world_model import WorldModel


class Walk:
    """So many rows of a world, begun at start clips that a fixed seed draws.

    Attributes:
        state: after the last step.
        actions: of every step (B, r, A).
    """

    def __init__(self, world: WorldModel, starts: StartClips, rows: int) -> None:
        rng = np.random.default_rng(0)
        self.world = world
        self.state: WorldState = prefill(world, [choose(world, starts, rng) for _ in range(rows)])
        forward: dict[str, Any] = {"forward": 1} if "forward" in world.spec.keys else {}
        self.actions: NDArray[np.float32] = np.tile(world.spec.vector(forward), (rows, world.chunk, 1))

    @property
    def rows(self) -> int:
        """Worlds side by side."""
        return len(self.actions)

    @property
    def frames(self) -> int:
        """Video frames that a step makes, of all rows together."""
        return self.rows * self.world.chunk

    def steps(self, count: int) -> Step:
        """``count`` steps of all rows, one at least; the last one."""
        for _ in range(count - 1):
            self.step()
        return self.step()

    def step(self) -> Step:
        """One step of all rows."""
        self.state, out = self.world.step(self.state, self.actions, inplace=True)
        return out
