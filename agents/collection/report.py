"""What a collection did, and how it tells people meanwhile."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

Message = tuple[str, Any]


@dataclass
class CollectionReport:
    """What a collection did.

    Attributes:
        frames: frames committed by this call.
        episodes: episodes committed by this call.
        skipped: episodes that were there already.
        withdrawn: episodes that were recorded before and withdrawn since: they stay away.
        frozen_episodes: attempts at an episode rejected or cut short because the picture stood still.
        frozen_frames: frames, among those committed, whose picture equals the one before.
        failures: worlds' failed attempts (crashes and hangs), as one line each.
        abandoned: names of worlds given up after all attempts.
        seconds: wall time.
        interrupted: whether the user stopped it.
    """

    frames: int = 0
    episodes: int = 0
    skipped: int = 0
    withdrawn: int = 0
    frozen_episodes: int = 0
    frozen_frames: int = 0
    failures: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def line(self) -> str:
        """One line for people."""
        frozen = 100 * self.frozen_frames / max(1, self.frames)
        withdrawn = f", {self.withdrawn} were withdrawn and stay away" if self.withdrawn else ""
        return (
            f"{self.frames} frames in {self.episodes} episodes ({self.skipped} were there already{withdrawn}), "
            f"{self.frames / max(1e-9, self.seconds):.1f} frames/s, frozen {frozen:.1f} %, "
            f"{self.frozen_episodes} frozen attempts, {len(self.failures)} failures, "
            f"{len(self.abandoned)} worlds abandoned"
        )


class Display:
    """A progress bar on a terminal, else one line a minute."""

    def __init__(self, total: int, report: CollectionReport, start: float, *, enabled: bool):
        self.total, self.report, self.start, self.enabled = total, report, start, enabled
        self.console = Console(stderr=True)
        self.steps, self._line_at = 0, 0.0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (enabled and self.console.is_terminal),
        )
        self._task = self._bar.add_task("collecting", total=total, completed=report.skipped + report.withdrawn)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def take(self, message: Message) -> None:
        """Count what a worker reports."""
        kind, value = message
        if kind == "steps":
            self.steps += value
        elif kind == "episode":
            self.report.episodes += 1
            self.report.frames += value["frames"]
            self.report.frozen_frames += value["frozen"]
        elif kind == "frozen":
            self.report.frozen_episodes += 1
        self.refresh()

    def refresh(self) -> None:
        """Redraw."""
        done = self.report.skipped + self.report.withdrawn + self.report.episodes
        rate = self.steps / max(1e-9, time.monotonic() - self.start)
        text = f"{self.report.frames} frames, {rate:.0f} frames/s"
        self._bar.update(self._task, completed=done, description=text)
        if self.enabled and not self.console.is_terminal and time.monotonic() - self._line_at > 60:
            self._line_at = time.monotonic()
            left = (self.total - done) * (time.monotonic() - self.start) / max(1, self.report.episodes)
            frozen = 100 * self.report.frozen_frames / max(1, self.report.frames)
            self.note(
                f"{time.strftime('%H:%M:%S')} {done}/{self.total} episodes, {text}, frozen {frozen:.1f} %, "
                f"{self.report.frozen_episodes} frozen attempts, {len(self.report.failures)} failures, "
                f"{left / 60:.0f} min left"
            )

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self.enabled:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
