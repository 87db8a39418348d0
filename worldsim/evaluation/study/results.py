"""The outcome of a study as tables: on the terminal, as JSON, and as a page."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldsim.evaluation.study.design import Study
from worldsim.evaluation.study.ratings import (
    Answer,
    Preference,
    by_map,
    by_rater,
    by_seconds,
    preference,
    strength_intervals,
    strengths,
)
from worldsim.plotting.pages import render_page

# Answers are set apart by these.
GROUPS = {"seconds": by_seconds, "rater": by_rater, "map": by_map}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study found.

    Attributes:
        study: that was run.
        answers: how many.
        raters: how many.
        pairs: by names of two competitors, how the first did against the second.
        groups: by what answers are set apart by, then by its value, the same.
        strengths: by competitor, the logarithm of its strength and its 95 % interval; None where answers are few.
    """

    study: Study
    answers: int
    raters: int
    pairs: Mapping[tuple[str, str], Preference]
    groups: Mapping[str, Mapping[str, Mapping[tuple[str, str], Preference]]]
    strengths: Mapping[str, tuple[float, float, float]]


def outcome(study: Study, answers: Sequence[Answer]) -> Outcome:
    """Count and estimate."""
    names = study.competitors
    values, _ = strengths(answers, len(names))
    intervals = strength_intervals(answers, len(names), study.seed)
    return Outcome(
        study=study,
        answers=len(answers),
        raters=len(by_rater(answers)),
        pairs=_pairs(study, answers),
        groups={g: {v: _pairs(study, some) for v, some in of(answers).items()} for g, of in GROUPS.items()},
        strengths={
            name: (float(value), float(low), float(high))
            for name, value, (low, high) in zip(names, values, intervals, strict=True)
        },
    )


def _pairs(study: Study, answers: Sequence[Answer]) -> dict[tuple[str, str], Preference]:
    names = study.competitors
    numbers = itertools.combinations(range(len(names)), 2)
    return {(names[a], names[b]): preference(answers, a, b) for a, b in numbers}


def rows_of(found: Outcome) -> list[tuple[str, str, str, str]]:
    """A line a pair: all answers, then group by group; who, chosen/same/not, share, interval."""
    lines = [_line(f"{a} over {b}", p) for (a, b), p in found.pairs.items()]
    for by in found.groups.values():
        # Of one group there is nothing to tell apart.
        for value, pairs in by.items() if len(by) > 1 else ():
            lines += [_line(f"{a} over {b}: {value}", p) for (a, b), p in pairs.items()]
    return lines


def _line(name: str, p: Preference) -> tuple[str, str, str, str]:
    share = "-" if math.isnan(p.share) else f"{p.share:.0%}"
    return name, f"{p.wins} / {p.ties} / {p.losses}", share, f"{p.low:.0%} to {p.high:.0%}"


def write_outcome(folder: Path, found: Outcome) -> Path:
    """Write ``result.json`` and ``result.html``; returns the page."""
    plain: dict[str, Any] = {
        "study": found.study.number,
        "question": found.study.question,
        "answers": found.answers,
        "raters": found.raters,
        "strengths": {n: {"value": v, "low": low, "high": high} for n, (v, low, high) in found.strengths.items()},
        "pairs": _plain(found.pairs),
        "groups": {g: {v: _plain(pairs) for v, pairs in by.items()} for g, by in found.groups.items()},
    }
    (folder / "result.json").write_text(json.dumps(plain, indent=1) + "\n")
    page = folder / "result.html"
    page.write_text(render_page("result.html", package="worldsim.evaluation.study", found=found, rows=rows_of(found)))
    return page


def _plain(pairs: Mapping[tuple[str, str], Preference]) -> list[dict[str, Any]]:
    # JSON has no NaN.
    return [
        {"first": a, "second": b, **asdict(p), "share": None if math.isnan(p.share) else p.share}
        for (a, b), p in pairs.items()
    ]
