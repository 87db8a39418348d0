"""One thread that steps a game, and how long its steps take."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

THREAD = "world"


class Closed(Exception):
    """Nobody waits for this job any more."""


class Worker:
    """Does one job after another in a thread of its own.

    The thread ends with the process: a window that closes need not wait for a job that hangs.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        """Do a job after those before it; the future has what it returns or raises."""
        done: Future[Any] = Future()
        self._jobs.put((done, job))
        return done

    def close(self, patience: float) -> bool:
        """Take no more jobs; whether the thread has ended after ``patience`` seconds at most."""
        self._closed.set()
        self._jobs.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def go_on(self) -> None:
        """For long jobs, to be called between their parts.

        Raises:
            Closed: nobody waits for what comes next.
        """
        if self._closed.is_set():
            raise Closed

    def _run(self) -> None:
        while (next_one := self._jobs.get()) is not None:
            done, job = next_one
            try:
                done.set_result(job())
            # Whatever it is, it belongs to whoever asked for the job.
            except BaseException as error:
                done.set_exception(error)


def at_work() -> bool:
    """Whether a worker's thread is still there."""
    return any(thread.name == THREAD for thread in threading.enumerate())


class StepTimes:
    """Wall time of the latest steps."""

    def __init__(self, chunk: int, keep: int = 100_000):
        self.chunk = chunk
        self.seconds: deque[float] = deque(maxlen=keep)

    def measure(self, step: Callable[[], Any]) -> Any:
        """Do a step and note how long it took; returns what it returns."""
        begun = time.perf_counter()
        out = step()
        self.seconds.append(time.perf_counter() - begun)
        return out

    def percentile(self, percent: float) -> float:
        """Milliseconds."""
        return 1000 * float(np.percentile(self.seconds, percent)) if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames a second, if steps followed each other without a pause."""
        return self.chunk * len(self.seconds) / max(1e-9, sum(self.seconds))

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.frames_per_second:.1f} frames/s, step latency p50 {self.percentile(50):.1f} ms, "
            f"p95 {self.percentile(95):.1f} ms"
        )
