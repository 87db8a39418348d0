"""How far the measures of turning and walking themselves can be trusted, on recorded play of held-out maps."""

from collections.abc import Iterator

from worldsim.evaluation.interface.figures import Section, Table
from worldsim.evaluation.interface.lines import number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.measures.recorded import WINDOWS, measure_reliability
from worldsim.evaluation.measures.types import Films, Results


class Measures(EvaluationPart):
    """The sign measures on recorded play whose actions are known."""

    name = "measures"

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Judge recorded windows as they are, and distorted as dreams are."""
        report = measure_reliability(e.store, HELD_OUT, e.world, WINDOWS, e.seed)
        if not any(report["windows"].values()):
            return {"skipped": "these recordings have no pose of a first-person camera"}, {}
        return report, {}

    def sections(self, found: Results, films: Films) -> Iterator[Section]:
        """A table by distortion and kind of window."""
        shares = found["right"]
        kinds = list(next(iter(shares.values()), ()))
        rows = [
            [name, *(number(row.get(k), "" if k == "lean" else "%") for k in kinds)] for name, row in shares.items()
        ]
        words = (
            "Share of recorded windows of known action that the sign measures judge right: as recorded, and as dreams "
            'look. "still expands" should be near a half, "lean" near 0.'
        )
        yield Section(title="The measures themselves", words=words, table=Table(head=["seen", *kinds], rows=rows))
