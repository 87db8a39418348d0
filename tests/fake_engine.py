"""A tiny deterministic stand-in for the real engine: pose and alignment are exact, and can be read from pixels."""

from typing import Any

import gymnasium
import numpy as np

from worldsim.agents.collection.types import MapJob
from worldsim.spec.actions import MINECRAFT


class FakeEngine(gymnasium.Env[Any, Any]):
    """Walks on a plane at 4 m/s; the picture encodes pose, so that alignment can be checked from pixels alone."""

    def __init__(
        self, map_seed: int = 0, *, size: tuple[int, int] = (24, 16), frozen: bool = False, crash_at: int = -1
    ):
        self.width, self.height = size
        self.map_seed, self.frozen, self.crash_at = map_seed, frozen, crash_at
        self.closed = False
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        options = options or {}
        rng = np.random.default_rng((self.map_seed, seed or 0))
        self.position = np.array([rng.uniform(-50, 50), 10.0, rng.uniform(-50, 50)])
        self.velocity = np.zeros(3)
        self.yaw, self.pitch = float(options.get("yaw", 0.0)), float(options.get("pitch", 0.0))
        return self._picture(), self._info(MINECRAFT.noop())

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == self.crash_at:
            raise RuntimeError("the engine crashed")
        keys = MINECRAFT.mapping(action)
        # As a real mouse does, the fake one moves in whole pixels: what is executed differs from what was asked.
        executed = np.asarray(action, np.float32).copy()
        executed[-2:] = np.round(executed[-2:] / 0.15) * 0.15
        self.pitch = float(np.clip(self.pitch + executed[-2], -90, 90))
        self.yaw = float((self.yaw + executed[-1] + 180) % 360 - 180)
        ahead = np.array([np.sin(np.radians(self.yaw)), 0.0, np.cos(np.radians(self.yaw))])
        side = np.array([ahead[2], 0.0, -ahead[0]])
        push = ahead * (keys["forward"] - keys["back"]) + side * (keys["right"] - keys["left"])
        self.velocity = 4.0 * push
        self.position = self.position + self.velocity / 20
        return self._picture(), 0.0, False, False, self._info(executed)

    def close(self) -> None:
        self.closed = True

    def _picture(self) -> Any:
        picture = np.zeros((self.height, self.width, 3), np.uint8)
        if not self.frozen:
            x, z = self.position[0], self.position[2]
            picture[..., 0] = int(abs(self.yaw) * 1.4) % 256
            picture[..., 1] = int((x + z) * 50) % 256
            picture[..., 2] = int(self.pitch + 90)
        return picture

    def _info(self, executed: Any) -> dict[str, Any]:
        return {
            "position": self.position.copy(),
            "velocity": self.velocity.copy(),
            "yaw": self.yaw,
            "pitch": self.pitch,
            "action": executed,
            "node_feet": "air",
            "events": [{"kind": "dig", "node": "dirt"}] if executed[MINECRAFT.keys.index("attack")] else [],
            "inventory": {"dirt": 3},
            "wield": 1,
        }


def make_fake(world: MapJob, fps: float) -> FakeEngine:
    return FakeEngine(world.map_seed)


def make_frozen(world: MapJob, fps: float) -> FakeEngine:
    return FakeEngine(world.map_seed, frozen=True)


def make_crashing(world: MapJob, fps: float) -> FakeEngine:
    return FakeEngine(world.map_seed, crash_at=90)


def make_hanging(world: MapJob, fps: float) -> FakeEngine:
    """Never answers."""
    import threading

    threading.Event().wait()
    raise AssertionError


def make_dying(world: MapJob, fps: float) -> FakeEngine:
    """Takes its whole process with it, as a segmentation fault would."""
    import os

    os.abort()
