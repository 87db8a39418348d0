"""Actions of a recording that runs backwards in time: what each of them would have to be, where that can be told.

F video frames, A action vector. Turning the mouse about and walking the other way undo what was done. Nothing undoes a
blow, a jump or a chosen tool: what leads from the frame after such an action to the one before is not known.
"""

import numpy as np
from numpy.typing import NDArray

from worldsim.spec.actions import ActionSpec

# Keys that undo each other, in small letters.
OPPOSITES = (("forward", "back"), ("forward", "backward"), ("left", "right"), ("up", "down"))
# Keys that say how or whether something is done: alike in both directions.
SYMMETRIC = ("sneak", "sprint", "noop", "nop")


def inverted(actions: NDArray[np.float32], spec: ActionSpec) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Actions (..., A) that undo the given ones, and for which of them (...) that is known; others are zeros."""
    names = [key.lower() for key in spec.keys]
    pairs = [(a, b) for a, b in OPPOSITES if a in names and b in names]
    swapped = {a: b for a, b in pairs} | {b: a for a, b in pairs}
    order = [names.index(swapped.get(name, name)) for name in names]
    lasting = [i for i, name in enumerate(names) if name not in swapped and name not in SYMMETRIC]
    out = actions.copy()
    out[..., : len(names)] = actions[..., order]
    if spec.camera:
        out[..., -2:] = -actions[..., -2:]
    known = np.asarray(~(actions[..., lasting] > 0).any(-1))
    out[~known] = 0
    return out, known


def reversed_actions(actions: NDArray[np.float32], spec: ActionSpec) -> NDArray[np.float32]:
    """Actions (F, A) of a recording in reverse, nan where they are not known; of both, the last row is unused."""
    undone, known = inverted(actions[:-1][::-1], spec)
    undone[~known] = np.nan
    return np.concatenate([undone, np.zeros_like(actions[:1])])
