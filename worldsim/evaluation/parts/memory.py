"""What a world remembers: a view that was looked away from, a block that was dug.

B starts, K chunks, r frames per chunk, H W pixels.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.figures import Chart, band
from worldsim.evaluation.interface.lines import Line, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import Clips, draw_clips, draw_evenly, map_of, stands_after
from worldsim.evaluation.measures.dug_blocks import dig_report, find_dig_events
from worldsim.evaluation.measures.metrics import psnr, texture
from worldsim.evaluation.measures.rollouts import all_held, look_away
from worldsim.evaluation.measures.starts import by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
DRIFT, UNDONE = "identity drift", "causal-state error"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    memory_starts: int = amount(quick=6, full=28, help="starts for looking away and returning")
    memory_gaps: tuple[int, ...] = amount(
        quick=(4, 10), full=(4, 10), least=1, help="chunks between looking away and being back"
    )
    prefix: int
    digs: int = amount(quick=6, full=14, help="recorded digs that are looked away from")


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When something counts as forgotten."""

    memory_recall: float = limit(
        0.5, "share of what is remembered without looking away, below which identity has drifted"
    )
    persistence: float = limit(0.5, "share of a dug block's change that must be there on return")


def likeness(a: Frames, b: Frames) -> NDArray[np.float64]:
    """Correlation (B,) of the local texture of pictures (B, H, W, 3): 1 for one view, about 0 for two."""
    out = []
    for x, y in zip(a, b, strict=True):
        p, q = texture(x), texture(y)
        out.append(float((p * q).mean() / np.sqrt((p * p).mean() * (q * q).mean() + 1e-12)))
    return np.array(out)


def memory_scores(
    world: WorldModel, clips: Clips, prefix: int, gaps: Sequence[int], rows: int = 8,
    progress: Progress = lambda *_: None,
) -> tuple[dict[int, dict[str, NDArray]], dict[int, Frames]]:  # fmt: skip
    """Per gap and branch: likeness and PSNR (B,) of the last frame to the last one of the past; films of returns."""
    scores: dict[int, dict[str, NDArray]] = {}
    films: dict[int, Frames] = {}
    first = clips.frames[:, prefix - 1]
    for done, gap in enumerate(gaps):
        scores[gap] = {}
        for name, made in all_held(world, clips, prefix, look_away(world, gap), rows).items():
            last = made[:, -1, -1]
            scores[gap][name] = likeness(last, first)
            scores[gap][f"psnr {name}"] = psnr(last, first)
            if name == "return":
                picked = np.linspace(0, made.shape[1] - 1, 7).astype(int)
                films[gap] = np.concatenate([first[:, None], made[:, picked, -1]], 1)
        progress("look away", done + 1, len(gaps))
    return scores, films


def recall(scores: dict[str, NDArray]) -> NDArray[np.float64]:
    """Share (B,) of what is remembered without looking away, over what another view has by chance: 1 all, 0 nothing.

    Below 0 and above 1 too, by chance: cut off there, the mean of a world that remembers nothing would lie above 0. NaN
    where even staying forgets.
    """
    span = scores["stay"] - scores["away"]
    return np.where(span > 0.1, (scores["return"] - scores["away"]) / np.maximum(span, 0.1), np.nan)


def mean_recall(scores: dict[str, NDArray], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Recall of the mean likenesses, with its interval: single starts divide by a likeness that is itself uncertain."""

    def statistic(rows: NDArray[np.int64]) -> float:
        return float(recall({name: values[rows].mean(keepdims=True) for name, values in scores.items()})[0])

    found = estimate(scores["return"], maps, seed=seed, statistic=statistic)
    return found | by_start(scores["return"] - scores["away"], maps, scores["stay"] - scores["away"])


def memory_report(
    scores: dict[int, dict[str, NDArray]], recorded: dict[str, Any], maps: NDArray, seed: int = 0
) -> dict[str, Any]:
    """Likeness after looking away, by gap in chunks, beside not looking away, another view, and recorded revisits."""
    gaps = {
        str(gap): {name: estimate(values, maps, seed=seed) for name, values in found.items()}
        | {"recall": mean_recall(found, maps, seed), "per_start": recall(found).round(4).tolist()}
        for gap, found in scores.items()
    }
    return {"starts": len(maps), "gaps": gaps, "recorded": recorded}


def recorded_revisits(store: EpisodeStore, splits: Sequence[Split], most: int = 60, seed: int = 0) -> dict[str, Any]:
    """The same likeness in recorded play: of views that were looked away from and back at, and of views that were not.

    Pairs of frames 1 to 8 seconds apart in which the player stands at one place, looks 50 degrees or more away between
    them, and (revisit) looks the same way again or (other) does not. At most ``most`` of each, drawn with the seed.
    """
    found: dict[str, dict[int, list[tuple[str, int, int]]]] = {"revisit": defaultdict(list), "other": defaultdict(list)}
    for name in (name for split in splits for name in store.names(split)):
        for kind, pairs in revisits(store.read(name, depth=False)).items():
            found[kind][map_of(store, name)] += [(name, a, b) for a, b in pairs]
    out = {}
    for kind, by_map in found.items():
        drawn = draw_evenly(by_map, most, seed)
        seen = [[store.read(name, t, t + 1).frames for t in (b, a)] for name, a, b in drawn]
        alike = [float(likeness(*pair)[0]) for pair in seen]
        out[kind] = estimate(alike, [map_of(store, name) for name, _, _ in drawn], seed=seed)
    return out


def revisits(episode: Episode) -> dict[str, list[tuple[int, int]]]:
    """Pairs of frames of one place between which the player looked away: ``revisit`` the same view, ``other`` not."""
    out: dict[str, list[tuple[int, int]]] = {"revisit": [], "other": []}
    if not {"position", "yaw", "pitch"} <= set(episode.state):
        return out
    place, yaw, pitch = (np.asarray(episode.state[k], np.float64) for k in ("position", "yaw", "pitch"))
    for a in range(0, len(episode) - 20, 6):
        away = np.abs((yaw[a : a + 160] - yaw[a] + 180) % 360 - 180)
        there = np.linalg.norm(place[a : a + 160] - place[a], axis=1).cumsum() < 0.05
        looked = np.maximum.accumulate(away) > 50
        steady = there & looked & (np.abs(pitch[a : a + 160] - pitch[a]) < 1) & (np.arange(len(away)) >= 20)
        for kind, wanted in (("revisit", away < 0.7), ("other", away > 50)):
            hits = np.flatnonzero(steady & wanted)
            if len(hits):
                out[kind].append((a, a + int(hits[0])))
    return out


def forgotten(left: NDArray, least: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the share that is left of a view or a change; NaN, none can be told, is none."""
    return 1 - np.nan_to_num(left, nan=0.0), np.isnan(left) | (left < least)


class Memory(EvaluationPart):
    """Looking away and back; dug blocks."""

    name = "memory"
    settings, thresholds = Settings, Thresholds
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
        scores, returns = memory_scores(e.world, clips, p.prefix, p.memory_gaps, e.rows, e.progress)
        report = memory_report(scores, recorded_revisits(e.store, HELD_OUT, seed=e.seed), clips.maps, e.seed)
        gap = p.memory_gaps[len(p.memory_gaps) // 2]
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
        recorded = number(found["recorded"]["revisit"]["value"]), number(found["recorded"]["other"]["value"])
        for gap, seen in found["gaps"].items():
            beside = ", ".join(f"{name} {number(seen[name]['value'])}" for name in ("return", "stay", "away"))
            beside = f"likeness: {beside}; recorded revisit {recorded[0]}, other view {recorded[1]}"
            yield line(f"recall after looking away for {gap} chunks", seen["recall"], "%", beside=beside)
        digs = found["digs"]
        if "skipped" not in digs:
            names = ("return_view_lost", "stay_stays_dug", "stay_view_lost")
            shares = {name: number(digs[name]["value"], "%") for name in names}
            beside = f"{digs['digs']} digs, view lost {shares['return_view_lost']}; without looking away "
            beside += f"{shares['stay_stays_dug']}, view lost {shares['stay_view_lost']}"
            yield line("dug blocks that stay dug", digs["return_stays_dug"], "%", beside=beside)

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Likeness by gap."""
        if m := found.get("gaps"):
            gaps = [float(gap) for gap in m]
            curves = {
                name: band({key: [m[gap][name][key] for gap in m] for key in ("value", "low", "high")})
                for name in ("return", "stay", "away")
            }
            title = f"Likeness after looking away, gaps of {', '.join(m)} chunks"
            yield Chart(
                title=title,
                curves=curves,
                ends=(gaps[0] * chunk_seconds, gaps[-1] * chunk_seconds),
                across="seconds looked away",
                unit="likeness",
            )

    def unmeasured(self, found: Results) -> Iterator[tuple[str, str]]:
        """Why no dug block was looked away from."""
        if "skipped" in found.get("digs", {}):
            yield "digs", found["digs"]["skipped"]
