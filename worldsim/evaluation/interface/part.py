"""What a part of an evaluation is, and what it is given to measure."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.interface.figures import Chart, Overlay, Section
from worldsim.evaluation.interface.lines import Line
from worldsim.evaluation.interface.settings import Checked, Composed, Empty
from worldsim.evaluation.measures.clips import Clips, curve_clips
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

# Splits of maps that nothing is trained on.
HELD_OUT: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated, on what, how much, and where results go.

    Attributes:
        world: to be judged.
        store: recorded play.
        split: of maps never trained on.
        preset: how much is measured (``EvalPreset``).
        thresholds: what counts as a failure (``EvalThresholds``).
        seed: of clips, noise and resampling.
        folder: of the run.
        branches: folder of the engine's counterfactual branches, which other evaluations share.
        inverse: file of the inverse-dynamics model, or None.
        rows: side by side in one forward pass.
        progress: told the stage, how much is done, and of how much.
    """

    world: WorldModel
    store: EpisodeStore
    split: Split
    preset: Composed
    thresholds: Composed
    seed: int
    folder: Path
    branches: Path
    inverse: Path | None = None
    rows: int = 8
    progress: Progress = field(default=lambda *_: None)

    def clips(self, count: int, prefix: int, chunks: int) -> Clips:
        """``count`` clips of the split: ``prefix`` frames of past, and what followed for ``chunks`` chunks."""
        return curve_clips(self.store, self.split, count, prefix, chunks, self.world.chunk, self.seed)

    @property
    def first_person(self) -> bool:
        """Whether the world is played with a camera and walks."""
        return self.world.spec.camera and {"forward", "back"} <= set(self.world.spec.keys)


class EvaluationPart(ABC):
    """One measure of a world: how it is made, and how its results are shown.

    A part is one class in one file of ``worldsim/evaluation/parts`` and one line of ``worldsim.evaluation.listing``.
    Only ``run`` sees the world; all else reads results that may be older than the code.

    Attributes:
        name: of the part and its results.
        revision: raised when it comes to measure something else, so that older results are not taken over.
        settings: how much is measured: a dataclass of ``amount`` fields, and of fields of other parts by name.
        thresholds: what counts as a failure: a dataclass of ``limit`` fields.
        goals: what a world should reach: a dataclass of ``limit`` fields.
        failures: kinds of failure and their definitions, in words with ``{threshold}``.
        overlays: curves by which several worlds are compared.
        headlines: beginnings of the names of lines that are drawn over training compute unless others are asked for.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 0
    settings: ClassVar[type[Checked]] = Empty
    thresholds: ClassVar[type[Checked]] = Empty
    goals: ClassVar[type[Checked]] = Empty
    failures: ClassVar[Mapping[str, str]] = {}
    overlays: ClassVar[Sequence[Overlay]] = ()
    headlines: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Measure; returns results that JSON can hold, and pictures by name.

        Results with ``skipped`` say why nothing could be measured. ``failures`` holds entries of ``failure``, whose
        pictures have the name of their kind.
        """

    def summary(self, found: Results, goals: Any) -> Iterable[Line]:
        """The numbers that matter, judged by the goals of all parts."""
        return ()

    def charts(self, found: Results, chunk_seconds: float) -> Iterable[Chart]:
        """Curves; ``chunk_seconds``: length of a chunk of the world."""
        return ()

    def sections(self, found: Results, films: Films) -> Iterable[Section]:
        """Pictures, videos and tables."""
        return ()

    def scope(self, found: Results) -> str:
        """How much was measured, in words, for the head of a report; "" where other parts say it."""
        return ""

    def unmeasured(self, found: Results) -> Iterable[tuple[str, str]]:
        """Measures within the part that could not be made, and why."""
        return ()

    def inputs(self) -> Mapping[str, Any]:
        """What else decides the results, beside the world, the recordings and the settings."""
        return {}

    def definition(self, kind: str, thresholds: Any) -> str:
        """What counts as this kind of failure, in words with its thresholds."""
        return self.failures[kind].format(**vars(thresholds))
