"""Gymnasium action spaces over an ``ActionSpec``, and the way from their actions to action vectors.

B batch, A action vector.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec, camera_bin_centres

# Degrees a video frame that MineRL's form may turn by.
CAMERA_LIMIT = 180.0

ActionSpaceName = Literal["multidiscrete", "minerl", "discrete"]
Vectors = NDArray[np.float32]
# Of "multidiscrete" the names of the options of each number of an action, of "discrete" one name for each number, of
# "minerl" the names of the values of each member.
Meanings = tuple[tuple[str, ...], ...] | tuple[str, ...] | dict[str, tuple[str, ...]]
TURNS = {"pitch": "positive looks down", "yaw": "positive turns right"}

# Keys that exclude each other share one choice: none, first, second, ... Keys named nowhere here (drop, inventory) open
# menus or lose items: an agent gets them through "minerl" only.
CHOICES = (
    ("forward", "back"),
    ("left", "right"),
    ("jump",),
    ("sneak",),
    ("sprint",),
    ("attack", "use"),
    tuple(f"hotbar.{i}" for i in range(1, 10)),
)


def has_choices(spec: ActionSpec) -> bool:
    """Whether the game has any key of ``CHOICES``."""
    return any(key in spec.keys for choice in CHOICES for key in choice)


class MultiDiscreteActions:
    """One whole number per choice of keys, then one bin each for pitch and yaw (VPT's foveated bins).

    For Minecraft: forward/back 3, left/right 3, jump 2, sneak 2, sprint 2, attack/use 3, hotbar 10, pitch 11, yaw 11;
    0 means none of them, the middle bin (5) means no turn.
    """

    def __init__(self, spec: ActionSpec):
        self.spec = spec
        choices = [tuple(key for key in choice if key in spec.keys) for choice in CHOICES]
        self.choices = [choice for choice in choices if choice]
        self.bins = camera_bin_centres()
        sizes = [len(choice) + 1 for choice in self.choices] + [len(self.bins)] * (2 if spec.camera else 0)
        self.space: spaces.MultiDiscrete = spaces.MultiDiscrete(sizes)
        # Row i of a table is the part of the action vector that option i of that choice stands for.
        self._tables = [self._table(choice) for choice in self.choices]
        if spec.camera:
            for axis in (-2, -1):
                table = np.zeros((len(self.bins), spec.size), np.float32)
                table[:, axis] = self.bins
                self._tables.append(table)

    def _table(self, choice: tuple[str, ...]) -> Vectors:
        table = np.zeros((len(choice) + 1, self.spec.size), np.float32)
        for i, key in enumerate(choice):
            table[i + 1, self.spec.keys.index(key)] = 1
        return table

    def vectors(self, actions: ArrayLike) -> Vectors:
        """Actions (B, choices) to action vectors (B, A).

        Raises:
            UserError: not whole numbers, the wrong shape, or outside the space.
        """
        array = numbers_of(actions)
        sizes = self.space.nvec
        if array.ndim != 2 or array.shape[1] != len(sizes):
            raise UserError(f"an action must be {len(sizes)} whole numbers, got shape {array.shape[1:]}")
        if array.dtype.kind not in "iu":
            raise UserError(f"an action must be whole numbers, got {array.dtype}")
        _check_range(array, sizes)
        return np.stack([table[array[:, i]] for i, table in enumerate(self._tables)]).sum(0)

    @property
    def meanings(self) -> tuple[tuple[str, ...], ...]:
        """What each option of each choice presses, or by how much it turns the camera in a video frame."""
        keys = tuple(("none", *choice) for choice in self.choices)
        if not self.spec.camera:
            return keys
        turns = tuple(tuple(_turn(axis, degrees) for degrees in self.bins) for axis in TURNS)
        return keys + turns

    def noop(self) -> NDArray[np.int64]:
        """The action that does nothing: 0 for keys, the middle bin for the camera."""
        return self.nearest(self.spec.idle())

    def nearest(self, vector: ArrayLike) -> NDArray[np.int64]:
        """The action whose vector comes closest to ``vector`` (A,): for scripted players and recorded play."""
        vector = np.asarray(vector, np.float32)
        out = []
        for table in self._tables:
            used = table.any(0)
            out.append(int(np.abs(table[:, used] - vector[used]).sum(1).argmin()))
        return np.array(out, np.int64)


class DictActions:
    """MineRL's form: each key ``Discrete(2)``, ``camera`` two numbers (pitch, yaw) in degrees per video frame."""

    def __init__(self, spec: ActionSpec):
        self.spec = spec
        members: dict[str, spaces.Space[Any]] = {key: spaces.Discrete(2) for key in spec.keys}
        if spec.camera:
            members["camera"] = spaces.Box(-CAMERA_LIMIT, CAMERA_LIMIT, (2,), np.float32)
        self.space: spaces.Dict = spaces.Dict(members)

    def vectors(self, actions: Mapping[str, ArrayLike]) -> Vectors:
        """A mapping of batched members (B, ...) to action vectors (B, A); members left out are 0.

        Raises:
            UserError: an unknown name, or values outside the space.
        """
        if not isinstance(actions, Mapping):
            raise UserError(f"an action is a mapping of {', '.join(self.space)}, got {type(actions).__name__}")
        arrays = {name: numbers_of(value) for name, value in actions.items()}
        lengths = {len(a) if a.ndim else -1 for a in arrays.values()}
        if len(lengths) != 1 or -1 in lengths:
            raise UserError(f"all members of an action must have one row per environment, got {lengths}")
        try:
            rows = [self.spec.vector({name: a[i] for name, a in arrays.items()}) for i in range(lengths.pop())]
        except (ValueError, TypeError) as error:
            raise UserError(str(error)) from error
        vectors = np.stack(rows)
        if self.spec.camera and (np.abs(vectors[:, -2:]) > CAMERA_LIMIT).any():
            raise UserError(
                f"camera must be from {-CAMERA_LIMIT:g} to {CAMERA_LIMIT:g} degrees, got {vectors[:, -2:].tolist()}"
            )
        return vectors

    @property
    def meanings(self) -> dict[str, tuple[str, ...]]:
        """What the values of each member stand for."""
        camera = {"camera": tuple(f"{axis}: degrees a video frame, {sign}" for axis, sign in TURNS.items())}
        return dict.fromkeys(self.spec.keys, ("released", "pressed")) | (camera if self.spec.camera else {})

    def noop(self) -> dict[str, Any]:
        """The action that does nothing."""
        return self.spec.mapping(self.spec.idle())

    def nearest(self, vector: ArrayLike) -> dict[str, Any]:
        """The action for a vector (A,)."""
        return self.spec.mapping(vector)


class DiscreteActions:
    """One of the game's keys at a time, in the game's own order, as Atari's joystick is played."""

    def __init__(self, spec: ActionSpec):
        if spec.camera or not spec.keys:
            raise UserError("action_space='discrete' is for games of keys alone: this one has a camera, or no keys")
        self.spec = spec
        self.space: spaces.Discrete = spaces.Discrete(len(spec.keys))

    def vectors(self, actions: ArrayLike) -> Vectors:
        """Actions (B,) to action vectors (B, A).

        Raises:
            UserError: not whole numbers, the wrong shape, or outside the space.
        """
        array = numbers_of(actions)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise UserError(f"an action must be one whole number, got {array.dtype} of shape {array.shape[1:]}")
        _check_range(array, np.asarray(self.space.n))
        return np.eye(int(self.space.n), dtype=np.float32)[array]

    @property
    def meanings(self) -> tuple[str, ...]:
        """The key that each number presses."""
        return self.spec.keys

    def noop(self) -> np.int64:
        """The action that does nothing, in games that have one.

        Raises:
            UserError: one of the game's keys is always pressed.
        """
        idle = self.spec.idle()
        if not idle.any():
            raise UserError(f"no action of this game does nothing: {', '.join(self.spec.keys)}")
        return self.nearest(idle)

    def nearest(self, vector: ArrayLike) -> np.int64:
        """The action whose key is pressed most in a vector (A,)."""
        return np.int64(np.asarray(vector).argmax())


Actions = MultiDiscreteActions | DictActions | DiscreteActions


SPACES = {"multidiscrete": MultiDiscreteActions, "minerl": DictActions, "discrete": DiscreteActions}


def make_actions(spec: ActionSpec, name: str | None = None) -> Actions:
    """The action space called ``name``: "multidiscrete", "minerl" or "discrete".

    None is "multidiscrete" where the game has a camera or keys of ``CHOICES``, else "discrete".

    Raises:
        UserError: there is no such action space, or the game cannot be played with it.
    """
    if name is None:
        name = "multidiscrete" if spec.camera or has_choices(spec) else "discrete"
    if name not in SPACES:
        raise UserError(f"action_space must be 'multidiscrete', 'minerl' or 'discrete', got {name!r}")
    return SPACES[name](spec)


def single(action: Any) -> Any:
    """Give one action a leading batch axis of 1."""
    if isinstance(action, Mapping):
        return {name: numbers_of(value)[None] for name, value in action.items()}
    return numbers_of(action)[None]


def numbers_of(value: Any) -> NDArray[Any]:
    """An action, or those of all rows, as an array.

    Raises:
        UserError: it cannot be one, as rows of different lengths.
    """
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{type(value).__name__} is no action: {error}") from error


def _turn(axis: str, degrees: float) -> str:
    """A turn as an action script writes it."""
    return f"{axis} {degrees:+.3g}/frame" if degrees else f"{axis} 0 (rest)"


def _check_range(array: NDArray[Any], sizes: NDArray[np.integer]) -> None:
    if (array < 0).any() or (array >= sizes).any():
        raise UserError(f"actions must be from 0 to below {sizes.tolist()}, got {array.tolist()}")
