"""One internal action form for every game: named keys as 0/1 plus mouse movement in degrees per video frame.

Alignment: action ``t`` leads from frame ``t`` to frame ``t + 1``.
Signs follow Minecraft (MineRL, VPT): positive pitch looks down, positive yaw turns right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# VPT's foveated camera: fine near zero, coarse far out (Baker et al. 2022, appendix; mu = 10, +-10 degrees, 11 bins).
CAMERA_MU = 10.0
CAMERA_MAX_DEGREES = 10.0
CAMERA_BINS = 11


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """The actions of one game.

    An action is a float32 vector ``[keys..., pitch, yaw]``: keys 0 or 1, the mouse in degrees per video frame.
    """

    keys: tuple[str, ...]
    camera: bool = True

    @property
    def size(self) -> int:
        """Length A of an action vector."""
        return len(self.keys) + (2 if self.camera else 0)

    def noop(self) -> NDArray[np.float32]:
        """The action (A,) without any key."""
        return np.zeros(self.size, np.float32)

    def idle(self) -> NDArray[np.float32]:
        """The action (A,) that does nothing: no key, or the key that games of one key at a time have for it."""
        vector = self.noop()
        for number, key in enumerate(self.keys):
            if key.lower() in ("noop", "nop"):
                vector[number] = 1
        return vector

    def vector(self, action: Mapping[str, Any]) -> NDArray[np.float32]:
        """Turn ``{"forward": 1, "camera": (pitch, yaw)}`` into a vector (A,); keys left out are 0.

        Raises:
            ValueError: a name is unknown, a key is not 0/1, or the camera is not two finite numbers (degrees).
        """
        out = self.noop()
        for name, value in action.items():
            if name == "camera" and self.camera:
                camera = _numbers(value)
                if camera.shape != (2,) or not np.isfinite(camera).all():
                    raise ValueError(f"camera must be two finite numbers (pitch, yaw in degrees), got {value!r}")
                out[-2:] = camera
            elif name in self.keys:
                pressed = _numbers(value)
                if pressed.size != 1 or pressed.item() not in (0.0, 1.0):
                    raise ValueError(f"key {name!r} must be 0 or 1, got {value!r}")
                out[self.keys.index(name)] = pressed.item()
            else:
                raise ValueError(f"unknown action {name!r}; known: {', '.join(self.keys)}{', camera' * self.camera}")
        return out

    def mapping(self, vector: ArrayLike) -> dict[str, Any]:
        """Turn a vector (A,) into ``{"forward": 0, ..., "camera": array([pitch, yaw])}``."""
        array = np.asarray(vector, np.float32)
        if array.shape != (self.size,):
            raise ValueError(f"action vector must have shape ({self.size},), got {array.shape}")
        out: dict[str, Any] = {name: int(array[i] > 0.5) for i, name in enumerate(self.keys)}
        if self.camera:
            out["camera"] = array[-2:].copy()
        return out


def _numbers(value: Any) -> NDArray[np.float32]:
    """A value as numbers; what is none, or beyond float32, becomes nan."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    except (TypeError, ValueError):
        return np.full(np.shape(np.asarray(value, object)), np.nan, np.float32)


MINECRAFT = ActionSpec(
    keys=("forward", "back", "left", "right", "jump", "sneak", "sprint", "attack", "use", "drop", "inventory")
    + tuple(f"hotbar.{i}" for i in range(1, 10))
)


def camera_bin_centres(
    bins: int = CAMERA_BINS, maximum: float = CAMERA_MAX_DEGREES, mu: float = CAMERA_MU
) -> NDArray[np.float32]:
    """Degrees (bins,) that VPT's foveated (mu-law) camera bins stand for, symmetric around 0."""
    encoded = np.linspace(-1.0, 1.0, bins)
    return (maximum * np.sign(encoded) * ((1 + mu) ** np.abs(encoded) - 1) / mu).astype(np.float32)


def hold(vectors: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Hold action vectors (..., A) for so many video frames each: (..., frames, A)."""
    return np.repeat(vectors[..., None, :], frames, axis=-2)
