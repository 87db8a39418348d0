"""The numbers of a report, one a line: what was measured, its interval, what it is compared with, what is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from worldsim.evaluation.measures.starts import KEY


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measured number.

    Attributes:
        name: what it is.
        value, low, high: the number and its 95 % interval over maps (None: too few maps).
        unit: behind the number; "%" multiplies by 100.
        wanted: the goal in words, "" for none.
        met: whether the value reaches it; None without a goal, or where the run cannot tell.
        beside: reference rows in words.
        bare: a number that never has an interval.
        part: of the evaluation that measured it.
        by_start: what it is made of, start by start (``worldsim.evaluation.measures.starts``).
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    wanted: str = ""
    met: bool | None = None
    beside: str = ""
    bare: bool = False
    part: str = ""
    by_start: Mapping[str, Any] | None = None

    @property
    def shown(self) -> str:
        """The number as text."""
        return number(self.value, self.unit)

    @property
    def interval(self) -> str:
        """The interval as text."""
        if self.low is None or self.high is None:
            return "" if self.bare or self.value is None else "one map only"
        return f"{number(self.low, self.unit)} to {number(self.high, self.unit)}"


def number(value: float | None, unit: str = "") -> str:
    """A number for people; shares become percentages."""
    if value is None:
        return "-"
    if unit == "%":
        return f"{100 * value:.1f} %"
    digits = 0 if value == int(value) and abs(value) >= 1 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f}{f' {unit}' if unit else ''}"


Goal = tuple[str, Callable[[float], bool]]


def at_least(goal: float, unit: str = "") -> Goal:
    """A goal that is met from a number upwards."""
    return f"{number(goal, unit)} or more", lambda v: v >= goal


def at_most(goal: float, unit: str = "") -> Goal:
    """A goal that is met up to a number."""
    return f"{number(goal, unit)} or less", lambda v: v <= goal


def between(low: float, high: float) -> Goal:
    """A goal that is met in a range."""
    return f"{number(low)} to {number(high)}", lambda v: low <= v <= high


def line(
    name: str,
    found: Mapping[str, Any] | float | int | None,
    unit: str = "",
    goal: Goal | None = None,
    beside: str = "",
) -> Line:
    """A line from an estimate (or a bare number)."""
    entry = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
    value = entry["value"]
    met = None if goal is None or value is None else goal[1](value)
    return Line(
        name=name,
        value=value,
        low=entry["low"],
        high=entry["high"],
        unit=unit,
        wanted=goal[0] if goal else "",
        met=met,
        beside=beside,
        bare=not isinstance(found, Mapping),
        by_start=entry.get(KEY),
    )


def point(curve: Mapping[str, Any], column: int) -> dict[str, Any]:
    """One column of a curve as an estimate, with its values start by start where the curve keeps them."""
    return {key: curve[key][column] for key in ("value", "low", "high")} | {KEY: curve.get(KEY, {}).get(str(column))}


Verdict = Literal["met", "missed", "not judged", ""]


def verdict(entry: Line) -> Verdict:
    """Whether the goal is met, in words; nothing without a goal."""
    if not entry.wanted:
        return ""
    return "not judged" if entry.met is None else "met" if entry.met else "missed"
