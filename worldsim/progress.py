"""The progress display of all commands: a bar for each stage on a terminal, elsewhere a line a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds between lines where there is no terminal.
EVERY = 60.0


class Display:
    """Stages of work, each with its own bar. Call it with what is done; see ``display``."""

    def __init__(self, *, stderr: bool = False, enabled: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=stderr)
        self.enabled = enabled
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self._tasks: dict[str, tuple[object, float, float]] = {}
        self._told = time.monotonic()

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: float, total: float | None = None, note: str = "") -> None:
        """Show how far a stage is; ``total`` None where nobody knows how long it takes."""
        from rich.progress import TaskID

        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note=note), time.monotonic(), done
        task, began, first = self._tasks[stage]
        assert isinstance(task, int)
        self._bars.update(TaskID(task), completed=done, total=total, note=note)
        if self.enabled and not self.console.is_terminal and time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            line = f"{stage} {done:g}" + ("" if total is None else f"/{total:g}") + (note and f", {note}")
            if total is not None and done > first:
                line += f", {(total - done) * (self._told - began) / (done - first) / 60:.0f} min left"
            self.print(f"{time.strftime('%H:%M:%S')} {line}")

    def stage(self, name: str, note: str = "") -> Callable[[int, int], None]:
        """A function of (done, total) that shows one stage."""
        return lambda done, total: self(name, done, total, note)

    def print(self, text: str) -> None:
        """A line above the bars."""
        if self.enabled:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def display(*, stderr: bool = False, enabled: bool = True) -> Iterator[Display]:
    """Show progress while the block runs; the bars go when it ends."""
    with Display(stderr=stderr, enabled=enabled) as show:
        yield show
