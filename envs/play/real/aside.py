"""A game that stands still while another one is open, to be returned to as it was."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worldsim.envs.play.opening import Opening
    from worldsim.envs.play.session import Session


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A game, its timeline and what was seen of it.

    Attributes:
        opening: that it was opened by.
        session: paused.
        frame: uint8 (H, W, 3) that was shown.
        view: that it was looked at in.
        waits: for the player to come back; else only until the other one is open.
        before: what stood aside already.
    """

    opening: "Opening"
    session: "Session"
    frame: NDArray[np.uint8] | None
    view: str
    waits: bool
    before: "Aside | None"

    def close(self) -> None:
        """Leave it, and what stood aside before it, for good."""
        self.session.close(leave=True)
        if self.before is not None:
            self.before.close()
