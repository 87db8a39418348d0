"""Everything that was played from one beginning, as a tree: any moment of it can be returned to, bit for bit.

A moment is a chunk of frames with the actions that led to it. Actions are kept for all moments, snapshots and pictures
for some: a moment without a snapshot is reached from the last one before it, by playing its actions again.

r video frames per chunk, H W pixels, A action vector.
"""

import threading
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.tree.fading import FadingMemory, Pieces
from worldsim.own_pages import apart

if TYPE_CHECKING:
    from worldsim.envs.play.games import Frames, Game

# Moments between two snapshots while they are dense, and what all snapshots and pictures may take.
EVERY = 8
SNAPSHOT_BYTES, PICTURE_BYTES, LATENT_BYTES = 256 * 2**20, 64 * 2**20, 16 * 2**20
# Snapshots of the moments visited last, however old these are: who looks around in the past stays there for a while.
NEAR = 8


@dataclass(slots=True)
class Moment:
    """A chunk that was played.

    Attributes:
        parent: the moment before it, -1 for the beginning.
        stretch: the unbroken stretch of play that it belongs to.
        depth: chunks since the beginning.
        actions: float32 (r, A) that led to it, empty for the beginning.
        digest: CRC-32 of its frames; None: not computed yet.
    """

    parent: int
    stretch: int
    depth: int
    actions: NDArray[np.float32]
    digest: int | None = None


@dataclass
class Stretch:
    """Moments that followed each other without going back; it begins after the moment ``parent`` (-1: at the start)."""

    parent: int
    numbers: list[int] = field(default_factory=list)


class Inexact(RuntimeError):
    """Played again, a moment's frames were others: another machine, other weights."""


class Timeline:
    """The tree of what was played in a game, and where the game stands in it.

    One thread steps (``begin``, ``advance``, ``go``); another may look (``picture``, ``stretches``, ``moments``).

    Args:
        game: what is played. One that does not rewind keeps its present moment only.
        every: moments between two snapshots.
        snapshot_bytes: what snapshots may take together, at most.
        picture_bytes: what kept frames may take together, at most.
    """

    def __init__(
        self,
        game: "Game",
        *,
        every: int = EVERY,
        snapshot_bytes: int = SNAPSHOT_BYTES,
        picture_bytes: int = PICTURE_BYTES,
    ):
        self.game, self.every = game, every
        self._snapshot_bytes, self._picture_bytes = snapshot_bytes, picture_bytes
        self._lock = threading.Lock()
        self.here = 0
        self.moments: list[Moment] = []
        self.stretches: list[Stretch] = []
        self._snapshots: FadingMemory[tuple[Any, Frames]] = FadingMemory(2)
        self._pictures: FadingMemory[Frames] = FadingMemory(2)
        self._latents: FadingMemory[NDArray[np.float16]] = FadingMemory(2)
        self._near: deque[tuple[int, tuple[Any, Frames]]] = deque(maxlen=NEAR)
        self._present: tuple[int, Frames] | None = None

    def begin(self, seed: int) -> "Frames":
        """Begin anew: what was played before is forgotten."""
        frames = self.game.reset(seed)
        with self._lock:
            nothing = np.zeros((0, self.game.hands.target.size), np.float32)
            self.moments = [Moment(-1, 0, 0, nothing, _digest(frames))]
            self.stretches, self.here = [Stretch(-1, [0])], 0
            self._pictures = FadingMemory(self._picture_bytes, _pieces, least=16)
            self._pictures.put(0, frames)
            self._present = (0, frames)
            self._latents = FadingMemory(LATENT_BYTES, _pieces, least=16)
            self._near.clear()
        if self.game.rewinds:
            snapshot = self.game.snapshot()
            self._snapshots = FadingMemory(self._snapshot_bytes, lambda kept: _pieces(kept[0]), least=8)
            self._snapshots.put(0, (snapshot, frames))
        return frames

    def advance(self, actions: NDArray[np.float32]) -> "Frames":
        """Play actions (r, A) from here; the game then stands at the new moment."""
        frames = apart(self.game.advance(actions))
        if not self.game.rewinds:
            with self._lock:
                self._present = (0, frames)
            return frames
        number = self.add(self.here, actions)
        self._reached(number, frames)
        if number % self.every == 0:
            self._snapshots.put(number, (self.game.snapshot(), frames))
        return frames

    def add(self, parent: int, actions: NDArray[np.float32]) -> int:
        """Note that actions followed a moment, without playing them; returns the number of the new moment."""
        before, number = self.moments[parent], len(self.moments)
        # What is held for long is kept once.
        same = np.array_equal(actions, before.actions)
        kept = before.actions if same else np.array(actions, np.float32)
        goes_on = self.stretches[before.stretch].numbers[-1] == parent
        stretch = before.stretch if goes_on else len(self.stretches)
        # In this order, so that whoever looks meanwhile finds every moment that a stretch names.
        self.moments.append(Moment(parent, stretch, before.depth + 1, kept))
        if goes_on:
            self.stretches[stretch].numbers.append(number)
        else:
            self.stretches.append(Stretch(parent, [number]))
        return number

    def go(
        self,
        number: int,
        *,
        tell: Callable[[int, int], None] = lambda done, total: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> "Frames":
        """Put the game at a moment; returns its frames.

        Args:
            number: of the moment.
            tell: called with the moments played again, and how many there are to play.
            stop: asked before each; the game then stays at the moment reached.

        Raises:
            Inexact: a moment did not come out as it was.
        """
        path, near = [number], dict(self._near)
        while path[-1] not in self._snapshots and path[-1] not in near:
            path.append(self.moments[path[-1]].parent)
        begin = path.pop()
        found = self._snapshots.get(begin) or near[begin]
        snapshot, frames = found
        self.game.restore(snapshot)
        with self._lock:
            self.here, self._present = begin, (begin, frames)
        total = len(path)
        while path and not stop():
            tell(total - len(path), total)
            reached = path.pop()
            frames = apart(self.game.advance(self.moments[reached].actions))
            self._reached(reached, frames)
            # Halfway stops make the next steps of scrubbing short.
            if reached % self.every == 0 and reached not in self._snapshots:
                self._near.append((reached, (self.game.snapshot(), frames)))
        return frames

    def path(self, number: int) -> list[int]:
        """Moments from the beginning to one."""
        out = [number]
        while (parent := self.moments[out[-1]].parent) >= 0:
            out.append(parent)
        return out[::-1]

    def ancestor(self, number: int, steps: int) -> int:
        """The moment so many steps before one, or the beginning."""
        for _ in range(steps):
            number = max(0, self.moments[number].parent)
        return number

    def after(self, number: int) -> int:
        """The moment that was played last after one; itself, at an end."""
        stretch = self.stretches[self.moments[number].stretch].numbers
        place = number_place(stretch, number)
        if place + 1 < len(stretch):
            return stretch[place + 1]
        following = [s.numbers[0] for s in self.stretches if s.parent == number]
        return following[-1] if following else number

    def at(self, stretch: int, depth: int) -> int:
        """The moment of a stretch that is nearest to so many chunks after the beginning."""
        numbers = self.stretches[stretch].numbers
        return numbers[min(max(depth - self.moments[numbers[0]].depth, 0), len(numbers) - 1)]

    def picture(self, number: int) -> "Frames":
        """The frames of a moment, or of the nearest one before it whose frames are kept."""
        with self._lock:
            if self._present is not None and self._present[0] == number:
                return self._present[1]
            while (frames := self._pictures.get(number)) is None:
                number = self.moments[number].parent
            return frames

    def apart(self, number: int) -> tuple[int, float] | None:
        """The stretch played last that was elsewhere at the time of a moment, and how far its latents are from there.

        The root mean square of the difference, of the latents themselves: 0 the same, 1.4 nothing in common. None:
        there is no such stretch, or its latents are not kept.
        """
        depth, mine = self.moments[number].depth, self._latents.get(number)
        if mine is None:
            return None
        for stretch in range(len(self.stretches) - 1, -1, -1):
            numbers = self.stretches[stretch].numbers
            place = depth - self.moments[numbers[0]].depth
            if 0 <= place < len(numbers) and numbers[place] != number:
                other = self._latents.get(numbers[place])
                if other is not None:
                    own, away = (np.square(t.astype(np.float32)).mean() for t in (mine, mine - other))
                    return stretch, float(np.sqrt(away / max(1e-12, own)))
        return None

    def kept(self) -> tuple[int, int]:
        """How many snapshots and pictures are kept."""
        return len(self._snapshots), len(self._pictures)

    def _reached(self, number: int, frames: "Frames") -> None:
        moment, digest, latent = self.moments[number], _digest(frames), self.game.latent()
        with self._lock:
            self.here, self._present = number, (number, frames)
            self._pictures.put(number, frames)
            if latent is not None:
                self._latents.put(number, apart(latent))
        if moment.digest is not None and moment.digest != digest:
            raise Inexact(f"moment {number} did not come out as it was played")
        moment.digest = digest


def number_place(stretch: Sequence[int], number: int) -> int:
    """Where a moment stands in its stretch: numbers rise."""
    return bisect_left(stretch, number)


def _digest(frames: "Frames") -> int:
    return zlib.crc32(np.ascontiguousarray(frames).tobytes())


def _pieces(kept: Any) -> Pieces:
    """Bytes of what a snapshot or an array is made of; states of a world share some of it."""
    return kept.pieces() if hasattr(kept, "pieces") else {id(kept): max(1, int(getattr(kept, "nbytes", 0)))}
