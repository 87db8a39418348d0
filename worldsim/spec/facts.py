"""What tasks are judged by: facts about a moment, true ones from an engine or a world's own estimate of them.

B rows: environments side by side, or successive moments of one episode.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
# What heads learn to read from a world's features; position and distance follow from its motion head.
LEARNED = ("sees_tree", "wood", "wet", "won", "lost")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about B moments. An engine gives 0 or 1 where a learned world gives a probability.

    Attributes:
        position: x, y (up), z relative to the start of the episode, metres (B, 3).
        furthest: furthest horizontal distance from the start so far, metres (B,).
        sees_tree: a trunk is near and close to the middle of the view (B,).
        wood: pieces of trunk that were cut in the chunk that led here (B,).
        wet: the feet are in water (B,).
        won: points that the game itself gave in the chunk that led here (B,).
        lost: points that it took, or gave to the opponent (B,).
    """

    position: Numbers
    furthest: Numbers
    sees_tree: Numbers
    wood: Numbers
    wet: Numbers
    won: Numbers
    lost: Numbers

    def __len__(self) -> int:
        return len(self.furthest)

    def row(self, index: int) -> Mapping[str, float]:
        """The facts of one row as numbers: x, y, z, furthest, sees_tree, wood, wet, won, lost."""
        place = dict(zip("xyz", self.position[index].tolist(), strict=True))
        return place | {f.name: float(getattr(self, f.name)[index]) for f in fields(self) if f.name != "position"}

    def rows(self, part: slice | NDArray[np.bool_]) -> "Facts":
        """The facts of some rows."""
        return Facts(**{f.name: getattr(self, f.name)[part] for f in fields(self)})
