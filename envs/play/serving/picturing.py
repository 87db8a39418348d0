"""What pages are told of a session: texts and pictures.

H W pixels, N starts.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.serving.outbox import encoded
from worldsim.envs.play.serving.people import People
from worldsim.envs.play.session import Session
from worldsim.envs.play.tree.lanes import lanes
from worldsim.plotting.pictures import picture_uri

# Of JPEG, without loss of colours' detail: pictures are small, and each of their pixels is shown large.
QUALITY = 92
# What a page draws and shows at most.
MOST_LANES, MOST_STARTS = 400, 60


class Told:
    """A text that is told again when it is another: at once where something urgent changed, else now and then.

    Args:
        clock: seconds.
        every: seconds from one telling to the next.
    """

    def __init__(self, clock: Callable[[], float], every: float):
        self._clock, self._every = clock, every
        self._last, self._urgent, self._due = "", None, 0.0

    def news(self, make: Callable[[], str], urgent: Any) -> str | None:
        """The text, if it is time for it and it is another one than before."""
        now = self._clock()
        if urgent == self._urgent and now < self._due:
            return None
        self._urgent, self._due = urgent, now + self._every
        if (text := make()) == self._last:
            return None
        self._last = text
        return text

    def again(self) -> None:
        """Somebody came who does not know it."""
        self._last, self._due = "", 0.0


def jpeg(frame: NDArray[np.uint8]) -> bytes:
    """A frame (H, W, 3) for a page; six times as fast as the encoder that reports use."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


def about_game(session: Session, preferences: Preferences) -> str:
    """What does not change while a game is played."""
    game = session.game
    assert game is not None
    return encoded(
        "game", title=game.title, width=game.width, height=game.height, fps=game.fps, camera=game.hands.spec.camera,
        rewinds=game.rewinds, meanings=game.hands.meanings, keys=preferences.keys,
        sensitivity=preferences.sensitivity, smooth=preferences.smooth,
        starts=0 if game.pictures is None else min(MOST_STARTS, len(game.pictures)),
    )  # fmt: skip


def about_now(session: Session, people: People) -> str:
    """How play stands."""
    loading, share = session.loading
    return encoded(
        "state", phase=session.phase.value, moving=session.moving, loading=loading, share=share, error=session.error,
        rate=round(session.queue.rate(), 1), step=round(session.times.percentile(50), 1), status=session.status,
        slow=session.times.percentile(50) > 1000 * chunk_seconds(session), plays=session.seats.playing,
        players=session.seats.names, people=people.about(),
    )  # fmt: skip


def chunk_seconds(session: Session) -> float:
    """How long a step's frames are shown; endless before the game is there."""
    return float("inf") if session.game is None else session.game.chunk / session.game.fps


def about_tree(session: Session) -> str:
    """The timeline: lanes [stretch, row, first, last, the parent's row], and where in it play stands."""
    game, timeline = session.game, session.timeline
    assert game is not None and timeline is not None
    moments, stretches = timeline.moments, timeline.stretches
    drawn = lanes(timeline, session.shown)[:MOST_LANES]
    rows = {lane.stretch: lane.row for lane in drawn}

    def parent(stretch: int) -> int:
        before = stretches[stretch].parent
        return rows.get(moments[before].stretch, -1) if before >= 0 else -1

    def place(number: int) -> tuple[int, int]:
        return moments[number].stretch, moments[number].depth

    mine: dict[int, int] = {}
    number = session.shown
    while number >= 0:
        mine[moments[number].stretch] = moments[number].depth
        number = stretches[moments[number].stretch].parent
    return encoded(
        "tree", lanes=[(one.stretch, one.row, one.first, one.last, parent(one.stretch)) for one in drawn],
        mine=list(mine.items()), here=place(session.shown), mark=None if session.mark is None else place(session.mark),
        seconds=chunk_seconds(session),
    )  # fmt: skip


def about_starts(pictures: NDArray[np.uint8]) -> str:
    """Pictures (N, H, W, 3) of the moments that play can begin at."""
    return encoded("starts", pictures=[picture_uri(picture) for picture in pictures[:MOST_STARTS]])
