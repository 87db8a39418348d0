"""What a world remembers: a view that was looked away from, a block that was dug.

B starts, K chunks, r frames per chunk, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.figures import Chart, band
from worldsim.evaluation.interface.lines import Line, at_least, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import draw_clips, stands_after
from worldsim.evaluation.measures.dug_blocks import dig_report, find_dig_events
from worldsim.evaluation.measures.judged import judged_in_recordings
from worldsim.evaluation.measures.returns.looks import (
    FULL_TURN,
    memory_report,
    memory_scores,
    recall,
    recorded_revisits,
)
from worldsim.evaluation.measures.types import Films, Results

Frames = NDArray[np.uint8]
DRIFT, UNDONE = "identity drift", "causal-state error"
# Seconds of looking away that have a goal.
JUDGED = (3, 10, 30)


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    memory_starts: int = amount(quick=6, full=100, help="starts for looking away and returning")
    memory_seconds: tuple[int, ...] = amount(
        quick=(1, 3, 10), full=(1, 3, 10, 30), least=1, help="seconds between looking away and being back"
    )
    # Upright 72 degrees are 105 across: what is looked away from by less is still in view.
    memory_degrees: int = amount(quick=120, full=120, least=1, help="degrees that one looks away")
    full_turn_seconds: int = amount(quick=3, full=3, help="length of a turn of 360 degrees in seconds; 0: none is made")
    prefix: int
    digs: int = amount(quick=6, full=14, help="recorded digs that are looked away from")


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When something counts as forgotten."""

    memory_recall: float = limit(
        0.5, "share of what is remembered without looking away, below which identity has drifted"
    )
    persistence: float = limit(0.5, "share of a dug block's change that must be there on return")


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    recall: tuple[float, ...] = limit((0.75, 0.7, 0.65), "recall after looking away for 3, 10 and 30 seconds, at least")

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: there is not one for each of the seconds.
        """
        super().__post_init__()
        if len(self.recall) != len(JUDGED):
            raise ValueError(f"recall needs {len(JUDGED)} numbers, got {list(self.recall)}")


def forgotten(left: NDArray, least: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the share that is left of a view or a change; NaN, none can be told, is none."""
    return 1 - np.nan_to_num(left, nan=0.0), np.isnan(left) | (left < least)


class Memory(EvaluationPart):
    """Looking away and back; dug blocks."""

    name = "memory"
    revision = 1
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        DRIFT: "after looking away and back, less than {memory_recall:g} of the likeness is left that there is without "
        "looking away, above that of another view; or even without looking away none is left",
        UNDONE: "less than {persistence:g} of a dug block's change is left after looking away and back, or all else in "
        "its place differs by more than that change: its view is lost",
    }
    headlines = ("recall after", "dug blocks")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Look away and come back, where a player stood and where a block was dug."""
        if not e.first_person:
            return {"skipped": "this game has no camera to look away with"}, {}
        p, limits = Settings.of(e.preset), Thresholds.of(e.thresholds)
        try:
            clips = draw_clips(e.store, e.split, p.memory_starts, p.prefix, e.seed + 2, stands_after(p.prefix))
        except UserError as error:
            return {"skipped": str(error)}, {}
        rate = e.world.config.fps / e.world.chunk
        gaps = {max(1, round(seconds * rate)): seconds for seconds in p.memory_seconds}
        starts = [(name, begun + p.prefix - 1) for name, begun in clips.places]
        judged = judged_in_recordings(e.store, starts, clips.frames[:, p.prefix - 1])
        scores, returns = memory_scores(
            e.world, clips, p.prefix, list(gaps), e.rows, e.progress,
            degrees=p.memory_degrees, turn=round(p.full_turn_seconds * rate), judged=judged,
        )  # fmt: skip
        report = memory_report(scores, recorded_revisits(e.store, HELD_OUT, seed=e.seed), clips.maps, e.seed)
        for key, seconds in (*gaps.items(), (FULL_TURN, p.full_turn_seconds)):
            report["gaps"].get(str(key), {})["seconds"] = seconds
        report |= {"degrees": p.memory_degrees, "judged_share": round(float(judged.mean()), 4)}
        gap = list(gaps)[(len(gaps) - 1) // 2]
        severity, failed = forgotten(recall(scores[gap]), limits.memory_recall)
        lost = Failures(severity=severity, failed=failed, maps=clips.maps)
        entry = failure_entry(self.definition(DRIFT, limits), lost, e.seed) | {"gap_chunks": gap}
        report["failures"] = {DRIFT: entry}
        films = {DRIFT: returns[gap][entry["gallery"]]}
        report["digs"] = self._look_away_from_digs(e, p, limits, gap, report["failures"], films)
        return report, films

    def _look_away_from_digs(
        self, e: Evaluation, p: Settings, limits: Thresholds, gap: int, failures: Results, films: dict[str, Frames]
    ) -> Results:
        """The report on dug blocks; adds their kind of failure and its pictures."""
        digs = find_dig_events(e.store, HELD_OUT, p.prefix, p.digs, e.seed) if p.digs else None
        if digs is None:
            return {"skipped": "no recorded dig of the held-out maps suits"}
        report, film = dig_report(e.world, digs, p.prefix, gap, limits.persistence, e.rows, e.seed)
        severity, failed = forgotten(np.array(report["per_start_return"]), limits.persistence)
        undone = Failures(severity=severity, failed=failed, maps=digs.clips.maps)
        failures[UNDONE] = failure_entry(self.definition(UNDONE, limits), undone, e.seed)
        films[UNDONE] = film[failures[UNDONE]["gallery"]]
        return report

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """Recall by gap, and how many dug blocks stay dug."""
        real, wanted = found["recorded"], dict(zip(JUDGED, goals.recall, strict=True))
        for gap, seen in found["gaps"].items():
            # Older results have chunks alone, and PSNR of whole pictures.
            seconds = seen.get("seconds")
            after = f"for {gap} chunks" if seconds is None else f"for {seconds:g} s"
            after = f"in a full turn of {seconds:g} s" if gap == FULL_TURN else f"after looking away {after}"
            goal = at_least(wanted[seconds], "%") if gap != FULL_TURN and seconds in wanted else None
            beside = ", ".join(f"{name} {number(seen[name]['value'])}" for name in ("return", "stay", "away"))
            beside += f"; recorded revisit {number(real['revisit']['value'])}, "
            beside += f"other view {number(real['other']['value'])}"
            yield line(f"recall {after}", seen["recall"], "%", goal, f"likeness: {beside}")
            if seconds is not None:
                beside = ", ".join(f"{name} {number(seen[f'psnr {name}']['value'])}" for name in ("stay", "away"))
                beside += f"; recorded revisit {number(real['psnr revisit']['value'])}"
                yield line(f"PSNR of the view {after}", seen["psnr return"], "dB", beside=beside)
        digs = found["digs"]
        if "skipped" not in digs:
            names = ("return_view_lost", "stay_stays_dug", "stay_view_lost")
            shares = {name: number(digs[name]["value"], "%") for name in names}
            beside = f"{digs['digs']} digs, view lost {shares['return_view_lost']}; without looking away "
            beside += f"{shares['stay_stays_dug']}, view lost {shares['stay_view_lost']}"
            yield line("dug blocks that stay dug", digs["return_stays_dug"], "%", beside=beside)

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Likeness by gap."""
        looks = {int(gap): seen for gap, seen in found.get("gaps", {}).items() if gap != FULL_TURN}
        if not looks:
            return
        # Curves are evenly spaced, and looks are not: between two of them a curve goes straight.
        places, step = sorted(looks), max(1, gcd(*looks))
        across = np.arange(places[0], places[-1] + 1, step)
        curves = {}
        for name in ("return", "stay", "away"):
            columns = {key: [looks[gap][name][key] for gap in places] for key in ("value", "low", "high")}
            curves[name] = band({key: _between(across, places, values) for key, values in columns.items()})
        shown = ", ".join(f"{gap * chunk_seconds:g}" for gap in places)
        yield Chart(
            title=f"Likeness after looking away for {shown} s",
            curves=curves,
            ends=(places[0] * chunk_seconds, places[-1] * chunk_seconds),
            across="seconds looked away",
            unit="likeness",
        )

    def unmeasured(self, found: Results) -> Iterator[tuple[str, str]]:
        """Why no dug block was looked away from."""
        if "skipped" in found.get("digs", {}):
            yield "digs", found["digs"]["skipped"]


def _between(across: NDArray, places: list[int], values: list[float | None]) -> list[float | None]:
    """Values at places, and on the straight lines between them; None where one of them is missing."""
    known = np.interp(across, places, [np.nan if value is None else value for value in values])
    return [None if np.isnan(value) else float(value) for value in known]
