"""Commands that check, repair and describe episode stores."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldsim.cli.runs import run_folder
from worldsim.cli.settings import folder_setting, group, seed_setting, setting, store_setting
from worldsim.cli.stores import open_store
from worldsim.datasets.checks.run import CheckLimits, Report, as_json, check_store
from worldsim.datasets.store.store import EpisodeStore
from worldsim.progress import display

STYLES = {"failure": "bold red", "warning": "yellow", "note": "dim"}


@dataclass(kw_only=True)
class Check:
    """Settings of ``worldsim data check``."""

    data: str = store_setting(word="STORE")
    full: bool = setting(
        False, help="compare every byte and look at every frame; else a sample that takes about a minute"
    )
    frames: int = setting(
        40_000, help="how many frames to look at in all, half of them in validation and test", minimum=2
    )
    gigabytes: float = setting(2.0, help="how much to compare with the checksums of whole files", unit="GB", minimum=0)
    strict: bool = setting(False, help="also fail on warnings")
    workers: int = setting(2, help="threads", minimum=1)
    seed: int = seed_setting("of the resampling behind confidences")
    folder: str | None = folder_setting("data-check", "of this run, with report.html and report.json")
    limits: CheckLimits = group(CheckLimits)


@dataclass(kw_only=True)
class Repair:
    """Settings of ``worldsim data repair``."""

    data: str = store_setting("folder of the damaged store", word="STORE")
    out: str | None = setting(
        None, help="new store for what is sound; default: in place, damaged episodes go to STORE/damaged"
    )
    keep_incomplete: bool = setting(False, help="also keep frames whose actions or rewards are lost, marked as such")
    shortest: int = setting(2, help="shorter sound parts are not kept", unit="frames", minimum=1)
    folder: str | None = folder_setting("data-repair", "of this run, with report.json")


@dataclass(kw_only=True)
class Card:
    """Settings of ``worldsim data card``."""

    data: str = store_setting(word="STORE")
    out: str | None = setting(None, help="folder for README.md and its pictures; default: STORE/card")
    frames: int = setting(8000, help="how many frames to look at", minimum=2)
    workers: int = setting(2, help="threads", minimum=1)
    seed: int = seed_setting("of the resampling behind confidences")


def check(config: Check) -> int:
    """``worldsim data check``: exit code 1 when something fails."""
    from worldsim.datasets.checks.report import as_html

    store = open_store(config.data)
    with display() as show:
        report = check_store(
            store,
            limits=config.limits,
            frames=config.frames,
            gigabytes=config.gigabytes,
            full=config.full,
            workers=config.workers,
            seed=config.seed,
            progress=show.stage("checking"),
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


def repair(config: Repair) -> int:
    """``worldsim data repair``: exit code 1 when of some episode nothing could be kept."""
    from worldsim.datasets.checks.repair import repair as repair_store

    store = open_store(config.data)
    out = None if config.out is None else EpisodeStore(config.out)
    with display() as show:
        report = repair_store(
            store,
            out,
            keep_incomplete=config.keep_incomplete,
            shortest=config.shortest,
            progress=show.stage("repairing"),
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
    return 0 if all(report.parts.values()) else 1


def card(config: Card) -> None:
    """``worldsim data card``."""
    from worldsim.datasets.checks.card import write_card

    store = open_store(config.data)
    with display() as show:
        report = check_store(
            store,
            limits=CheckLimits(),
            frames=config.frames,
            gigabytes=0.0,
            workers=config.workers,
            seed=config.seed,
            progress=show.stage("looking"),
        )
    print(write_card(store, report, Path(config.out or store.path / "card")))
