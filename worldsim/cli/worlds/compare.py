"""``worldsim compare``: evaluation reports side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldsim.cli.runs import run_folder
from worldsim.cli.settings import folder_setting, setting
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.evaluation.reports.compare_differences import Row
    from worldsim.evaluation.reports.compare_reports import Report


@dataclass(kw_only=True)
class Compare:
    """Settings of ``worldsim compare``."""

    reports: list[str] = setting(
        help="folders of worldsim eval or their eval.json; differences are the last one less the first",
        example="reports=[runs/eval-a,runs/eval-b]",
    )
    names: list[str] = setting([], help="one a report: names=[before,now]; default: the folders' names")
    compute: list[str] = setting(
        [],
        help="TFLOP of training, one a report, null where its own number stands: compute=[1.1,null]; default: the "
        "reports' own",
    )
    measures: list[str] = setting(
        [],
        help="beginnings of the names of measures to draw by compute: measures=[PSNR,effect]; default: headline ones",
    )
    folder: str | None = folder_setting("compare", "of this run, with compare.html, compare.json, scaling.svg")


def compare(config: Compare) -> None:
    """``worldsim compare``."""
    from worldsim.evaluation.reports.compare_differences import measures_by_report, settings_that_differ
    from worldsim.evaluation.reports.compare_page import write_comparison
    from worldsim.evaluation.reports.compare_reports import read_reports
    from worldsim.evaluation.reports.compare_scaling import scaling_charts

    reports = read_reports(config.reports, config.names, _numbers(config.compute))
    rows, chosen = measures_by_report(reports), config.measures
    if chosen and not any(row.name.startswith(tuple(chosen)) for row in rows):
        raise UserError(f"no measure begins with {chosen[0]!r}: {rows[0].name if rows else 'there is none'}, ...")
    scaling = scaling_charts(reports, rows, chosen)
    page = write_comparison(run_folder("compare", config), reports, rows, scaling)
    _print(reports, rows)
    console = Console(highlight=False, soft_wrap=True)
    for line in settings_that_differ(reports):
        console.print(f"not the same: {escape(line)}")
    for report in reports:
        console.print(f"training compute of {escape(report.name)}: {escape(report.trained)}")
    print(page)
    if scaling:
        print(page.with_name("scaling.svg"))


def _numbers(texts: Sequence[str]) -> list[float | None]:
    """TFLOP by report; "null" where the report's own number stands.

    Raises:
        UserError: one is no number.
    """
    out: list[float | None] = []
    for text in texts:
        try:
            out.append(None if text in ("None", "null") else float(text))
        except ValueError as error:
            raise UserError(f"compute must be numbers in TFLOP, or null, got {text!r}") from error
    return out


def _print(reports: Sequence["Report"], rows: Sequence["Row"]) -> None:
    from worldsim.evaluation.interface.lines import number

    names = [escape(report.name) for report in reports]
    table = Table(box=None, pad_edge=False)
    for name in ("measure", *names, "difference", "95 % interval"):
        table.add_column(name, justify="left" if name in ("measure", "95 % interval") else "right", overflow="fold")
    for row in rows:
        values = ["-" if m is None else number(m.value, row.unit) for m in row.measures]
        change = row.difference
        shown = ("-", "") if change is None else (change.shown(row.unit), change.interval(row.unit))
        clear = change is not None and change.clear
        table.add_row(escape(row.name), *values, f"[bold]{shown[0]}[/]" if clear else shown[0], shown[1])
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"difference: {names[-1]} less {names[0]}")
