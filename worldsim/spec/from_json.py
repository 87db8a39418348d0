"""Dataclasses of plain values from the JSON in a file's metadata, checked field by field."""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C")
# No size of a network and no count is larger.
LARGEST = 2**24
# Deeper networks are mistakes: a file's numbers decide how long building one takes.
MOST_LAYERS = 1024


def dataclass_of(owner: type[C], raw: Any) -> C:
    """An instance of a dataclass of numbers, truth values, texts, tuples of them, and dataclasses of these.

    Raises:
        ValueError: a value is missing, unknown, of another type, or out of range; says which.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{owner.__name__} is {type(raw).__name__}, not an object of values")
    hints = get_type_hints(owner)
    known = {one.name: one for one in fields(owner) if one.init}  # pyright: ignore[reportArgumentType]
    if unknown := sorted(str(name) for name in raw.keys() - known.keys()):
        raise ValueError(f"{owner.__name__} has no {unknown[0]!r}")
    needed = (n for n, one in known.items() if one.default is MISSING and one.default_factory is MISSING)
    if missing := sorted(set(needed) - raw.keys()):
        raise ValueError(f"{missing[0]!r} of {owner.__name__} is missing")
    return owner(**{name: _value(hints[name], value, f"{owner.__name__}.{name}") for name, value in raw.items()})


def check_range(config: object, least: int, most: int, *names: str) -> None:
    """Whether the named numbers of a configuration are in a range.

    Raises:
        ValueError: one is not; says which.
    """
    for name in names:
        if not least <= getattr(config, name) <= most:
            raise ValueError(f"{name} must be from {least} to {most}, got {getattr(config, name)}")


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value of the type that ``hint`` says."""
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return dataclass_of(hint, value)
    if get_origin(hint) in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        rest = [one for one in get_args(hint) if one is not type(None)]
        return _value(rest[0], value, where) if len(rest) == 1 else value
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(hint)[0], one, where) for one in value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{where} must be finite, got {value}")
        return float(value) if isinstance(value, float) else value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST:
            raise ValueError(f"{where} is beyond {LARGEST}: {str(value)[:40]}")
        return value
    if hint in (bool, str) and type(value) is hint:
        return value
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise ValueError(f"{where} must be {expected}, got {type(value).__name__} {value!r:.60}")
