"""A playthrough as a small file: where it began, every action, and which weights dreamt it; it can be played again.

Text (JSON), some kB for minutes of play: actions are compressed, pictures are not in it. Played again in the same
world, every frame comes out as it was, to the bit (on a machine that rounds alike; digests tell).

F video frames, A action vector.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import write_whole
from worldsim.envs.play.tree.origin import Origin
from worldsim.envs.play.tree.timeline import Timeline, number_place
from worldsim.errors import UserError
from worldsim.spec.text_files import read_json

if TYPE_CHECKING:
    from worldsim.simulation.branch_tree import Node

FORMAT = "worldsim-playthrough-1"
SUFFIX = ".playthrough.json"
# A day of play at 20 frames a second, and bytes of its actions; more is a file that somebody made to fill the memory.
MOST_FRAMES, MOST_BYTES = 24 * 3600 * 20, 2**26
# Branches may all follow from one another, and whoever expands them recurses.
MOST_BRANCHES = 200


@dataclass(frozen=True, kw_only=True)
class PlayedStretch:
    """An unbroken stretch of play.

    Attributes:
        parent: number of the stretch that it leaves, -1 for the beginning.
        at: how many steps of the parent were played before it.
        actions: float32 (F, A).
        digest: CRC-32 of its last frames, or None.
    """

    parent: int
    at: int
    actions: NDArray[np.float32]
    digest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Playthrough:
    """A tree of play.

    Attributes:
        origin: the world and the beginning.
        seed: of the beginning.
        stretches: parents before children.
        here: the stretch where the player stood, and how many of its steps were played; (-1, 0): at the beginning.
    """

    origin: Origin
    seed: int
    stretches: tuple[PlayedStretch, ...]
    here: tuple[int, int] = (-1, 0)

    @staticmethod
    def of(timeline: Timeline, origin: Origin, seed: int, here: int) -> "Playthrough":
        """What a timeline holds; the player stands at the moment ``here``."""
        moments = timeline.moments
        parts = []
        for stretch in list(timeline.stretches):
            numbers = [n for n in list(stretch.numbers) if n > 0]
            parent, at = _place(timeline, stretch.parent)
            actions = [moments[n].actions for n in numbers]
            joined = np.concatenate(actions) if actions else np.zeros((0, origin.size), np.float32)
            digest = moments[numbers[-1]].digest if numbers else None
            parts.append(PlayedStretch(parent=parent, at=at, actions=joined, digest=digest))
        return Playthrough(origin=origin, seed=seed, stretches=tuple(parts), here=_place(timeline, here))

    @property
    def frames(self) -> int:
        """Frames of all stretches."""
        return sum(len(stretch.actions) for stretch in self.stretches)

    def fill(self, timeline: Timeline) -> int:
        """Put the tree into a timeline that has just begun, without playing it; returns the moment of ``here``."""
        ends: list[list[int]] = []
        chunk = self.origin.chunk
        for stretch in self.stretches:
            number = 0 if stretch.parent < 0 or not stretch.at else ends[stretch.parent][stretch.at - 1]
            numbers = []
            for first in range(0, len(stretch.actions), chunk):
                number = timeline.add(number, stretch.actions[first : first + chunk])
                numbers.append(number)
            if numbers:
                timeline.moments[numbers[-1]].digest = stretch.digest
            ends.append(numbers)
        stretch, steps = self.here
        return ends[stretch][steps - 1] if stretch >= 0 and steps else 0

    def actions(self) -> NDArray[np.float32]:
        """Actions (F, A) from the beginning to where the player stood."""
        parts, (stretch, steps) = [], self.here
        while stretch >= 0:
            one = self.stretches[stretch]
            parts.append(one.actions[: steps * self.origin.chunk])
            stretch, steps = one.parent, one.at
        return np.concatenate([np.zeros((0, self.origin.size), np.float32), *parts[::-1]])

    def nodes(self) -> tuple["Node", ...]:
        """The tree as ``worldsim rollout`` takes it.

        Raises:
            UserError: nothing was played, or there are too many branches.
        """
        from worldsim.simulation.branch_tree import Node

        leaving: dict[tuple[int, int], list[int]] = {}
        for number, one in enumerate(self.stretches):
            if len(one.actions):
                # What leaves a stretch before its first step leaves what the stretch itself left.
                parent, at = one.parent, one.at
                while parent >= 0 and at == 0:
                    parent, at = self.stretches[parent].parent, self.stretches[parent].at
                leaving.setdefault((parent, at), []).append(number)
        if not leaving:
            raise UserError("nothing was played in this playthrough")
        if (count := sum(len(ones) for ones in leaving.values())) > MOST_BRANCHES:
            raise UserError(f"this playthrough has {count} branches, more than {MOST_BRANCHES}")

        def rest(number: int, done: int) -> Node:
            one, chunk = self.stretches[number], self.origin.chunk
            total = len(one.actions) // chunk
            stops = sorted(at for (parent, at) in leaving if parent == number and done < at <= total)
            end = stops[0] if stops else total
            after = [rest(n, 0) for n in leaving.get((number, end), [])] if stops else []
            if end < total:
                after.insert(0, rest(number, end))
            name = f"play {number + 1}" if not done else f"play {number + 1} from {done * chunk}"
            return Node(name=name, actions=one.actions[done * chunk : end * chunk], branches=tuple(after))

        return tuple(rest(n, 0) for n in leaving.get((-1, 0), []))

    def save(self, path: Path) -> None:
        """Write to a file, which appears when it is whole."""
        joined = np.concatenate([s.actions for s in self.stretches] or [np.zeros((0, self.origin.size), np.float32)])
        content = {
            "format": FORMAT,
            **asdict(self.origin),
            "seed": self.seed,
            "here": list(self.here),
            "stretches": [
                {"parent": s.parent, "at": s.at, "frames": len(s.actions), "digest": s.digest} for s in self.stretches
            ],
            "actions": base64.b64encode(zlib.compress(joined.astype("<f4").T.tobytes(), 9)).decode(),
        }
        write_whole(path, json.dumps(content, indent=1) + "\n")

    @staticmethod
    def load(path: str | Path) -> "Playthrough":
        """Read a saved playthrough.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is damaged or no playthrough.
        """
        content = read_json(Path(path))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{path} is not a playthrough")
        try:
            return _parsed(content)
        except (KeyError, TypeError, ValueError, IndexError, binascii.Error, zlib.error) as error:
            raise UserError(f"{path} is a damaged playthrough: {error}") from error


def _place(timeline: Timeline, number: int) -> tuple[int, int]:
    """A moment as a stretch and the steps of it that were played."""
    if number <= 0:
        return -1, 0
    stretch = timeline.moments[number].stretch
    place = number_place(timeline.stretches[stretch].numbers, number)
    # The beginning is the first of its stretch, and no step.
    return stretch, place + (0 if timeline.stretches[stretch].numbers[0] == 0 else 1)


def _parsed(content: Mapping[str, Any]) -> Playthrough:
    keys, chunk = tuple(str(key) for key in content["keys"]), int(content["chunk"])
    origin = Origin(
        world=str(content["world"]), weights=str(content["weights"]), sampling=dict(content["sampling"]), keys=keys,
        camera=bool(content["camera"]), chunk=chunk, options=dict(content["options"]), past=str(content["past"]),
    )  # fmt: skip
    lengths = [int(one["frames"]) for one in content["stretches"]]
    frames = sum(lengths)
    if chunk < 1 or frames > MOST_FRAMES or any(n < 0 or n % chunk for n in lengths):
        raise ValueError(f"stretches of {lengths[:4]} frames in chunks of {chunk}")
    expected = 4 * frames * origin.size
    if expected > MOST_BYTES:
        raise ValueError(f"actions of {expected} bytes, more than {MOST_BYTES}")
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(base64.b64decode(content["actions"], validate=True), expected + 1)
    if len(raw) != expected:
        raise ValueError(f"its actions do not fill {frames} frames")
    joined = np.ascontiguousarray(np.frombuffer(raw, "<f4").reshape(origin.size, frames).T.astype(np.float32))
    if not np.isfinite(joined).all():
        raise ValueError("an action is not a finite number")
    stretches, first = [], 0
    for number, (one, length) in enumerate(zip(content["stretches"], lengths, strict=True)):
        parent, at, digest = int(one["parent"]), int(one["at"]), one.get("digest")
        _check_place(parent, at, lengths[:number], chunk)
        actions = joined[first : first + length]
        first += length
        stretches.append(
            PlayedStretch(parent=parent, at=at, actions=actions, digest=None if digest is None else int(digest))
        )
    here = (int(content["here"][0]), int(content["here"][1]))
    _check_place(*here, lengths, chunk)
    return Playthrough(origin=origin, seed=int(content["seed"]), stretches=tuple(stretches), here=here)


def _check_place(stretch: int, steps: int, lengths: Sequence[int], chunk: int) -> None:
    if not -1 <= stretch < len(lengths) or not 0 <= steps <= (lengths[stretch] // chunk if stretch >= 0 else 0):
        raise ValueError(f"there is no step {steps} in stretch {stretch}")
