"""Rows of a vector environment in Gymnasium's form: their seeds, and what those that ended showed last.

N environments, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError


def seed_of_each(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """N seeds: s, s + 1, ... from one number s; one (or None) per row as given; all None.

    Raises:
        UserError: not as many seeds as rows.
    """
    if seed is None or isinstance(seed, int | np.integer):
        return [None if seed is None else int(seed) + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise UserError(f"{len(seed)} seeds for {num_envs} environments")
    return list(seed)


def with_finals(infos: dict[str, Any], last: NDArray[np.uint8], ended: NDArray[np.bool_]) -> dict[str, Any]:
    """Add what the rows that ended showed last, for an environment that resets them in the same step.

    Args:
        infos: of all rows.
        last: frames uint8 (N, H, W, 3).
        ended: bool (N,).
    """
    observations = np.full(len(ended), None, object)
    for row in np.flatnonzero(ended):
        observations[row] = last[row].copy()
    final = {name: value.copy() for name, value in infos.items() if not name.startswith("_")}
    final |= {f"_{name}": ended.copy() for name in final}
    return infos | {
        "final_obs": observations,
        "_final_obs": ended.copy(),
        "final_info": final,
        "_final_info": ended.copy(),
    }
