"""Busy processes beside a measurement: they work while told to, and none outlives it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.timing import PATIENCE, wait_until
from worldsim.cli.bench.load import BURNER, REST, WORK, busy_processes
from worldsim.errors import UserError

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def stat_of(running: "subprocess.Popen[bytes]") -> tuple[str, int]:
    """A process's state (S: it sleeps) and its processor time in ticks."""
    fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


@needs_proc
def test_they_work_while_told_to_and_sleep_otherwise():
    with busy_processes(2) as busy:
        assert len(busy) == 2
        wait_until(lambda: all(stat_of(each)[0] == "S" for each in busy.running), "both sleep at first")
        busy.work()
        begun = [stat_of(each)[1] for each in busy.running]
        wait_until(
            lambda: all(stat_of(each)[1] > ticks + 3 for each, ticks in zip(busy.running, begun, strict=True)),
            "both take processor time",
        )
        busy.work(False)
        wait_until(lambda: all(stat_of(each)[0] == "S" for each in busy.running), "both sleep again")


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_they_end_with_the_measurement_whatever_ended_it(error: type[BaseException]):
    with pytest.raises(error), busy_processes(2) as busy:
        busy.work()
        raise error
    assert all(each.returncode is not None for each in busy.running)


def test_one_whose_bench_was_killed_ends_by_itself():
    """All that is left of a killed process is a closed pipe."""
    command = [sys.executable, "-I", "-S", "-c", BURNER]
    burner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert burner.stdin is not None and burner.stdout is not None
    try:
        burner.stdin.write(WORK)
        assert burner.stdout.read(1) == WORK
        burner.stdin.close()
        assert burner.wait(PATIENCE) == 0
    finally:
        burner.kill()
        burner.stdout.close()


def test_a_dead_one_is_one_line():
    with busy_processes(2) as busy:
        busy.running[1].kill()
        busy.running[1].wait()
        with pytest.raises(UserError, match="died"):
            busy.work()


def test_words_are_told_apart():
    assert WORK != REST and len(WORK) == len(REST) == 1
