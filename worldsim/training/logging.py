"""Following a training run: progress, metrics on disk and in TensorBoard, batches read ahead.

A run is a folder: ``config.json``, ``state.safetensors`` (to resume), weights, ``metrics.jsonl``, ``tensorboard/``,
``samples/``.
"""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from worldsim.optim.distributed.ranks import ranks
from worldsim.progress import display

T = TypeVar("T")
Metrics = Generator[tuple[int, dict[str, float]]]


class RunLog:
    """Appends metrics to ``metrics.jsonl`` and, where tensorboard is installed, to ``tensorboard/``."""

    def __init__(self, folder: Path) -> None:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "metrics.jsonl").open("a")
        self.board = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row."""
        self.file.write(json.dumps({"step": step, "time": round(time.time(), 1), **metrics}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in metrics.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self.file.close()
        if self.board is not None:
            self.board.close()


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """Signals to stop (SIGINT, SIGTERM) that arrived, kept for when it is a good moment; a second one acts at once."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    # Only a main thread is told of signals.
    if threading.current_thread() is threading.main_thread():
        before |= {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    run: Metrics,
    folder: Path,
    steps: int,
    title: str,
    sample: Callable[[int], None],
    sample_every: int,
    every: int = 10,
) -> None:
    """Drain a training generator: progress bar, log, sample videos; without a terminal, a line a minute.

    Raises:
        KeyboardInterrupt: told to stop (Ctrl-C, SIGTERM), after the step in progress and after saving.
    """
    together = ranks()
    log = RunLog(folder) if together.first else None
    try:
        # Closed here, a run that is left by an error saves what it has while somebody still hears of it.
        with interruptions() as stop, display(enabled=together.first) as show, contextlib.closing(run):
            for step, metrics in run:
                validated = {
                    k.removeprefix("validation/"): v for k, v in metrics.items() if k.startswith("validation/")
                }
                if validated:
                    shown = "  ".join(f"{name} {value:.4g}" for name, value in validated.items())
                    show.print(f"{time.strftime('%H:%M:%S')} step {step}: {shown}")
                if log is not None and (validated or step % every == 0):
                    log.write(step, metrics)
                show(title, step, steps, f"loss {metrics['loss']:.4f}")
                if together.stop(bool(stop)) and step < steps:
                    run.close()
                    if together.first:
                        print(f"stopped and saved after step {step}: the same command goes on from there", flush=True)
                    raise KeyboardInterrupt
                if log is not None and (step % sample_every == 0 or step == steps):
                    sample(step)
    finally:
        if log is not None:
            log.close()


def prefetched(
    batches: Callable[[int], T], pool: ThreadPoolExecutor, following: Callable[[int], int] = lambda index: index + 1
) -> Callable[[int], T]:
    """The same batches, each read while the one before is trained on; ``following`` is the next one's number."""
    waiting: dict[int, Any] = {}

    def get(index: int) -> T:
        future = waiting.pop(index, None) or pool.submit(batches, index)
        waiting.clear()
        waiting[following(index)] = pool.submit(batches, following(index))
        return future.result()

    return get


def write_config(folder: Path, **parts: Any) -> None:
    """Keep what the run was started with beside its results."""
    if not ranks().first:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(parts, indent=1, default=str))
