"""Time in tests: work is measured by the processor, waiting has a limit that no working machine reaches.

What runs beside a test decides how long it takes. So nothing that a test checks is measured by the clock on the wall.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

# Seconds for what is not measured: a process that starts, an answer to a signal.
PATIENCE = 300.0
# Beside other work the same instructions take up to twice the processor time (measured: threads that share a core).
BUSY = 2.5


def wait_until(holds: Callable[[], object], what: str, pause: float = 0.02) -> None:
    """Wait for something that comes soon on an idle machine, and some time on a busy one."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"after {PATIENCE:.0f} s still not: {what}"
        time.sleep(pause)


@contextlib.contextmanager
def little_work(seconds: float) -> Iterator[None]:
    """What is done in this context takes at most so many seconds of a quiet machine's processor time.

    Work without a bound takes minutes, so that it is told from a busy machine's.
    """
    begun = time.process_time()
    yield
    spent = time.process_time() - begun
    assert spent < BUSY * seconds, f"{spent:.1f} s of work, more than {BUSY:g} times {seconds:g} s"
