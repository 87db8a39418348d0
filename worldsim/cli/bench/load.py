"""Busy processes beside a measurement: each of them keeps one core at work, and none outlives the bench."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from worldsim.cli.settings import setting
from worldsim.errors import UserError
from worldsim.processes import interrupts_stay_here

# A process that works while told to. Its input ends when whoever started it does, however that ends, and then so does
# it. What it answers is written once it works, or works no more.
BURNER = """
import os, sys, threading
told = threading.Event()
def listen():
    while word := sys.stdin.buffer.read(1):
        told.set() if word == b"1" else told.clear()
    os._exit(0)
def say(word):
    sys.stdout.buffer.write(word)
    sys.stdout.buffer.flush()
threading.Thread(target=listen, daemon=True).start()
while True:
    told.wait()
    sum(range(10_000))
    say(b"1")
    while told.is_set():
        sum(range(10_000))
    say(b"0")
"""
WORK, REST = b"1", b"0"


def load_setting() -> Any:
    """How many processes work beside a measurement."""
    return setting(
        0, help="also measure beside so many busy processes, in turns with the quiet machine, and compare", minimum=0
    )


class BusyProcesses:
    """Processes that all work or all rest; they begin at rest. Made by ``busy_processes``."""

    def __init__(self, running: Sequence["subprocess.Popen[bytes]"]) -> None:
        self.running = running
        self.working = False

    def __len__(self) -> int:
        return len(self.running)

    def work(self, working: bool = True) -> None:
        """Let all of them work, or rest, and return once they do.

        Raises:
            UserError: one of them has died.
        """
        if working == self.working:
            return
        word = WORK if working else REST
        with contextlib.suppress(BrokenPipeError):
            for each in self.running:
                assert each.stdin is not None
                each.stdin.write(word)
                each.stdin.flush()
        if any(each.stdout is None or each.stdout.read(1) != word for each in self.running):
            raise UserError("a busy process beside the measurement died; is there enough memory?")
        self.working = working


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[BusyProcesses]:
    """So many processes that can be told to work; all have ended when the context is left, by an error too."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        with interrupts_stay_here():
            for _ in range(count):
                command = [sys.executable, "-I", "-S", "-c", BURNER]
                # Unbuffered: a word reaches it at once, and closing has nothing left to write.
                running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
        yield BusyProcesses(running)
    finally:
        for each in running:
            each.kill()
        for each in running:
            each.communicate()
