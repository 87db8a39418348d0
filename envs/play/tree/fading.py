"""A memory of bounded size that is dense for what was last and ever sparser with age."""

from bisect import bisect_left, insort
from typing import Generic, TypeVar

T = TypeVar("T")


class FadingMemory(Generic[T]):
    """Values by number, at most ``most`` of them.

    Where one is too many, the one goes that is missed least: whose neighbours are closest together for its age. So the
    distance between neighbours grows in proportion to their age, and a long past costs no more than a short one.

    Args:
        most: how many values are kept, the first among them.
    """

    def __init__(self, most: int):
        if most < 2:
            raise ValueError(f"a memory keeps at least 2 values, got {most}")
        self.most = most
        self._values: dict[int, T] = {}
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._values

    def put(self, number: int, value: T) -> None:
        """Keep a value, until others are missed more."""
        if number not in self._values:
            insort(self._numbers, number)
        self._values[number] = value
        if len(self._numbers) > self.most and (lost := self._least_missed()) is not None:
            del self._values[lost]
            del self._numbers[bisect_left(self._numbers, lost)]

    def get(self, number: int) -> T | None:
        """The value of a number, if it is still there."""
        return self._values.get(number)

    def _least_missed(self) -> int | None:
        kept, newest = self._numbers, self._numbers[-1]
        inner = (((kept[i + 1] - kept[i - 1]) / (1 + newest - kept[i]), kept[i]) for i in range(1, len(kept) - 1))
        return min(inner, default=(0.0, None))[1]
