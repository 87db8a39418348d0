"""What differs between evaluation reports: their settings, and their measures, in pairs where starts are the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from worldsim.evaluation.interface.lines import number
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures.starts import paired
from worldsim.evaluation.reports.compare_reports import Measure, Report
from worldsim.evaluation.runner import thresholds_of

# What decides which starts are drawn.
DRAWN = {
    "episodes": "held-out recordings",
    "split": "split",
    "seed": "seed",
    "chunk": "frames of a chunk",
    "preset": "preset",
}
# What decides how they are judged.
JUDGED = {"version": "version of the measures", "thresholds": "thresholds"}
# What else numbers depend on, and what belongs to the world itself.
OTHER = {"revisions": "revision", "inverse": "inverse-dynamics model", "fps": "frames a second", "sampling": "sampling"}
UNSAID = "not said"
# By how much the measure of the values start by start may miss the number that stands in the report, relatively.
AGREE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much the last report's value is above the first one's.

    ``low``, ``high``: 95 % paired cluster-bootstrap interval over maps, None where there is none; ``why`` then says so.
    """

    value: float
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def shown(self, unit: str) -> str:
        """The difference as text."""
        return signed(self.value, unit)

    def interval(self, unit: str) -> str:
        """The interval as text, or why there is none."""
        if self.low is None or self.high is None:
            return self.why
        return f"{signed(self.low, unit)} to {signed(self.high, unit)}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measure side by side: one entry a report, None where it was not measured, and last minus first."""

    name: str
    unit: str
    measures: Sequence[Measure | None]
    difference: Difference | None


def signed(value: float, unit: str) -> str:
    """A difference for people; of shares, in percentage points."""
    sign = "+" if value > 0 else "-" if value < 0 else ""
    return f"{sign}{number(abs(100 * value), 'points') if unit == '%' else number(abs(value), unit)}"


def measures_by_report(reports: Sequence[Report]) -> list[Row]:
    """All measures of all reports, in the order of the first one that has them."""
    rows = []
    for name in dict.fromkeys(name for report in reports for name in report.measures):
        measures = [report.measures.get(name) for report in reports]
        unit = next(m.unit for m in measures if m is not None)
        rows.append(Row(name=name, unit=unit, measures=measures, difference=difference(reports[0], reports[-1], name)))
    return rows


def difference(first: Report, last: Report, name: str) -> Difference | None:
    """A measure of the last report less that of the first, with an interval where they can be paired."""
    a, b = first.measures.get(name), last.measures.get(name)
    if a is None or b is None or a.value is None or b.value is None:
        return None
    value = b.value - a.value
    if why := unpaired(first, last, a.part or b.part):
        return Difference(value=value, why=why)
    if a.starts is None or b.starts is None:
        return Difference(value=value, why="no values start by start")
    if not np.array_equal(a.starts.maps, b.starts.maps):
        return Difference(value=value, why="other clips")
    everything = np.arange(len(a.starts.maps))
    for own in (a, b):
        assert own.starts is not None and own.value is not None
        if not abs(own.starts.measure(everything) - own.value) <= AGREE * max(1e-2, abs(own.value)):
            return Difference(value=value, why="values start by start do not give the number")
    found = paired(a.starts, b.starts)
    why = "" if found["low"] is not None else "one map only"
    return Difference(value=value, low=found["low"], high=found["high"], why=why)


def unpaired(first: Report, last: Report, part: str = "") -> str:
    """Why values of a part cannot be compared start by start, "" where they can."""
    for keys, other, unsaid in (
        (DRAWN, "other clips", "clips not said"),
        (JUDGED, "judged otherwise", "version not said"),
    ):
        for key in keys:
            a, b = (_of_part(_judged(report.about.get(key)), key, part) for report in (first, last))
            if a is None or b is None:
                return unsaid
            if a != b:
                return other
    a, b = (report.about.get("revisions", {}).get(part) for report in (first, last))
    if a != b:
        return "judged otherwise"
    if part == "inverse" and first.about.get("inverse") != last.about.get("inverse"):
        return "other inverse-dynamics model"
    return ""


def settings_that_differ(reports: Sequence[Report]) -> list[str]:
    """One line a setting that is not the same in all reports, or that some do not say: comparing needs it to be."""
    lines = []
    for key, words in (DRAWN | JUDGED | OTHER).items():
        values = [_flat(words, _judged(report.about.get(key))) for report in reports]
        for name in dict.fromkeys(name for value in values for name in value) or [words]:
            said = [value.get(name, UNSAID) for value in values]
            if len(set(said)) > 1 or (said[0] == UNSAID and key in DRAWN | JUDGED):
                pairs = zip(reports, said, strict=True)
                lines.append(f"{name}: " + "; ".join(f"{shown} in {report.name}" for report, shown in pairs))
    return lines


def _of_part(value: Any, key: str, part: str) -> Any:
    """Of preset and thresholds, what decides a part's result: what else was measured does not matter to it."""
    if part not in PARTS or not isinstance(value, Mapping):
        return value
    if key == "preset":
        return {one.name: value.get(one.name) for one in fields(PARTS[part].settings)}
    if key == "thresholds":
        return {name: value.get(name) for name in thresholds_of(PARTS[part])}
    return value


def _judged(value: Any) -> Any:
    """A setting without goals: these judge what was measured, and do not change it."""
    return {k: v for k, v in value.items() if k != "goals"} if isinstance(value, Mapping) else value


def _flat(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _flat(f"{name}: {key}", inner).items()}
    if value is None:
        return {}
    # A digest says only whether two are the same.
    text = value[:8] if isinstance(value, str) and len(value) == 64 else value
    return {name: ", ".join(map(str, text)) if isinstance(text, list) else str(text)}
