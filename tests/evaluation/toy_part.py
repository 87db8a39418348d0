"""A part that measures nothing: its results are given."""

from collections.abc import Mapping
from typing import Any

from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.measures.types import Films, Results
from worldsim.evaluation.parts.text import Text


class GivenText(Text):
    """The part ``text`` with results that are given."""

    def __init__(self, found: Results, films: Films | None = None):
        self.found, self.films = found, films or {}

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        return self.found, self.films


def only(part: EvaluationPart) -> Mapping[str, Any]:
    """An evaluation's parts: one."""
    return {part.name: part}
