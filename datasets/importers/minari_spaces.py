"""Spaces of Minari data sets: how they are read, and which observation is the picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from worldsim.datasets.recording.env_pictures import SMALLEST_SIDE
from worldsim.errors import UserError
from worldsim.extras import require


def space_of(text: str) -> spaces.Space[Any]:
    """A space from Minari's description of it.

    Raises:
        UserError: it cannot be read.
    """
    serialization = require("minari.serialization", "reading Minari data sets")
    try:
        return serialization.deserialize_space(text)
    except Exception as error:
        # Minari asserts, and its readers raise whatever a wrong field causes.
        raise UserError(f"the data set's space cannot be read ({type(error).__name__}: {error})") from error


def picture_path(space: spaces.Space[Any], view: str) -> tuple[str, ...]:
    """Where in the observation the picture is.

    Args:
        space: of the observations.
        view: names joined by dots; without it, arrays with a side below 16 pixels are taken for grids of symbols.

    Raises:
        UserError: there is none, or there are several and none is named.
    """
    every = dict(_picture_paths(space, ()))
    found = [path for path, shape in every.items() if view or min(shape[:2]) >= SMALLEST_SIDE]
    names = [".".join(path) for path in found]
    if view:
        if view not in names:
            raise UserError(f"no picture {view!r} in the observations; there are: {', '.join(names) or 'none'}")
        return found[names.index(view)]
    if not found and every:
        path, (height, width, _) = next(iter(every.items()))
        what = f"{'.'.join(path) or 'the observation'} is {width}x{height}: a grid of symbols rather than a picture"
        raise UserError(f"{what}; render the environment, or take it as it is with view={'.'.join(path)}")
    if not found:
        raise UserError("the observations hold no pictures: uint8 of 2 or 3 dimensions")
    if len(found) > 1:
        raise UserError(f"the observations hold several pictures: choose one with view={names[0]} ({', '.join(names)})")
    return found[0]


def _picture_paths(
    space: spaces.Space[Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[int, int, int]]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for name, part in parts:
            yield from _picture_paths(part, (*path, str(name)))
    elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and (shape := _channels_last(space.shape)):
        yield path, shape


def _channels_last(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Height, width and channels of a picture of this shape; None if it is none."""
    if len(shape) == 2 and min(shape) > 3:
        return (*shape, 1)
    if len(shape) == 3 and shape[2] in (1, 3):
        return (shape[0], shape[1], shape[2])
    if len(shape) == 3 and shape[0] in (1, 3):
        return (shape[1], shape[2], shape[0])
    return None
