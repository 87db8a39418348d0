"""What the parts of an evaluation have to say about their results, in the order of the parts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from worldsim.evaluation.config import EvalGoals
from worldsim.evaluation.interface.lines import Line, line
from worldsim.evaluation.interface.part import EvaluationPart
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures.types import Results


def measured(results: Mapping[str, Results]) -> Iterator[tuple[EvaluationPart, Results]]:
    """The parts that were measured, with their results."""
    for name, part in PARTS.items():
        if name in results and "skipped" not in results[name]:
            yield part, results[name]


def summary(results: Mapping[str, Results], goals: EvalGoals) -> list[Line]:
    """The lines of all parts that were measured, judged by ``goals``; the rates of failures last."""
    out = [replace(one, part=part.name) for part, found in measured(results) for one in part.summary(found, goals)]
    for part, found in results.items():
        for kind, entry in found.get("failures", {}).items():
            out.append(replace(line(f"failure: {kind}", entry["rate"], "%"), part=part))
    return out


def skipped(results: Mapping[str, Results]) -> Iterator[tuple[str, str]]:
    """Parts that could not be measured, and why; then measures within parts."""
    for name, found in results.items():
        if "skipped" in found:
            yield name, found["skipped"]
    for part, found in measured(results):
        yield from part.unmeasured(found)


def taxonomy(results: Mapping[str, Results]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The kinds of failure of all parts: the part, the kind, its entry."""
    for name, found in results.items():
        for kind, entry in found.get("failures", {}).items():
            yield name, kind, entry
