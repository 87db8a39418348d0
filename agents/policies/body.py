"""What a scripted player feels and how it moves: heading, water, obstacles; keys, aiming and a restless gaze."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import MINECRAFT_CAMERA

Info = Mapping[str, Any]
Action = NDArray[np.float32]

PITCH_LIMIT = 35.0
WALKING = ("forward", "back", "left", "right")
# Frames over which a walking player must have moved STUCK_METRES, else it is stuck.
STUCK_FRAMES = 16
STUCK_METRES = 0.5
# A player that walks half of so many frames and stays within so many metres is in a pit or a thicket.
PIT_FRAMES = 160
PIT_METRES = 3.0
_INDEX = {key: i for i, key in enumerate(MINECRAFT.keys)}


def wrap_degrees(angle: float) -> float:
    """The same angle within -180 (inclusive) to 180 degrees."""
    return (angle + 180.0) % 360.0 - 180.0


class Gaze:
    """Smooth random camera: an Ornstein-Uhlenbeck turning rate plus saccades, pitch drawn back to a resting value.

    Args:
        rng: source of all randomness.
        magnitude: standard deviation of the yaw rate in degrees a frame.
        rest: resting pitch in degrees (positive looks down).
    """

    def __init__(self, rng: np.random.Generator, magnitude: float, rest: float = 0.0):
        self.rng, self.magnitude, self.rest = rng, magnitude, rest
        self.memory = float(rng.uniform(0.75, 0.96))
        self.saccades = float(rng.choice([0.0, 0.01, 0.03]))
        self._yaw = float(rng.normal()) * magnitude
        self._pitch = 0.0
        self._saccade = (0, 0.0, 0.0)

    def turn(self, pitch: float) -> tuple[float, float]:
        """Next (pitch, yaw) movement in degrees for a player who looks at ``pitch``."""
        kick = math.sqrt(1 - self.memory**2)
        self._yaw = self.memory * self._yaw + kick * self.magnitude * float(self.rng.normal())
        self._pitch = self.memory * self._pitch + kick * 0.5 * self.magnitude * float(self.rng.normal())
        dpitch, dyaw = self._pitch + 0.06 * (self.rest - pitch), self._yaw
        left, jump_pitch, jump_yaw = self._saccade
        if left > 0:
            dpitch, dyaw = dpitch + jump_pitch, dyaw + jump_yaw
            self._saccade = (left - 1, jump_pitch, jump_yaw)
        elif self.rng.random() < self.saccades:
            frames = int(self.rng.integers(2, 7))
            angle_yaw, angle_pitch = float(self.rng.normal(0, 40)), float(self.rng.normal(0, 12))
            self._saccade = (frames, angle_pitch / frames, angle_yaw / frames)
        return dpitch, dyaw


class Body:
    """A player's senses (from ``info``) and limbs (which make action vectors).

    Args:
        rng: source of all randomness of the policy.
        info: of the first frame.
    """

    def __init__(self, rng: np.random.Generator, info: Info):
        self.rng = rng
        self.frame = 0
        self.wet_frames = 0
        self.gaze = Gaze(rng, 1.0)
        self._trail: deque[tuple[NDArray[np.float64], bool]] = deque(maxlen=STUCK_FRAMES)
        self._long_trail: deque[tuple[NDArray[np.float64], bool]] = deque(maxlen=PIT_FRAMES)
        self.dry = np.asarray(info["position"], np.float64)
        self.sense(info)

    # --- senses

    def sense(self, info: Info) -> None:
        """Take in what is known about the present frame."""
        self.info = info
        self.position = np.asarray(info["position"], np.float64)
        self.velocity = np.asarray(info.get("velocity", np.zeros(3)), np.float64)
        self.yaw, self.pitch = float(info["yaw"]), float(info["pitch"])
        self.wet = "water" in str(info.get("node_feet", "")) or "water" in str(info.get("node_head", ""))
        self.wet_frames = self.wet_frames + 1 if self.wet else 0
        # Bobbing at the surface is not dry land.
        if not self.wet and info.get("on_ground", True):
            self.dry = self.position

    @property
    def trunks(self) -> NDArray[np.float64]:
        """Pieces of trunks that can be seen, nearest first (n, 3), as far as the engine tells."""
        nearby = self.info.get("nearby")
        found = nearby.get("trunks", ()) if isinstance(nearby, Mapping) else ()
        return np.asarray(found, np.float64).reshape(-1, 3)

    @property
    def speed(self) -> float:
        """Horizontal speed in metres a second."""
        return float(np.hypot(self.velocity[0], self.velocity[2]))

    @property
    def blocked(self) -> bool:
        """Walking, yet hardly moving for the last few frames."""
        recent = list(self._trail)[-4:]
        return len(recent) == 4 and all(walks for _, walks in recent) and _moved(recent) < 0.15

    @property
    def stuck(self) -> bool:
        """Walking, yet hardly moving for most of a second."""
        trail = list(self._trail)
        return len(trail) == STUCK_FRAMES and all(walks for _, walks in trail) and _moved(trail) < STUCK_METRES

    @property
    def confined(self) -> bool:
        """Walking a lot for some seconds without getting anywhere."""
        trail = self._long_trail
        # Costs a little, so it is only looked at twice a second.
        if len(trail) < PIT_FRAMES or self.frame % 10:
            return False
        extent = np.ptp([position for position, _ in trail], axis=0)
        return bool(max(extent) < PIT_METRES and sum(walks for _, walks in trail) > PIT_FRAMES // 2)

    def unstick(self, *, pit: bool = False) -> None:
        """Forget the recent trail (the long one too): a new attempt begins."""
        self._trail.clear()
        if pit:
            self._long_trail.clear()

    def distance(self, target: NDArray[np.float64]) -> float:
        """Horizontal distance to a position, in metres."""
        return float(np.hypot(target[0] - self.position[0], target[2] - self.position[2]))

    def bearing(self, target: NDArray[np.float64]) -> float:
        """Yaw in degrees at which one looks towards a position (x, y, z)."""
        return math.degrees(math.atan2(target[0] - self.position[0], target[2] - self.position[2]))

    def decline(self, target: NDArray[np.float64]) -> float:
        """Pitch in degrees at which one looks at a position (x, y, z)."""
        below = self.position[1] + MINECRAFT_CAMERA.eye_height - target[1]
        return math.degrees(math.atan2(below, self.distance(target)))

    # --- limbs

    def act(self, *keys: str, camera: tuple[float, float] = (0.0, 0.0)) -> Action:
        """The action that holds ``keys`` and moves the camera by (pitch, yaw) degrees."""
        action = MINECRAFT.noop()
        for key in keys:
            action[_INDEX[key]] = 1.0
        action[-2:] = np.clip(camera, -45.0, 45.0)
        return action

    def remember(self, action: Action) -> None:
        """Note where the body was when it did this action."""
        self.frame += 1
        forward, back, left, right = (action[_INDEX[key]] > 0.5 for key in WALKING)
        step = (self.position, bool(forward != back or left != right))
        self._trail.append(step)
        self._long_trail.append(step)

    def aim(self, yaw: float, pitch: float, speed: float) -> tuple[float, float]:
        """Camera movement towards a direction: eased, at most ``speed`` degrees a frame."""
        dyaw, dpitch = 0.35 * wrap_degrees(yaw - self.yaw), 0.35 * (pitch - self.pitch)
        return float(np.clip(dpitch, -speed, speed)), float(np.clip(dyaw, -speed, speed))

    def faces(self, yaw: float, pitch: float, within: float = 3.0) -> bool:
        """Whether the view is within so many degrees of a direction."""
        return abs(wrap_degrees(yaw - self.yaw)) < within and abs(pitch - self.pitch) < within

    def hop(self, keys: tuple[str, ...] = ("forward",)) -> tuple[str, ...]:
        """The jump key, besides ``keys``, when something is in the way or, rarely, for no reason; else no key."""
        return ("jump",) if "jump" not in keys and (self.blocked or self.wet or self.rng.random() < 0.01) else ()

    def glance(self) -> tuple[float, float]:
        """Camera movement of the restless gaze."""
        return self.gaze.turn(self.pitch)

    def new_gaze(self, low: float = 0.1, high: float = 6.0, rest: float | None = None) -> None:
        """Draw a new gaze, its magnitude log-uniform between ``low`` and ``high`` degrees a frame."""
        resting = float(self.rng.normal(4, 10)) if rest is None else rest
        self.gaze = Gaze(self.rng, self.log_uniform(low, high), float(np.clip(resting, -25, 60)))

    # --- dice

    def log_uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``, its logarithm uniform."""
        return float(np.exp(self.rng.uniform(math.log(low), math.log(high))))

    def frames(self, low: int, high: int) -> range:
        """A random number of frames, to loop over."""
        return range(int(self.rng.integers(low, high + 1)))

    def sign(self) -> float:
        """-1 or 1."""
        return 1.0 if self.rng.random() < 0.5 else -1.0


def _moved(trail: list[tuple[NDArray[np.float64], bool]]) -> float:
    return max(float(np.linalg.norm(position - trail[0][0])) for position, _ in trail)
