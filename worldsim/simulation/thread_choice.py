"""One thread or two, by what steps took lately.

Two threads wait for each other many times a step. On a quiet machine that pays; beside other programs it can take
longer than one thread alone. Both give the same bits, so the choice may change at any step. More threads than two give
other bits, and are left as they were set.
"""

import functools
import statistics
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
COUNTS = (1, 2)
# Steps that speak for a count; steps from one look at the other count to the next, and steps that a look takes.
LATELY, EVERY, LOOK = 5, 60, 3
# By which share the other count must be faster: the figures of a busy machine are noisy.
BETTER = 0.03


class ThreadChoice:
    """Decides before each step of some work how many threads it takes, and notes how long it took.

    The other count is looked at for a few steps now and then. When steps become slower than what is known of the other
    count, that is taken at once, and if it is no better the choice goes back.

    Args:
        clock: seconds.
        use: sets the number of threads.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, use: Callable[[int], None] = torch.set_num_threads
    ) -> None:
        self.clock, self.use = clock, use
        self._works: dict[Hashable, _Work] = {}
        self._last: int | None = None

    @contextmanager
    def measured(self, work: Hashable) -> Iterator[int]:
        """A context to take a step in; ``work``: what is alike takes alike, say the number of rows."""
        mine, before = self._works.setdefault(work, _Work()), torch.get_num_threads()
        count = mine.next()
        # The first step after a change wakes a thread, and finds other caches.
        changed, self._last = count != self._last, count
        self.use(count)
        begun = self.clock()
        try:
            yield count
            if not changed:
                mine.seconds[count].append(self.clock() - begun)
        finally:
            # What is between the steps, training say, takes what was set.
            self.use(before)


class _Work:
    """What is known of steps that are alike."""

    def __init__(self) -> None:
        self.seconds: dict[int, deque[float]] = {count: deque(maxlen=LATELY) for count in COUNTS}
        self.chosen, self.steps = COUNTS[-1], 0

    def next(self) -> int:
        self.steps += 1
        unknown = [count for count in reversed(COUNTS) if len(self.seconds[count]) < LOOK - 1]
        if unknown:
            return unknown[0]
        [other] = [count for count in COUNTS if count != self.chosen]
        if self._typical(other) < (1 - BETTER) * self._typical(self.chosen):
            self.chosen, other = other, self.chosen
        return other if self.steps % EVERY < LOOK else self.chosen

    def _typical(self, count: int) -> float:
        return statistics.median(self.seconds[count])


_choice: ThreadChoice | None = None


def choose_threads() -> None:
    """Let steps of worlds choose from now on, in this process, where PyTorch would take two threads."""
    global _choice
    _choice = ThreadChoice() if torch.get_num_threads() == max(COUNTS) else None


def set_threads(count: int) -> None:
    """Take so many threads from now on; steps do not choose."""
    global _choice
    _choice = None
    torch.set_num_threads(count)


def chosen_threads(step: Callable[P, R]) -> Callable[P, R]:
    """A step whose second argument has rows (``batch``), in as many threads as the choice says, where there is one."""

    @functools.wraps(step)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if _choice is None:
            return step(*args, **kwargs)
        with _choice.measured(getattr(args[1], "batch", None) if len(args) > 1 else None):
            return step(*args, **kwargs)

    return chosen
