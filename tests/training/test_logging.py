"""Following a run: told to stop, it ends the step in progress, saves, and says how to go on."""

import errno
import os
import signal
from pathlib import Path

import pytest

from worldsim.training.logging import follow


def training(steps: int, told_at: int, number: int, saved: list[int]):
    """A run that is told to stop in the middle of a step."""
    for step in range(1, steps + 1):
        if step == told_at:
            os.kill(os.getpid(), number)
        try:
            yield step, {"loss": 1.0}
        except GeneratorExit:
            saved.append(step)
            raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_a_run_saves_what_it_has(tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]):
    saved: list[int] = []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        follow(training(9, 4, number, saved), tmp_path, 9, "run", lambda step: None, 100, every=1)
    assert saved == [4] and "after step 4" in capsys.readouterr().out
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert signal.getsignal(number) == before


def test_told_to_stop_at_the_end_a_run_ends(tmp_path: Path):
    saved: list[int] = []
    sampled: list[int] = []
    follow(training(3, 3, signal.SIGINT, saved), tmp_path, 3, "run", sampled.append, 100)
    assert saved == [] and sampled == [3]


def test_a_run_that_an_error_ends_is_closed_while_somebody_hears_of_it(tmp_path: Path):
    """Left to the garbage collector, what saving raises would be a traceback of its own."""
    closed = []

    def run():
        try:
            yield 1, {"loss": 1.0}
        except GeneratorExit:
            closed.append(True)
            raise OSError(errno.ENOSPC, "No space left on device", "state.safetensors") from None

    def sample(step: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "film.mp4")

    with pytest.raises(OSError, match="No space left"):
        follow(run(), tmp_path, 5, "training", sample, 1)
    assert closed == [True]
