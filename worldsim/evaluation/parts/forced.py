"""The next chunk after the true past, beside the tokenizer's ceiling.

B clips, K chunks, r frames per chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.lines import Line, at_most, line
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.metrics import psnr, ssim
from worldsim.evaluation.measures.rollouts import reconstruction, teacher_forced, truth_of
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import curve
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    clips: int
    prefix: int
    chunks: int
    forced: int = amount(
        quick=1, full=2, help="places on the horizon at which the next chunk is also predicted from the true past"
    )
    forced_samples: int = amount(
        quick=4, full=8, least=1, help="samples of each such chunk, whose mean picture is judged too"
    )


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    forced_below_tokenizer_db: float = limit(
        3.0, "PSNR below the tokenizer's of the next chunk after the true past, at most"
    )


def forced_report(
    world: WorldModel, clips: Clips, prefix: int, chunks: int, places: int, rows: int = 8, seed: int = 0,
    samples: int = 1, progress: Progress = lambda *_: None,
) -> dict[str, Any]:  # fmt: skip
    """The next chunk after the true past, at some places along the horizon, and the tokenizer on the same frames.

    ``mean``: the mean picture of ``samples`` chunks under different noise. A sample misses the truth by its own spread
    too, by up to 3 dB more than the mean of all samples, which tells what is known of the next chunk.
    """
    at_chunks = np.unique(np.linspace(0, chunks - 1, max(1, places)).astype(int))
    scores: dict[str, list[list[NDArray]]] = {"model": [], "mean": [], "tokenizer": [], "ssim": []}
    for at, part in clips.batches(rows):
        coded = reconstruction(world, part, prefix, chunks)[:, at_chunks]
        truth = truth_of(part, prefix, chunks, world.chunk)[:, at_chunks]
        sampled = np.stack([teacher_forced(world, part, prefix, int(k), at, samples) for k in at_chunks], 2)
        shown = sampled[0]
        scores["model"].append(list(psnr(shown, truth, 4)))
        scores["mean"].append(list(psnr(sampled.mean(0), truth, 4)))
        scores["tokenizer"].append(list(psnr(coded, truth, 4)))
        scores["ssim"].append(list(ssim(shown[:, :, -1], truth[:, :, -1])))
        progress("teacher-forced", at + len(part), len(clips))
    tables = {name: np.array([row for batch in value for row in batch]) for name, value in scores.items()}
    out: dict[str, Any] = {"at_chunks": (at_chunks + 1).tolist()}
    out |= {name: curve(table, clips.maps, seed) for name, table in tables.items()}
    below = {name: (tables["tokenizer"] - tables[name]).mean(1) for name in ("model", "mean")}
    return out | {
        "samples": samples,
        "below_tokenizer_db": estimate_by_start(below["model"], clips.maps, seed),
        "mean_below_tokenizer_db": estimate_by_start(below["mean"], clips.maps, seed),
    }


class Forced(EvaluationPart):
    """Teacher-forced next chunk against the tokenizer's ceiling."""

    name = "forced"
    settings, goals = Settings, Goals
    headlines = ("next chunk (teacher-forced)",)

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Predict one chunk at some places of the horizon."""
        p = Settings.of(e.preset)
        clips = e.clips(p.clips, p.prefix, p.chunks)
        return forced_report(
            e.world, clips, p.prefix, p.chunks, p.forced, e.rows, e.seed, p.forced_samples, e.progress
        ), {}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How far single samples and their mean are below the tokenizer."""
        goal = at_most(goals.forced_below_tokenizer_db, "dB")
        yield line("next chunk (teacher-forced) below the tokenizer", found["below_tokenizer_db"], "dB", goal)
        name = f"the mean of {found['samples']} such chunks, below the tokenizer"
        yield line(name, found["mean_below_tokenizer_db"], "dB")
