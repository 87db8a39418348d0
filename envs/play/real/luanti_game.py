"""The real game alone in the window, without a world beside it.

r video frames per chunk, H W pixels, A action vector.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.pace import PICTURE, Insight, Start
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT

Frames = NDArray[np.uint8]


class LuantiGame:
    """The real game: at its own pace for people, as fast as it goes for scripts."""

    rewinds = False

    def __init__(self, width: int = 576, height: int = 320, *, realtime: bool = True):
        from worldsim.envs.luanti.env import LuantiEnv

        self.hands, self.chunk, self.fps = HumanInputMapper(MINECRAFT), 1, 20.0
        self.width, self.height = width, height
        self.title, self.views, self.watch, self.news = "Luanti", (PICTURE,), PICTURE, ""
        self.pictures: Frames | None = None
        self.prompts: tuple[str, ...] = ()
        self._env = LuantiEnv(width, height, observation=None, realtime=realtime)
        self._info: dict[str, Any] = {}

    def reset(self, seed: int) -> Frames:
        """Begin at a random spot that the seed decides."""
        frame, self._info = self._env.reset(seed=seed)
        return frame[None]

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play one frame."""
        frame, _, _, _, self._info = self._env.step(actions[0])
        return frame[None]

    def snapshot(self) -> None:
        """The engine has none."""

    def restore(self, snapshot: Any) -> None:
        """Never asked for."""

    def begin_at(self, start: Start) -> None:
        """The engine begins where it likes.

        Raises:
            UserError: always.
        """
        raise UserError("the real game cannot begin from a picture or a text")

    def insight(self) -> Insight:
        """Nothing beside its frames."""
        return {}

    def latent(self) -> None:
        """The engine has none."""

    def status(self) -> str:
        """Position in the world, metres."""
        position = self._info.get("position")
        return "" if position is None else "at " + " ".join(f"{v:.0f}" for v in position)

    def close(self) -> None:
        """Stop the game."""
        self._env.close()
