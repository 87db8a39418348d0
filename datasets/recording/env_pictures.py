"""The pictures of a Gymnasium environment: its observations where they are pictures, else what it renders."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
# Smaller arrays of bytes are maps or memory, not pictures.
SMALLEST_SIDE = 16


def is_picture(space: spaces.Space[Any]) -> bool:
    """Whether observations are pictures: uint8 (H, W), (H, W, 1) or (H, W, 3), both sides of at least 16 pixels."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return min(space.shape[:2]) >= SMALLEST_SIDE and (len(space.shape) == 2 or space.shape[2] in (1, 3))


class EnvPictures:
    """Takes a picture of an environment after each step.

    Args:
        env: the environment.
        kind: "observation", "render", or "auto": observations where they are pictures.

    Raises:
        ValueError: neither its observations are pictures nor does it render any.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], kind: str = "auto"):
        self.env = env
        self.observed = is_picture(env.observation_space) if kind == "auto" else kind == "observation"
        if self.observed and not is_picture(env.observation_space):
            raise ValueError(f"observations of {env.observation_space} are not pictures")
        if not self.observed and env.render_mode != "rgb_array":
            raise ValueError("observations are not pictures: make the environment with render_mode='rgb_array'")

    def __call__(self, obs: Any) -> Picture:
        """The picture, uint8 (H, W, 3), that goes with an observation; a copy."""
        shown = obs if self.observed else self.env.render()
        picture = np.array(shown)
        if picture.ndim == 2:
            picture = picture[..., None]
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3):
            raise ValueError(f"the environment shows {picture.dtype} {picture.shape}, not a picture of uint8 (H, W, 3)")
        return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def action_meanings(env: gymnasium.Env[Any, Any]) -> list[str] | None:
    """Names of the environment's actions or buttons, where it tells them (Atari, retro games)."""
    bare = env.unwrapped
    if callable(get_meanings := getattr(bare, "get_action_meanings", None)):
        names: Any = get_meanings()
        return [str(name) for name in names]
    buttons = getattr(bare, "buttons", None)
    return [str(name) for name in buttons] if isinstance(buttons, list | tuple) else None


def frames_per_second(env: gymnasium.Env[Any, Any], default: float = 30.0) -> float:
    """Pictures a second of game time: 60 by the frame skip for Atari, else ``render_fps`` of the environment."""
    spec = env.spec
    skip = spec.kwargs.get("frameskip", 1) if spec is not None else None
    if spec is not None and spec.namespace == "ALE" and isinstance(skip, int):
        # The console's clock; ``render_fps`` does not know the frame skip.
        return 60 / skip
    return float(env.metadata.get("render_fps") or default)
