"""Commands that check, repair and describe episode stores."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from worldsim.cli_config import build, compose_config, required, run_folder
from worldsim.cli_store import open_store
from worldsim.datasets.check import CheckLimits, Report, as_json, check_store
from worldsim.datasets.store import EpisodeStore

STORE = "data=data/luanti"
STYLES = {"failure": "bold red", "warning": "yellow", "note": "dim"}


def check(overrides: Sequence[str], flags: Mapping[str, Any]) -> int:
    """``worldsim data check``: exit code 1 when something fails."""
    from worldsim.datasets.check_html import as_html

    config = compose_config("data_check", overrides, flags, {"limits": CheckLimits})
    store = open_store(required(config, "data", STORE))
    with progress_of("checking") as progress:
        report = check_store(
            store,
            limits=build(CheckLimits, config.limits),
            frames=config.frames,
            gigabytes=config.gigabytes,
            full=config.full,
            workers=config.workers,
            seed=config.seed,
            progress=progress,
        )
    folder = run_folder("data-check", config)
    (folder / "report.json").write_text(json.dumps(as_json(report), indent=1))
    (folder / "report.html").write_text(as_html(report))
    failed = report.failed(config.strict)
    print_report(report, failed)
    print(f"pictures and charts: {folder / 'report.html'}")
    return 1 if failed else 0


def print_report(report: Report, failed: bool) -> None:
    """The report for people at a terminal."""
    console = Console(highlight=False)
    rows = Table("alignment", "by", "lag", "confidence", "correlation", "frames", box=None, pad_edge=False)
    for alignment in report.alignments:
        for pair in ("yaw", "pitch", "pose"):
            if (lag := alignment.lags.get(pair)) is not None:
                cells = f"{lag.frames:+d}", f"{lag.confidence:.2f}", f"{lag.correlation:.2f}", f"{lag.transitions:,}"
                rows.add_row(escape(alignment.group), pair, *cells)
    if rows.row_count:
        console.print(rows)
    else:
        console.print("alignment: no camera that moved enough to tell")
    for count in report.actions:
        busiest = sorted(zip(count.pressed, count.keys, strict=True), reverse=True)[:8]
        shares = ", ".join(f"{escape(key)} {down / max(1, count.rows):.1%}" for down, key in busiest if down)
        console.print(f"actions: {count.idle_share:.1%} idle; {shares or 'no key pressed'}", soft_wrap=True)
    for finding in report.findings:
        style = STYLES[finding.severity]
        console.print(f"[{style}]{finding.severity}[/]  {escape(finding.message)}", soft_wrap=True)
    bytes_of = f"every byte of {report.hashed} of {len(report.looks)} episodes"
    console.print(
        f"{'[bold red]FAILED[/]' if failed else '[bold green]no failure[/]'}: {len(report.looks)} episodes, "
        f"{report.frames:,} frames; looked at {report.frames_seen:,} frames and {bytes_of} in {report.seconds:.0f} s"
        + ("" if report.full else " (full=true: at everything)"),
        soft_wrap=True,
    )


def repair(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data repair``."""
    from worldsim.datasets.repair import repair as repair_store

    config = compose_config("data_repair", overrides, flags)
    store = open_store(required(config, "data", STORE))
    out = None if config.out is None else EpisodeStore(config.out)
    with progress_of("repairing") as progress:
        report = repair_store(
            store, out, keep_incomplete=config.keep_incomplete, shortest=config.shortest, progress=progress
        )
    folder = run_folder("data-repair", config)
    (folder / "report.json").write_text(json.dumps(report.as_json(), indent=1))
    for name, parts in report.parts.items():
        print(f"{name}: {'kept ' + ', '.join(parts) if parts else 'nothing could be kept'}")
        for loss in report.losses:
            if loss.episode == name:
                print(f"  {loss.what}: {loss.why}")
    where = f"moved to {store.path / 'damaged'}" if out is None else f"left in {store.path}"
    print(f"{report.whole} episodes are whole, {len(report.parts)} were damaged and {where}; {folder / 'report.json'}")


def card(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data card``."""
    from worldsim.datasets.card import write_card

    config = compose_config("data_card", overrides, flags)
    store = open_store(required(config, "data", STORE))
    with progress_of("looking") as progress:
        report = check_store(
            store,
            limits=CheckLimits(),
            frames=config.frames,
            gigabytes=0.0,
            workers=config.workers,
            seed=config.seed,
            progress=progress,
        )
    print(write_card(store, report, Path(config.out or store.path / "card")))


@contextmanager
def progress_of(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over episodes: a function of (done, total)."""
    with Progress(transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
