"""Count what a recording's actions are: keys, mouse, idleness, and values that no action can have.

F frames, A action vector ``[keys..., pitch, yaw]``, K keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.recording.action_codec import AXIS

# Edges of the mouse histogram in degrees per frame, mirrored for the other direction: fine near zero, coarse far out.
EDGES = (0.05, 0.15, 0.5, 1.5, 5.0, 15.0, 50.0)
# The mouse stands still below this many degrees per frame.
STILL_DEGREES = 0.01
AXES = ("pitch", "yaw")


def mouse_edges() -> NDArray[np.float64]:
    """Borders of the mouse histogram's bins in degrees per frame; the outer bins are open."""
    positive = np.array(EDGES)
    return np.concatenate([-positive[::-1], positive])


@dataclass
class ActionCount:
    """What was counted over ``rows`` transitions; counts of several episodes add up.

    Attributes:
        keys: names of the keys.
        rows: transitions whose action is known.
        unknown: transitions whose action was never recorded.
        pressed: (K,) transitions in which each key was down.
        pushes: (K,) times that each key went down.
        idle: transitions without key or mouse.
        mouse: (2, bins) histograms of pitch and yaw.
    """

    keys: tuple[str, ...]
    rows: int = 0
    unknown: int = 0
    pressed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pushes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    idle: int = 0
    mouse: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2 * len(EDGES) + 1), np.int64))

    @property
    def never(self) -> list[str]:
        """Keys that were never down."""
        return [key for key, count in zip(self.keys, self.pressed, strict=True) if not count] if self.rows else []

    @property
    def idle_share(self) -> float:
        """Share of the known transitions without any action."""
        return self.idle / self.rows if self.rows else 0.0


def count_actions(actions: NDArray[np.float32], keys: tuple[str, ...], *, recorded: bool = True) -> ActionCount:
    """Count the actions (F, A) of one episode; the last row leads nowhere and does not count."""
    used, none = actions[:-1], np.zeros(len(keys), np.int64)
    if not recorded:
        return ActionCount(keys, unknown=len(used), pressed=none, pushes=none)
    down = used[:, : len(keys)] > 0.5
    mouse = used[:, len(keys) :]
    still = (np.abs(np.nan_to_num(mouse)) < STILL_DEGREES).all(1)
    count = ActionCount(
        keys,
        rows=len(used),
        pressed=down.sum(0),
        pushes=(down & ~np.pad(down, ((1, 0), (0, 0)))[:-1]).sum(0),
        idle=int((~down.any(1) & still).sum()),
    )
    for axis in range(mouse.shape[1]):
        bins = np.digitize(np.nan_to_num(mouse[:, axis]), mouse_edges())
        count.mouse[axis] = np.bincount(bins, minlength=count.mouse.shape[1])
    return count


def add_counts(counts: Iterable[ActionCount]) -> list[ActionCount]:
    """Sums of counts, one for each set of keys."""
    sums: dict[tuple[str, ...], ActionCount] = {}
    for count in counts:
        zero = np.zeros(len(count.keys), np.int64)
        total = sums.setdefault(count.keys, ActionCount(count.keys, pressed=zero, pushes=zero))
        total.rows, total.unknown = total.rows + count.rows, total.unknown + count.unknown
        total.pressed, total.pushes = total.pressed + count.pressed, total.pushes + count.pushes
        total.idle, total.mouse = total.idle + count.idle, total.mouse + count.mouse
    return list(sums.values())


def impossible_actions(actions: NDArray[np.float32], keys: tuple[str, ...], most_degrees: float) -> list[str]:
    """What no action can be, in words: missing numbers, keys that are neither up nor down, turns beyond a limit."""
    if actions.shape[1] - len(keys) not in (0, 2):
        return [f"an action has {actions.shape[1]} values for {len(keys)} keys: it needs as many, or two more (camera)"]
    wrong = []
    missing = ~np.isfinite(actions)
    if missing.any():
        wrong.append(f"{int(missing.any(1).sum())} actions hold values that are not numbers{_first(missing)}")
    # A stick or a throttle may be anywhere between its bounds.
    down = actions[:, [i for i, name in enumerate(keys) if not name.startswith(AXIS)]]
    between = np.isfinite(down) & (down != 0) & (down != 1)
    if between.any():
        wrong.append(f"{int(between.any(1).sum())} actions have keys other than 0 and 1{_first(between)}")
    far = np.abs(np.nan_to_num(actions[:, len(keys) :], posinf=0, neginf=0)) > most_degrees
    if far.any():
        wrong.append(f"{int(far.any(1).sum())} actions turn by more than {most_degrees:g} degrees{_first(far)}")
    return wrong


def _first(wrong: NDArray[np.bool_]) -> str:
    return f" (first at frame {int(wrong.any(1).argmax())})"
