"""What a collection did, and how it tells people meanwhile."""

import time
from dataclasses import dataclass, field
from typing import Any

from worldsim import progress

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
        missing: episodes that were asked for and are not in the store: of worlds that were given up, of attempts that
            all stood still, or because the collection was stopped.
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
    missing: int = 0
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
    """Counts what workers report, and shows it."""

    def __init__(self, total: int, report: CollectionReport, start: float, *, enabled: bool):
        self.total, self.report, self.start, self.steps = total, report, start, 0
        self._show = progress.Display(stderr=True, enabled=enabled)

    def __enter__(self) -> "Display":
        self._show.__enter__()
        self.refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        self._show.__exit__(*exc)

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
        frozen = 100 * self.report.frozen_frames / max(1, self.report.frames)
        self._show(
            "episodes",
            done,
            self.total,
            f"{self.report.frames} frames, {rate:.0f} frames/s, frozen {frozen:.1f} %, "
            f"{self.report.frozen_episodes} frozen attempts, {len(self.report.failures)} failures",
        )

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._show.print(text)
