"""A memory of bounded size that is dense for what was last and ever sparser with age."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class FadingMemory(Generic[T]):
    """Values by number, as many as there is room for.

    Where there are too many, the one goes that is missed least: whose neighbours are closest together for its age. So
    the distance between neighbours grows in proportion to their age, and a long past costs no more than a short one.

    Args:
        room: for values; the first and the last one are always kept.
        size: what a value takes of it.
        least: how many values are kept where there is no room for as many.
    """

    def __init__(self, room: int, size: Callable[[T], int] = lambda value: 1, least: int = 2):
        if min(room, least) < 2:
            raise ValueError(f"a memory keeps at least 2 values, got {min(room, least)}")
        self.room, self.least, self._size, self._taken = room, least, size, 0
        self._values: dict[int, T] = {}
        self._sizes: dict[int, int] = {}
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._values

    def put(self, number: int, value: T) -> None:
        """Keep a value, until others are missed more."""
        if number not in self._values:
            insort(self._numbers, number)
        size = self._size(value)
        self._taken += size - self._sizes.get(number, 0)
        self._values[number], self._sizes[number] = value, size
        while self._taken > self.room and len(self._numbers) > self.least:
            if (lost := self._least_missed()) is None:
                break
            self._taken -= self._sizes.pop(lost)
            del self._values[lost]
            del self._numbers[bisect_left(self._numbers, lost)]

    def get(self, number: int) -> T | None:
        """The value of a number, if it is still there."""
        return self._values.get(number)

    def _least_missed(self) -> int | None:
        kept, newest = self._numbers, self._numbers[-1]
        inner = (((kept[i + 1] - kept[i - 1]) / (1 + newest - kept[i]), kept[i]) for i in range(1, len(kept) - 1))
        return min(inner, default=(0.0, None))[1]
