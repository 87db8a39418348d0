"""Any Gymnasium action space as named keys: the way between an environment's own actions and action vectors.

A discrete choice becomes one key per option, of which exactly one is 1; a button becomes one key; a bounded number
becomes an axis: 0 is zero, 1 and -1 are its bounds. Members of a ``Dict`` or ``Tuple`` stand one after the other.
Inside a ``Dict``, ``Discrete(2)`` is a button, and a ``Box`` of two numbers called ``camera`` is the camera (pitch and
yaw in degrees), as in MineRL; all of Minecraft's keys stand in Minecraft's order.

A action vector.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from worldsim.spec.actions import MINECRAFT, ActionSpec

Vector = NDArray[np.float32]
AXIS = "axis."
# Degrees a frame that random play turns the camera by, at most.
RANDOM_TURN = 10.0


class Part(Protocol):
    """One member of an action space and its stretch of the action vector."""

    names: tuple[str, ...]

    def encode(self, action: Any) -> Vector:
        """The environment's action to its stretch (len(names),)."""
        ...

    def decode(self, values: Vector) -> Any:
        """A stretch to the environment's action."""
        ...

    def sample(self, rng: np.random.Generator) -> Vector:
        """A random stretch."""
        ...


class _Choice:
    """``Discrete``: one key per option. All keys at 0 stand for the option that does nothing, if one is known."""

    def __init__(self, space: spaces.Discrete, names: Sequence[str]):
        self.first, self.names = int(space.start), tuple(names)
        self.idle = next((i for i, name in enumerate(self.names) if name.rpartition(".")[2] in ("noop", "nop")), 0)

    def encode(self, action: Any) -> Vector:
        number = int(np.asarray(action).item()) - self.first
        if not 0 <= number < len(self.names):
            raise ValueError(f"action {number + self.first} is not one of {len(self.names)} options")
        return np.eye(len(self.names), dtype=np.float32)[number]

    def decode(self, values: Vector) -> Any:
        pressed = np.flatnonzero(values > 0.5)
        if len(pressed) > 1:
            both = " and ".join(self.names[i] for i in pressed[:2])
            raise ValueError(f"{both} exclude each other in this game: press one of them")
        return np.int64(self.first + (int(pressed[0]) if len(pressed) else self.idle))

    def sample(self, rng: np.random.Generator) -> Vector:
        return np.eye(len(self.names), dtype=np.float32)[rng.integers(len(self.names))]


class _Choices:
    """``MultiDiscrete``: several choices side by side."""

    def __init__(self, space: spaces.MultiDiscrete, prefix: str):
        self.shape, starts = space.nvec.shape, np.broadcast_to(space.start, space.nvec.shape)
        sizes = zip(space.nvec.reshape(-1).tolist(), starts.reshape(-1).tolist(), strict=True)
        self.parts = [
            _Choice(spaces.Discrete(n, start=start), [f"{prefix or 'choice'}{i}.{option}" for option in range(n)])
            for i, (n, start) in enumerate(sizes)
        ]
        self.names = tuple(name for part in self.parts for name in part.names)

    def encode(self, action: Any) -> Vector:
        values = np.asarray(action).reshape(-1)
        return np.concatenate([part.encode(value) for part, value in zip(self.parts, values, strict=True)])

    def decode(self, values: Vector) -> Any:
        stretches = np.split(values, np.cumsum([len(part.names) for part in self.parts])[:-1])
        chosen = [part.decode(stretch) for part, stretch in zip(self.parts, stretches, strict=True)]
        return np.array(chosen, np.int64).reshape(self.shape)

    def sample(self, rng: np.random.Generator) -> Vector:
        return np.concatenate([part.sample(rng) for part in self.parts])


class _Buttons:
    """``MultiBinary``, or a ``Discrete(2)`` inside a ``Dict``: keys that are free of each other."""

    def __init__(self, names: Sequence[str], shape: tuple[int, ...]):
        self.names, self.shape = tuple(names), shape

    def encode(self, action: Any) -> Vector:
        return np.asarray(action, np.float32).reshape(-1)

    def decode(self, values: Vector) -> Any:
        pressed = (values > 0.5).astype(np.int8)
        return pressed.reshape(self.shape) if self.shape else np.int64(pressed[0])

    def sample(self, rng: np.random.Generator) -> Vector:
        # Few at a time, as a person presses them.
        return (rng.random(len(self.names)) < min(0.3, 2 / len(self.names))).astype(np.float32)


class _Axes:
    """``Box``: zero is 0 and the bounds are -1 and 1, each side in its own scale; without bounds, values as they are.

    Between bounds that leave zero out, 0 is the middle.
    """

    def __init__(self, space: spaces.Box, names: Sequence[str]):
        self.names, self.shape, self.dtype = tuple(names), space.shape, space.dtype
        self.low, self.high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
        bounded = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(bounded, self.low, -1.0), np.where(bounded, self.high, 1.0)
        self.zero = np.where((low <= 0) & (high >= 0), 0.0, (low + high) / 2)
        self.up, self.down = high - self.zero, self.zero - low

    def encode(self, action: Any) -> Vector:
        away = np.asarray(action, np.float64).reshape(-1) - self.zero
        scale = np.where(away >= 0, self.up, self.down)
        return np.divide(away, scale, out=np.zeros_like(away), where=scale > 0).astype(np.float32)

    def decode(self, values: Vector) -> Any:
        real = np.clip(self.zero + values * np.where(values >= 0, self.up, self.down), self.low, self.high)
        if np.issubdtype(self.dtype, np.integer):
            real = np.round(real)
        return real.astype(self.dtype).reshape(self.shape)

    def sample(self, rng: np.random.Generator) -> Vector:
        return self.encode(self.decode(self.encode(rng.uniform(self.zero - self.down, self.zero + self.up))))


class _Camera:
    """Pitch and yaw in degrees a frame, as they are."""

    names: tuple[str, ...] = ("pitch", "yaw")

    def __init__(self, space: spaces.Box):
        self.space = space

    def encode(self, action: Any) -> Vector:
        return np.asarray(action, np.float32).reshape(2)

    def decode(self, values: Vector) -> Any:
        return np.clip(values, self.space.low, self.space.high).astype(self.space.dtype)

    def sample(self, rng: np.random.Generator) -> Vector:
        turn = rng.normal(0, RANDOM_TURN / 3, 2) * (0.4, 1.0)
        return np.clip(turn, -RANDOM_TURN, RANDOM_TURN).astype(np.float32)


class SpaceCodec:
    """Between the actions of a Gymnasium space and action vectors of ``spec``.

    Args:
        space: the environment's action space.
        meanings: names of the options of a ``Discrete`` space or of the buttons of a ``MultiBinary`` one.

    Raises:
        ValueError: the space has a member that cannot be played with keys, axes and a camera.
    """

    def __init__(self, space: spaces.Space[Any], meanings: Sequence[str] | None = None):
        self.space = space
        self._parts: list[tuple[tuple[str | int, ...], Part]] = []
        self._camera: tuple[tuple[str | int, ...], _Camera] | None = None
        self._add(space, (), list(meanings) if meanings is not None else None)
        names = tuple(name for _, part in self._parts for name in part.names)
        if sorted(names) == sorted(MINECRAFT.keys) and len(self._parts) == len(names):
            self._parts.sort(key=lambda member: MINECRAFT.keys.index(member[1].names[0]))
            names = MINECRAFT.keys
        if len(set(names)) < len(names):
            raise ValueError(f"two actions have the same name: {', '.join(names)}")
        self.spec = ActionSpec(keys=names, camera=self._camera is not None)

    def vector(self, action: Any) -> Vector:
        """The action vector (A,) of an environment's action."""
        parts = [part.encode(_at(action, path)) for path, part in self._all()]
        return np.concatenate(parts).astype(np.float32)

    def action(self, vector: ArrayLike) -> Any:
        """The environment's action for a vector (A,).

        Raises:
            ValueError: the wrong shape, or two options of one choice.
        """
        array = np.asarray(vector, np.float32)
        if array.shape != (self.spec.size,) or not np.isfinite(array).all():
            raise ValueError(f"an action vector must be {self.spec.size} finite numbers, got shape {array.shape}")
        lengths = [len(part.names) for _, part in self._all()]
        stretches = np.split(array, np.cumsum(lengths)[:-1])
        made = [(path, part.decode(s)) for (path, part), s in zip(self._all(), stretches, strict=True)]
        return _built(self.space, dict(made), ())

    def noop(self) -> Vector:
        """The vector (A,) that does nothing: no button, axes at zero, the option that is called noop or comes first."""
        return self.vector(self.action(np.zeros(self.spec.size, np.float32)))

    def sample(self, rng: np.random.Generator) -> Vector:
        """A random vector (A,) that the environment can play."""
        return np.concatenate([part.sample(rng) for _, part in self._all()])

    def _all(self) -> list[tuple[tuple[str | int, ...], Part]]:
        return [*self._parts, *([self._camera] if self._camera is not None else [])]

    def _add(self, space: spaces.Space[Any], path: tuple[str | int, ...], meanings: list[str] | None) -> None:
        prefix = ".".join(map(str, path))
        if isinstance(space, spaces.Dict):
            for name, member in space.spaces.items():
                self._add(member, (*path, name), None)
        elif isinstance(space, spaces.Tuple):
            for i, member in enumerate(space.spaces):
                self._add(member, (*path, i), None)
        elif isinstance(space, spaces.Box) and path and path[-1] == "camera" and space.shape == (2,):
            self._camera = (path, _Camera(space))
        else:
            self._parts.append((path, _part(space, prefix, meanings)))


def _part(space: spaces.Space[Any], prefix: str, meanings: list[str] | None) -> Part:
    if isinstance(space, spaces.Discrete):
        if prefix and space.n == 2 and space.start == 0:
            return _Buttons([_name(prefix)], ())
        return _Choice(space, _names(meanings, f"{prefix or 'action'}.", int(space.n)))
    if isinstance(space, spaces.MultiDiscrete):
        return _Choices(space, prefix and f"{prefix}.")
    if isinstance(space, spaces.MultiBinary):
        return _Buttons(_names(meanings, f"{prefix or 'button'}.", int(np.prod(space.shape))), space.shape)
    if isinstance(space, spaces.Box):
        count = int(np.prod(space.shape))
        names = [AXIS + (prefix + "." if prefix else "") + str(i) for i in range(count)]
        return _Axes(space, names)
    raise ValueError(f"actions of {space} cannot be recorded: they are no choices, buttons, numbers or a camera")


def _names(meanings: list[str] | None, prefix: str, count: int) -> list[str]:
    if meanings is not None and len(meanings) == count == len({_name(m) for m in meanings if m is not None}):
        return [_name(meaning) for meaning in meanings]
    return [f"{prefix}{i}" for i in range(count)]


def _name(text: str) -> str:
    """Lower case without blanks, as ``up_right`` for ``UP RIGHT``."""
    return re.sub(r"\s+", "_", str(text).strip().lower())


def _at(action: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if isinstance(action, Mapping) and step not in action:
            raise ValueError(f"the action has no {step!r}")
        action = action[step]
    return action


def _built(space: spaces.Space[Any], values: dict[tuple[str | int, ...], Any], path: tuple[str | int, ...]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _built(member, values, (*path, name)) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_built(member, values, (*path, i)) for i, member in enumerate(space.spaces))
    return values[path]
