"""A game's camera: what turns it, what it sees, and where its pixels lie in the world.

Axes follow Luanti and ``pose.py``: x, y up, z in metres; yaw 0 looks along +z, positive yaw turns right, positive pitch
looks down (degrees). A camera is a pinhole with square pixels whose axis passes through the middle of the picture.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from worldsim.spec.actions import MINECRAFT, ActionSpec
from worldsim.spec.from_json import dataclass_of

# Depth is stored as inverse depth, uint16: so many steps for 1 / metre; 0 is the sky.
INVERSE_DEPTH_STEPS = 4096


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The camera of a first-person game.

    Attributes:
        vertical_fov: vertical field of view in degrees.
        eye_height: metres from the recorded position (the feet) up to the camera.
        near, far: distances in metres between which the game draws.
        pitch_limits: lowest and highest pitch in degrees; the game stops the camera there.
        pitch_action, yaw_action: places in the action vector (A,) of the degrees that it turns in a frame.
        world_rows: share of the picture's rows, from the top, that show the world; an opaque overlay may lie below.
    """

    vertical_fov: float
    eye_height: float
    near: float
    far: float
    pitch_limits: tuple[float, float] = (-90.0, 90.0)
    pitch_action: int = -2
    yaw_action: int = -1
    world_rows: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of range.
        """
        if not 0 < self.vertical_fov < 180:
            raise ValueError(f"vertical_fov must be between 0 and 180 degrees, got {self.vertical_fov:g}")
        if not 0 < self.near < self.far:
            raise ValueError(f"near must be above 0 and below far, got {self.near:g} and {self.far:g}")
        if len(self.pitch_limits) != 2 or not -90 <= self.pitch_limits[0] < self.pitch_limits[1] <= 90:
            raise ValueError(f"pitch_limits must rise within -90 to 90 degrees, got {self.pitch_limits}")
        if not 0 < self.world_rows <= 1:
            raise ValueError(f"world_rows must be a share above 0, got {self.world_rows:g}")

    def focal_pixels(self, height: int) -> float:
        """Focal length in pixels of a picture of ``height`` rows (the same along both axes)."""
        return height / 2 / math.tan(math.radians(self.vertical_fov) / 2)

    def rows_of_world(self, height: int) -> int:
        """Rows from the top of a picture of ``height`` rows that show the world."""
        return int(self.world_rows * height)

    def to_json(self) -> dict[str, Any]:
        """As plain values, for provenance."""
        return asdict(self) | {"pitch_limits": list(self.pitch_limits)}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "Camera":
        """The inverse of ``to_json``.

        Raises:
            ValueError: a value is missing, unknown or out of range.
        """
        try:
            return dataclass_of(Camera, raw)
        except ValueError as error:
            raise ValueError(f"this does not describe a camera: {error}") from error


# Luanti: 72 degrees upright at its setting fov=72, eyes at 1.47 m (measured by depth), the hotbar in the lowest rows.
MINECRAFT_CAMERA = Camera(
    vertical_fov=72.0, eye_height=1.47, near=0.1, far=2000.0, pitch_limits=(-89.5, 89.5), world_rows=61 / 80
)


def camera_for(spec: ActionSpec) -> Camera | None:
    """The camera of the game that has these actions; None where it has no camera, such as Pong, or is not known."""
    return MINECRAFT_CAMERA if spec == MINECRAFT else None
