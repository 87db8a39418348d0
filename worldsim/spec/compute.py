"""How much weights were trained: steps, latent frames, floating-point operations, and since when they are counted."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

# Where counting begins.
RANDOM = "random weights"
UNKNOWN = "weights that do not say how they were trained"


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a training has cost so far, with all that its first weights had cost before.

    Attributes:
        steps: of the optimizer.
        latent_frames: learnt from; a clip that is seen again counts again.
        flop: floating-point operations of the matrix products, forward and backward.
        since: where counting begins: at random weights, or at weights of which nothing is known.
    """

    steps: int = 0
    latent_frames: int = 0
    flop: float = 0.0
    since: str = RANDOM

    @property
    def known(self) -> bool:
        """Whether this is all there was, from random weights on."""
        return self.since == RANDOM

    def plus(self, latent_frames: int, flop: float) -> "Compute":
        """With one more step of so many latent frames and operations."""
        return replace(
            self, steps=self.steps + 1, latent_frames=self.latent_frames + latent_frames, flop=self.flop + flop
        )

    def to_json(self) -> dict[str, Any]:
        """As metadata can hold it."""
        return asdict(self)

    @staticmethod
    def from_json(raw: Any) -> "Compute":
        """The inverse of ``to_json``; of anything else, nothing is known."""
        if not isinstance(raw, Mapping):
            return Compute(since=UNKNOWN)
        steps, frames, flop, since = (raw.get(name) for name in ("steps", "latent_frames", "flop", "since"))
        if not isinstance(steps, int) or not isinstance(frames, int) or min(steps, frames) < 0:
            return Compute(since=UNKNOWN)
        if not isinstance(flop, int | float) or not 0 <= flop < math.inf or not isinstance(since, str):
            return Compute(since=UNKNOWN)
        return Compute(steps=steps, latent_frames=frames, flop=float(flop), since=since)
