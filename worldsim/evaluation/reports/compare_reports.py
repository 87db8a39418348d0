"""Evaluation reports that were written before: read, checked, named."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.errors import UserError
from worldsim.evaluation.measures.starts import KEY, Starts
from worldsim.simulation.config import renamed
from worldsim.spec.compute import Compute
from worldsim.spec.text_files import parse_json

TFLOP = 1e12
# A measure is the same in how many steps a world samples; that stands among the settings.
STEPS = re.compile(r" \(\d+ steps\)$")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of one report.

    Attributes:
        value, low, high: the number and its 95 % interval over maps; None where there is none.
        unit: behind the number; "%" is a share of 1.
        part: of the evaluation that measured it, "" where the report does not say.
        starts: its values start by start, if the report keeps them.
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str
    part: str
    starts: Starts | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """An evaluation report.

    Attributes:
        name: in tables and charts.
        path: of its ``eval.json``.
        about: what was measured, on what, how much.
        measures: by name, in the report's order.
        results: of the parts, as they were written.
        tflop: training compute of its world in TFLOP, None where nobody knows it.
        by_hand: whether that was given by hand.
    """

    name: str
    path: Path
    about: Mapping[str, Any]
    measures: Mapping[str, Measure]
    results: Mapping[str, Any]
    tflop: float | None
    by_hand: bool = False

    @property
    def trained(self) -> str:
        """The training compute in words."""
        if self.tflop is not None:
            return f"{self.tflop:.4g} TFLOP{' (given by hand)' if self.by_hand else ''}"
        known = Compute.from_json(self.about.get("compute"))
        return f"unknown ({known.flop / TFLOP:.4g} TFLOP since {known.since})" if known.steps else "unknown"


def read_reports(paths: Sequence[str], names: Sequence[str] = (), compute: Sequence[float | None] = ()) -> list[Report]:
    """Read reports.

    Args:
        paths: folders of ``worldsim eval``, or their ``eval.json``; at least two.
        names: one each; default: the folders' names, with as many parents as make them differ.
        compute: training compute of each world in TFLOP where the report does not know it; None: what it says.

    Raises:
        UserError: there are fewer than two, one is no report, or there are not as many names or numbers.
    """
    if len(paths) < 2:
        raise UserError(f"reports has {len(paths)}: give two or more, say reports=[runs/eval-a,runs/eval-b]")
    for what, given in (("names", names), ("compute", compute)):
        if given and len(given) != len(paths):
            raise UserError(f"{what} has {len(given)} for {len(paths)} reports: give one each, in their order")
    if names and len(set(names)) < len(names):
        raise UserError(f"names must differ from each other, got {', '.join(names)}")
    files = [_file(path) for path in paths]
    read = [_read(file) for file in files]
    out = []
    for i, (file, whole, name) in enumerate(zip(files, read, names or distinct_names(files), strict=True)):
        spent = Compute.from_json(whole["about"].get("compute"))
        own = spent.flop / TFLOP if spent.known and spent.flop > 0 else None
        given = compute[i] if compute else None
        if given is not None and not (math.isfinite(given) and given > 0):
            raise UserError(f"compute must be TFLOP above 0, or null where it is not known, got {given:g}")
        report = Report(
            name=name,
            path=file,
            about=whole["about"],
            measures=_measures(file, whole["summary"]),
            results={part: found for part, found in whole.items() if isinstance(found, dict) and part != "about"},
            tflop=own if given is None else given,
            by_hand=given is not None,
        )
        out.append(report)
    return out


def distinct_names(files: Sequence[Path]) -> list[str]:
    """The names of the files' folders, with as many parents as make them differ; of equal ones, with a number."""
    folders = [file.resolve().parent for file in files]
    names = [folder.name for folder in folders]
    for depth in range(2, max(len(folder.parts) for folder in folders) + 1):
        if len(set(names)) == len(set(folders)):
            break
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, before, strict=True)]


def _file(path: str) -> Path:
    file = Path(path) / "eval.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UserError(f"no evaluation report at {path}: give a folder of worldsim eval, or its eval.json")
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        whole = parse_json(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file} is broken: {error}") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("about"), dict):
        raise UserError(f"{file} is not a report of worldsim eval: it does not say what it is about")
    if not isinstance(whole.get("summary"), list):
        raise UserError(f"{file} is not a report of worldsim eval: it has no summary")
    about = whole["about"]
    if isinstance(about.get("sampling"), dict):
        about["sampling"] = renamed(about["sampling"])
    return whole


def _measures(file: Path, rows: Sequence[Any]) -> dict[str, Measure]:
    out: dict[str, Measure] = {}
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise UserError(f"{file} is not a report of worldsim eval: a measure has no name")
        numbers = {key: row.get(key) for key in ("value", "low", "high")}
        if wrong := [v for v in numbers.values() if v is not None and not _is_number(v)]:
            raise UserError(f"{file} is broken: {row['name']} is {wrong[0]!r}, which is no number")
        out[STEPS.sub("", row["name"])] = Measure(
            **numbers, unit=str(row.get("unit", "")), part=str(row.get("part", "")), starts=Starts.of(row.get(KEY))
        )
    return out


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
