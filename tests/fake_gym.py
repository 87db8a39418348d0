"""Small environments of every kind, whose pictures tell what was done; and a stand-in for MineRL's old interface."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from worldsim.spec.actions import MINECRAFT

PIXELS = spaces.Box(0, 255, (20, 24, 3), np.uint8)


class Counting(gymnasium.Env[Any, Any]):
    """The picture tells the step (red), the seed (green) and a sum over the last action (blue).

    Reward 1 in every third step; ends for good at step ``end``, by truncation at step ``cut``.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(
        self,
        actions: spaces.Space[Any] | None = None,
        *,
        end: int = -1,
        cut: int = -1,
        render_mode: str | None = None,
        observed: bool = True,
        meanings: list[str] | None = None,
    ):
        self.action_space = actions or spaces.Discrete(4)
        self.observation_space = PIXELS if observed else spaces.Box(-1, 1, (3,), np.float32)
        self.render_mode, self.observed, self.end, self.cut = render_mode, observed, end, cut
        self.meanings = meanings
        self.played: list[Any] = []

    def get_action_meanings(self) -> list[str]:
        return self.meanings or []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.seed, self.last = 0, seed or 0, 0
        return self._obs(), {"lives": 3, "note": "text"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.played.append(action)
        self.steps += 1
        self.last = int(np.sum(np.abs(np.asarray(spaces.flatten(self.action_space, action)))) * 10)
        reward = float(self.steps % 3 == 0)
        info = {"lives": 3 - self.steps // 5, "note": "text", "late": 1}
        return self._obs(), reward, self.steps == self.end, self.steps == self.cut, info

    def render(self) -> Any:
        picture = np.zeros((20, 24, 3), np.uint8)
        picture[...] = self.steps % 256, self.seed % 256, self.last % 256
        return picture

    def _obs(self) -> Any:
        return self.render() if self.observed else np.zeros(3, np.float32)


class FailsLater(Counting):
    """Fails once so many steps were taken in this process."""

    left = 12

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        FailsLater.left -= 1
        if FailsLater.left < 0:
            raise RuntimeError("no more")
        return super().step(action)


class OldMineRL:
    """MineRL 1.0's interface: ``seed``, ``reset`` gives the observation alone, ``step`` gives four values.

    Done in step ``end``, which is MineRL's own time limit if ``limit`` says so.
    """

    end = 9

    def __init__(self, name: str, limit: int = 2400):
        self.name, self.action_space, self.closed = name, _OldSpace(), False
        self.observation_space = spaces.Dict({"pov": spaces.Box(0, 255, (36, 64, 3), np.uint8)})
        self.unwrapped, self.task = self, SimpleNamespace(max_episode_steps=limit)

    def seed(self, seed: int) -> None:
        self.seeded = seed

    def reset(self) -> dict[str, Any]:
        self.steps = 0
        return {"pov": np.zeros((36, 64, 3), np.uint8)}

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, dict[str, Any]]:
        assert set(action) == {*MINECRAFT.keys, "camera", "ESC", "swapHands", "pickItem"} and action["ESC"] == 0
        self.steps += 1
        picture = np.full((36, 64, 3), self.steps, np.uint8)
        picture[..., 1] = 100 * action["forward"]
        picture[..., 2] = np.clip(128 + 10 * np.asarray(action["camera"])[1], 0, 255)
        return {"pov": picture}, 0.5, self.steps == self.end, {}

    def close(self) -> None:
        self.closed = True


class OldGym:
    """Classic Gym as a module: it makes ``OldMineRL``."""

    def __init__(self, limit: int = 2400):
        self.error, self.made, self.limit = SimpleNamespace(Error=LookupError), list[OldMineRL](), limit

    def make(self, name: str) -> OldMineRL:
        self.made.append(OldMineRL(name, self.limit))
        return self.made[-1]


class _OldSpace:
    spaces = dict.fromkeys((*MINECRAFT.keys, "ESC", "swapHands", "pickItem", "camera"))

    def no_op(self) -> dict[str, Any]:
        return dict.fromkeys((*MINECRAFT.keys, "ESC", "swapHands", "pickItem"), 0) | {"camera": np.zeros(2)}
