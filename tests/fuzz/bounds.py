"""What fuzzed code may do: finish, or raise a documented error with a line that says something; in bounded time.

``make fuzz`` runs the numbers of inputs that the tests name (``FUZZ=1``, a share of them); ``make test`` a few,
always the same ones.
"""

import collections
import faulthandler
import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from gymnasium.error import Error as GymnasiumError
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from tests.timing import PATIENCE

T = TypeVar("T")

# Share of the inputs that the tests name.
FEW = 0.005
SHARE = float(os.environ.get("FUZZ", FEW))
# Seconds of processor time for any one input.
LONGEST = 10.0
# Errors of damage and of users' mistakes (UserError, CorruptEpisodeError, ... among them), and Gymnasium's own.
DOCUMENTED = (ValueError, OSError, GymnasiumError)
# What Python and NumPy say where nobody has looked at the input before them.
VAGUE = (
    "invalid literal for int", "could not convert", "not enough values", "too many values", "Exceeds the limit",
    "zero-size array", "need at least one array", "cannot reshape", "could not broadcast", "operands could not",
    "setting an array", "math domain", "substring not found", "embedded null", "is not in list", "unpack requires",
)  # fmt: skip

# How many inputs each test has seen, for the summary.
seen: collections.Counter[str] = collections.Counter()


def fuzzed(strategy: SearchStrategy[Any], inputs: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test that gets so many inputs, in its argument ``drawn``."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            seen[test.__name__] += 1
            test(*args, **kwargs)

        return settings(
            max_examples=max(3, int(inputs * SHARE)),
            derandomize=SHARE == FEW,
            deadline=None,
            database=None,
            suppress_health_check=tuple(HealthCheck),  # pyright: ignore[reportArgumentType]
        )(given(drawn=strategy)(counted))

    return decorate


def outcome(call: Callable[[], T]) -> T | Exception:
    """What a call returns, or the documented error that it raised; any other one fails the test.

    An error has to say something of its own, in its first line, which people are shown.
    """
    with in_time():
        try:
            return call()
        except DOCUMENTED as error:
            check_message(error)
            return error


def check_message(error: Exception) -> None:
    assert not isinstance(error, UnicodeError), f"{type(error).__name__}: {error}"
    line = next(iter(str(error).strip().splitlines()), "")
    assert line, f"{type(error).__name__} says nothing"
    if not isinstance(error, OSError):
        assert not line.startswith(VAGUE), line


@contextmanager
def in_time(seconds: float = LONGEST) -> Iterator[None]:
    """A context that takes no more processor time than this; what never returns ends the whole run with a traceback."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"after {seconds:g} s of work it goes on")

    before = signal.signal(signal.SIGPROF, too_long)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


@contextmanager
def in_memory(megabytes: float) -> Iterator[None]:
    """A context that takes no more memory on top than this, at any moment."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    yield
    assert _peak() - before < megabytes, f"{_peak() - before:.0f} MB"


def _peak() -> float:
    """Megabytes that the process had at most since the mark was cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
