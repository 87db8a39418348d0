"""A memory of bounded size that is dense for what was last and ever sparser with age."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
Pieces = Mapping[int, int]


class FadingMemory(Generic[T]):
    """Values by number, as many as there is room for.

    Where there are too many, the one goes that is missed least: whose neighbours are closest together for its age. So
    the distance between neighbours grows in proportion to their age, and a long past costs no more than a short one.

    Args:
        room: for values; the first and the last one are always kept.
        pieces: what a value is made of: how much each piece takes, by a name of its own. What values share is held, and
            counted, once.
        least: how many values are kept where there is no room for as many.
    """

    def __init__(self, room: int, pieces: Callable[[T], Pieces] | None = None, least: int = 2):
        if min(room, least) < 2:
            raise ValueError(f"a memory keeps at least 2 values, got {min(room, least)}")
        self.room, self.least, self.taken = room, least, 0
        self._pieces_of = pieces
        self._values: dict[int, T] = {}
        self._pieces: dict[int, Pieces] = {}
        # How many values have a piece.
        self._holders: Counter[int] = Counter()
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._values

    def put(self, number: int, value: T) -> None:
        """Keep a value, until others are missed more."""
        if number in self._values:
            self._let_go(number)
        else:
            insort(self._numbers, number)
        pieces = {number: 1} if self._pieces_of is None else self._pieces_of(value)
        self.taken += sum(size for name, size in pieces.items() if not self._holders[name])
        self._holders.update(pieces.keys())
        self._values[number], self._pieces[number] = value, pieces
        while self.taken > self.room and len(self._numbers) > self.least:
            if (lost := self._least_missed()) is None:
                break
            self._let_go(lost)
            del self._values[lost]
            del self._numbers[bisect_left(self._numbers, lost)]

    def _let_go(self, number: int) -> None:
        """Count a value's pieces no longer."""
        for name, size in self._pieces.pop(number).items():
            self._holders[name] -= 1
            if not self._holders[name]:
                del self._holders[name]
                self.taken -= size

    def get(self, number: int) -> T | None:
        """The value of a number, if it is still there."""
        return self._values.get(number)

    def _least_missed(self) -> int | None:
        kept, newest = self._numbers, self._numbers[-1]
        inner = (((kept[i + 1] - kept[i - 1]) / (1 + newest - kept[i]), kept[i]) for i in range(1, len(kept) - 1))
        return min(inner, default=(0.0, None))[1]
