"""Recorded returns: walks, looks and changed blocks that are left and come back to, under the recorded actions.

B cases, S steps of a way, H W pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.figures import Chart, Overlay, Picture, Section, Table, band
from worldsim.evaluation.interface.lines import Line, at_least, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.returns.changes import (
    SCRIPT,
    Change,
    change_scores,
    find_changes,
    kinds_of,
    still_changed,
)
from worldsim.evaluation.measures.returns.journeys import (
    STEPS,
    held,
    journey_report,
    journey_scores,
    left_share,
    read_journeys,
    strips,
    travel,
)
from worldsim.evaluation.measures.returns.stretches import (
    KINDS,
    ROUND_TRIP,
    THERE_AND_BACK,
    Stretch,
    find_returns,
)
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate, quantile_members
from worldsim.evaluation.measures.types import Films, Results

Frames = NDArray[np.uint8]
LOST, UNCHANGED = "place lost", "change undone"
# Kinds whose share that is held has a goal.
LOOPS = (THERE_AND_BACK, ROUND_TRIP)
WAY = "tenth of the way"
COLUMNS = "the view that is left; dreamt and recorded at the furthest point; dreamt and recorded on return"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    return_cases: int = amount(quick=4, full=100, help="recorded returns of each kind that are dreamt")
    change_cases: int = amount(quick=4, full=100, help="recorded dug and placed blocks that are looked away from")
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When a place, or a change of it, is there again."""

    return_psnr: float = limit(20.0, "PSNR in dB to the recorded view that a dream has on return")
    return_left: float = limit(
        0.5, "share of the recorded change at the furthest point by which a dream must have left its view"
    )
    persistence: float


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    loops_held: float = limit(0.7, "share of recorded walks back to their start whose view is there again, at least")
    changes_held: float = limit(0.8, "share of dug and placed blocks still changed after looking away, at least")


class Returns(EvaluationPart):
    """Going the recorded way and coming back: is the place there, and what was changed?"""

    name = "returns"
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        LOST: "on return from a recorded walk or look, under the recorded actions, PSNR to the recorded view is below "
        "{return_psnr:g} dB; or at the furthest point the view had changed by less than {return_left:g} times what it "
        "did in the recording",
        UNCHANGED: "on return to a dug or placed block, as recorded, less than {persistence:g} of its change is there; "
        "or all else in its place differs by more than that change; or the view was not left",
    }
    overlays = tuple(
        Overlay(title=f"PSNR along a {kind} and back, dB", where=("kinds", kind, "way", "dream"), across=WAY, unit="dB")
        for kind in KINDS
    )
    headlines = ("views there again", "blocks still changed")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream all returns that the recordings of held-out maps have."""
        if not e.first_person:
            return {"skipped": "this game has no camera and no walks to come back from"}, {}
        p, limits = Settings.of(e.preset), Thresholds.of(e.thresholds)
        report: Results = {"kinds": {}, "failures": {}, "return_psnr": limits.return_psnr}
        films: dict[str, Frames] = {}
        found = find_returns(e.store, HELD_OUT, p.prefix, p.return_cases, e.seed) if p.return_cases else {}
        self._journeys(e, p, limits, found, report, films)
        changes = find_changes(e.store, HELD_OUT, p.prefix, p.change_cases, e.seed) if p.change_cases else []
        report["changes"] = self._changes(e, p, limits, changes, report["failures"], films)
        if not any("cases" in entry for entry in (*report["kinds"].values(), report["changes"])):
            return {"skipped": f"{missing((*KINDS.values(), SCRIPT))} is recorded of the held-out maps"}, {}
        return report, films

    def _journeys(
        self, e: Evaluation, p: Settings, limits: Thresholds, found: dict[str, list[Stretch]], report: Results,
        films: dict[str, Frames],
    ) -> None:  # fmt: skip
        """Adds the report on each kind of return, their kind of failure and pictures."""
        severity, failed, maps, strip = [], [], [], []
        for kind, script in KINDS.items():
            if not found.get(kind):
                report["kinds"][kind] = {"skipped": f"{missing((script,))} is recorded of the held-out maps"}
                continue
            journeys = read_journeys(e.store, found[kind], p.prefix)
            way, away = travel(e.world, journeys, p.prefix, e.rows, e.progress, kind)
            scores = journey_scores(journeys, way, away)
            there = held(scores, limits.return_psnr, limits.return_left)
            entry = journey_report(scores, journeys, there, limits.return_left, e.world.config.fps, e.seed)
            entry["gallery"] = quantile_members(scores["psnr"])
            entry["gallery_psnr"] = scores["psnr"][entry["gallery"]].round(2).tolist()
            report["kinds"][kind] = entry
            severity.append(np.where(scores["left"] >= limits.return_left, limits.return_psnr - scores["psnr"], 60))
            failed.append(~there)
            maps.append(journeys.clips.maps)
            strip.append(strips(journeys, way, away))
            films[kind] = strip[-1][entry["gallery"]]
        if strip:
            lost = Failures(severity=np.concatenate(severity), failed=np.concatenate(failed), maps=np.concatenate(maps))
            report["failures"][LOST] = failure_entry(self.definition(LOST, limits), lost, e.seed)
            films[LOST] = np.concatenate(strip)[report["failures"][LOST]["gallery"]]

    def _changes(
        self, e: Evaluation, p: Settings, limits: Thresholds, changes: Sequence[Change], failures: Results,
        films: dict[str, Frames],
    ) -> Results:  # fmt: skip
        """The report on dug and placed blocks; adds their kind of failure and its pictures."""
        if not changes:
            return {"skipped": f"{missing((SCRIPT,))} with a change in view is recorded of the held-out maps"}
        journeys = read_journeys(e.store, [change.stretch for change in changes], p.prefix)
        way, away = travel(e.world, journeys, p.prefix, e.rows, e.progress, "changes")
        after, maps = journeys.way[:, -1], journeys.clips.maps
        found = change_scores(changes, after, way[:, -1])
        left = left_share(journeys, away) >= limits.return_left
        held_ = still_changed(found, limits.persistence) & left
        rows = {"recorded": journeys.first, "away": journeys.away}
        beside = {
            name: estimate(
                still_changed(change_scores(changes, after, shown), limits.persistence), maps, seed=e.seed
            )
            for name, shown in rows.items()
        }  # fmt: skip
        undone = Failures(severity=np.where(held_, 1 - found[0], 1 + found[1]), failed=~held_, maps=maps)
        failures[UNCHANGED] = failure_entry(self.definition(UNCHANGED, limits), undone, e.seed)
        before = np.stack([change.before for change in changes])
        strip = np.concatenate([before[:, None], strips(journeys, way, away)], 1)
        films[UNCHANGED] = strip[failures[UNCHANGED]["gallery"]]
        return {
            "cases": len(changes),
            "maps": len(np.unique(maps)),
            **kinds_of(changes),
            "held": estimate_by_start(held_, maps, e.seed),
            "share": estimate(np.clip(np.where(found[1] < 1, found[0], np.nan), -1, 2), maps, seed=e.seed),
            "view_lost": estimate(found[1] >= 1, maps, seed=e.seed),
            "left": estimate(left, maps, seed=e.seed),
            "rows": beside,
        }

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How often a place and a change are there again, beside the reference rows."""
        for kind, entry in _measured(found):
            goal = at_least(goals.loops_held, "%") if kind in LOOPS else None
            beside = f"{entry['cases']} cases of {number(entry['seconds'])} s; view left in "
            beside += number(entry["left"]["value"], "%")
            name = f"views there again ({found['return_psnr']:g} dB) after a recorded {kind}"
            yield line(name, entry["held"], "%", goal, beside)
            rows = {name: number(row["value"]) for name, row in entry["rows"].items()}
            beside = f"the view that was left {rows['repeat']}, at the furthest point {rows['away']}, "
            beside += f"recorded a moment later {rows['recorded']}"
            yield line(f"PSNR on return from a recorded {kind}", entry["psnr"], "dB", None, beside)
        changes = found["changes"]
        if "skipped" not in changes:
            rows = {name: number(row["value"], "%") for name, row in changes["rows"].items()}
            beside = f"{changes['dug']} dug, {changes['placed']} placed; view lost "
            beside += f"{number(changes['view_lost']['value'], '%')}, left {number(changes['left']['value'], '%')}; "
            beside += f"recorded {rows['recorded']}, another view {rows['away']}"
            name = "blocks still changed after a recorded look away"
            yield line(name, changes["held"], "%", at_least(goals.changes_held, "%"), beside)

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """PSNR along the ways: a world that remembers has it rise again."""
        for kind, entry in _measured(found):
            curves = {"dream": band(entry["way"]["dream"]), "the view that was left": band(entry["way"]["repeat"])}
            title = f"PSNR to the recorded view along a way and back: {kind}"
            yield Chart(title=title, curves=curves, ends=(1, STEPS), across=WAY, unit="PSNR, dB")

    def sections(self, found: Results, films: Films) -> Iterator[Section]:
        """Reference rows, and returns at the quantiles of PSNR."""
        rows, pictures = [], []
        for kind, entry in _measured(found):
            values = [entry["psnr"], *(entry["rows"][name] for name in ("repeat", "away", "recorded"))]
            shares = [number(entry[name]["value"], "%") for name in ("left", "held")]
            rows.append([kind, str(entry["cases"]), *(number(value["value"]) for value in values), *shares])
            for place, frames in enumerate(films.get(kind, ())):
                caption = f"{kind}, {25 * place} % quantile: {number(entry['gallery_psnr'][place])} dB on return"
                pictures.append(Picture(frames=frames, caption=caption))
        head = ["kind", "cases", "dream, dB", "view that was left", "furthest point", "a moment later", "left", "held"]
        words = f"Left to right: {COLUMNS}. By PSNR on return. Failures show the same; of changes, first the view "
        words += "on return as it was without the change."
        table = Table(head=head, rows=rows) if rows else None
        yield Section(title="Recorded returns", words=words, pictures=pictures, table=table)

    def unmeasured(self, found: Results) -> Iterator[tuple[str, str]]:
        """Kinds of returns that the recordings do not have."""
        for kind, entry in (*found.get("kinds", {}).items(), ("changed blocks", found.get("changes", {}))):
            if "skipped" in entry:
                yield f"returns, {kind}", entry["skipped"]


def missing(scripts: Sequence[str]) -> str:
    """What recordings would need, as the beginning of a sentence."""
    names = " or ".join(dict.fromkeys(scripts))
    return f"no return of a player that comes back ({names}), with its place and its past,"


def _measured(found: Results) -> Iterator[tuple[str, Results]]:
    for kind, entry in found["kinds"].items():
        if "skipped" not in entry:
            yield kind, entry
