"""Processes beside this one: Ctrl-C reaches every process of a terminal, and one alone is to answer it."""

import contextlib
import multiprocessing.resource_tracker
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_stay_here() -> Iterator[None]:
    """A context to start processes in that never hear of Ctrl-C: this process decides what becomes of them.

    They inherit the blocked signal, so nothing of a Ctrl-C shows even while they import. One that arrives meanwhile is
    heard here, afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The tracker of shared memory, when it has to be started, lets the signal through again.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started_ranks() -> int:
    """How many processes torchrun started this one as one of; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() else 1


def started_first() -> bool:
    """Whether torchrun started this process as the first rank, or did not start it."""
    return started_ranks() == 1 or os.environ["RANK"] == "0"
