"""Nothing pressed, nothing moved: does the picture stand, as the game's does?

B rollouts, N recorded stretches, S seconds, F frames, H W pixels.
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
from worldsim.evaluation.interface.figures import Chart, Overlay, band
from worldsim.evaluation.interface.lines import Line, at_least, line, number, point
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import (
    STANDING_SPEED,
    STEADY_TURN,
    Clips,
    draw_clips,
    draw_evenly,
    map_of,
    stands_after,
)
from worldsim.evaluation.measures.judged import Mask, judged_in_recordings
from worldsim.evaluation.measures.metrics import sharpness
from worldsim.evaluation.measures.recorded import WINDOWS
from worldsim.evaluation.measures.rollouts import begin, dream
from worldsim.evaluation.measures.starts import by_start_at, estimate_by_start
from worldsim.evaluation.measures.statistics import curve, estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import ActionSpec

Frames = NDArray[np.uint8]
DISSOLVES = "dissolves"
# Seconds after which a picture is judged, beside the last one; seconds of which film strips show the last frame.
JUDGED, SHOWN = 10, (1, 2, 5, 10, 20, 40, 60)
# A recorded rest is this many seconds long at least.
SHORTEST = 2


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    rest_starts: int = amount(quick=4, full=100, least=1, help="rollouts at rest, nothing pressed")
    rest_seconds: int = amount(quick=10, full=60, least=1, help="length of rollouts at rest in seconds")
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When a picture still stands."""

    rest_psnr: float = limit(24.0, "PSNR in dB to the start's picture that a picture at rest keeps")


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    rest_held: float = limit(0.95, "share of starts whose picture stands up to the end of a rest, at least")


@dataclass(frozen=True, kw_only=True)
class Stillness:
    """What is measured second by second; NaN from where a recorded stretch ends.

    Attributes:
        psnr: of the last frame of each second to the start's picture, in dB, at most 60 (N, S).
        sharpness: of the same frames, over that of the start's picture (N, S).
        change: mean change of a pixel from frame to frame within each second, of 255 (N, S).
    """

    psnr: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    change: NDArray[np.float64]


def stillness_of(frames: Frames, judged: Mask, fps: int) -> tuple[NDArray, NDArray, NDArray]:
    """PSNR, sharpness and change (S,) in the whole seconds of frames (F, H, W, 3), the first of which is the start."""
    shown = frames[:, judged].astype(np.float32)
    seconds = (len(frames) - 1) // fps
    ends = np.arange(1, seconds + 1) * fps
    error = np.square(shown[ends] - shown[0]).mean((1, 2), dtype=np.float64)
    steps = np.abs(np.diff(shown[: seconds * fps + 1], axis=0)).mean((1, 2), dtype=np.float64)
    sharp = sharpness(frames[np.concatenate([[0], ends])])
    return (
        10 * np.log10(255**2 / np.maximum(error, 255**2 / 1e6)),
        sharp[1:] / max(float(sharp[0]), 1e-6),
        steps.reshape(seconds, fps).mean(1),
    )


def rest_rollouts(
    world: WorldModel, clips: Clips, prefix: int, judged: Mask, seconds: int, rows: int = 8,
    progress: Progress = lambda *_: None,
) -> tuple[Stillness, Frames]:  # fmt: skip
    """Do nothing for some seconds after each past; returns what was measured, and film strips (B, n, H, W, 3).

    A strip has the start and the last frames of those seconds of ``SHOWN`` that there are, and of the last one.
    """
    fps, r, idle = world.config.fps, world.chunk, world.spec.idle()
    chunks = -(-seconds * fps // r)
    kept = [0, *(t * fps for t in shown_seconds(seconds))]
    found, films = [], []
    for at, part in clips.batches(rows):
        actions = np.tile(idle, (len(part), chunks, r, 1))
        shown = [part.frames[:, prefix - 1 : prefix]]
        for k, (frames, _) in enumerate(dream(world, begin(world, part, prefix, at), actions)):
            shown.append(frames)
            progress("rest", at * chunks + (k + 1) * len(part), len(clips) * chunks)
        whole = np.concatenate(shown, 1)[:, : seconds * fps + 1]
        found += [stillness_of(row, judged[at + i], fps) for i, row in enumerate(whole)]
        films.append(whole[:, kept])
    psnr, sharp, change = (np.stack(values) for values in zip(*found, strict=True))
    return Stillness(psnr=psnr, sharpness=sharp, change=change), np.concatenate(films)


def shown_seconds(seconds: int) -> list[int]:
    """The seconds whose last frames are shown."""
    return sorted({t for t in (*SHOWN, seconds) if t <= seconds})


def rests(episode: Episode, spec: ActionSpec) -> Mask:
    """Frames (F,) at which nothing is pressed or turned, and the player, where that is recorded, does not move."""
    off = np.abs(episode.actions - spec.idle())
    mouse = off[:, -2:].max(1) < STEADY_TURN if spec.camera else np.ones(len(off), bool)
    still = mouse & (off[:, : len(spec.keys)] < 0.5).all(1)
    if "velocity" in episode.state:
        still &= np.linalg.norm(episode.state["velocity"], axis=1) < STANDING_SPEED
    return still


def recorded_rests(
    store: EpisodeStore, splits: Sequence[Split], spec: ActionSpec, fps: int, seconds: int, seed: int = 0
) -> list[tuple[str, int, int]]:
    """Stretches (episode, first frame, frames) in which the recorded player rests, of ``SHORTEST`` to so many seconds.

    At most ``WINDOWS``, as many of each map as of any other; the longest one of an episode.
    """
    by_map: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for name in (name for split in splits for name in store.names(split)):
        still = rests(store.read(name, depth=False), spec)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
        spans = [(int(end - begun), int(begun)) for begun, end in edges.reshape(-1, 2)]
        length, begun = max(spans, default=(0, 0))
        if length > SHORTEST * fps:
            by_map[map_of(store, name)].append((name, begun, min(length, seconds * fps + 1)))
    return draw_evenly(by_map, WINDOWS, seed)


def recorded_stillness(
    store: EpisodeStore, places: Sequence[tuple[str, int, int]], fps: int, seconds: int, world_rows: bool
) -> Stillness:
    """The same measures of recorded rests."""
    out = np.full((3, len(places), seconds), np.nan)
    for row, (name, begun, length) in enumerate(places):
        frames = store.read(name, begun, begun + length, depth=False).frames
        judged = judged_in_recordings(store, [(name, begun)], frames[:1], world_rows)[0]
        found = np.stack(stillness_of(frames, judged, fps))
        out[:, row, : found.shape[1]] = found
    return Stillness(psnr=out[0], sharpness=out[1], change=out[2])


def rest_report(found: Stillness, maps: NDArray, least: float, seed: int = 0) -> dict[str, Any]:
    """Curves over seconds, and the share of rests whose picture stood all the time for 10 s and up to the end."""
    rows, seconds = found.psnr.shape
    judged = sorted({t for t in (JUDGED, seconds) if t <= seconds})
    last = [seconds - 1]
    lowest = np.minimum.accumulate(found.psnr, 1)
    stands = np.where(np.isnan(lowest), np.nan, lowest >= least)
    return {
        "starts": rows,
        "seconds": seconds,
        "held": {str(t): estimate_by_start(stands[:, t - 1], maps, seed) for t in judged},
        "psnr": curve(found.psnr, maps, seed) | by_start_at(found.psnr, maps, last),
        "sharpness": curve(found.sharpness, maps, seed) | by_start_at(found.sharpness, maps, last),
        "change": curve(found.change, maps, seed),
        "change_mean": estimate(np.nanmean(found.change, 1), maps, seed=seed),
    }


class Rest(EvaluationPart):
    """Doing nothing: does the picture stand?"""

    name = "rest"
    revision = 1
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        DISSOLVES: "at the end of some second of a rest, nothing pressed, PSNR to the start's picture is below "
        "{rest_psnr:g} dB",
    }
    overlays = (
        Overlay(title="PSNR to the start at rest", where=("psnr",), across="second", unit="dB"),
        Overlay(title="Sharpness at rest", where=("sharpness",), across="second", unit="share of the start's"),
    )
    headlines = ("pictures that stand",)

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Press nothing for long where the recorded player stood, and see what recorded rests look like."""
        p, limits, fps = Settings.of(e.preset), Thresholds.of(e.thresholds), e.world.config.fps
        try:
            clips, stood = (
                draw_clips(e.store, e.split, p.rest_starts, p.prefix, e.seed + 5, stands_after(p.prefix)),
                True,
            )
        except UserError:
            # Nobody stood, or nobody can say.
            clips, stood = draw_clips(e.store, e.split, p.rest_starts, p.prefix, e.seed + 5), False
        starts = [(name, begun + p.prefix - 1) for name, begun in clips.places]
        judged = judged_in_recordings(e.store, starts, clips.frames[:, p.prefix - 1], e.first_person)
        found, film = rest_rollouts(e.world, clips, p.prefix, judged, p.rest_seconds, e.rows, e.progress)
        report = rest_report(found, clips.maps, limits.rest_psnr, e.seed)
        report |= {"stood": stood, "first_person": e.first_person, "judged_share": round(float(judged.mean()), 4)}
        report |= {"psnr_wanted": limits.rest_psnr, "recorded": {"skipped": "nobody rests in the recordings"}}
        if places := recorded_rests(e.store, HELD_OUT, e.world.spec, fps, p.rest_seconds, e.seed):
            real = recorded_stillness(e.store, places, fps, p.rest_seconds, e.first_person)
            maps = np.array([map_of(e.store, name) for name, _, _ in places], np.int64)
            report["recorded"] = rest_report(real, maps, limits.rest_psnr, e.seed)
        least = found.psnr.min(1)
        failed = Failures(severity=limits.rest_psnr - least, failed=least < limits.rest_psnr, maps=clips.maps)
        report["failures"] = {DISSOLVES: failure_entry(self.definition(DISSOLVES, limits), failed, e.seed)}
        return report, {DISSOLVES: film[report["failures"][DISSOLVES]["gallery"]]}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How many pictures stand, and how still they are, beside recorded rests."""
        real, seconds = found["recorded"], found["seconds"]
        for after, share in found["held"].items():
            # Elsewhere things move although nobody does anything: a ball, say.
            goal = at_least(goals.rest_held, "%") if found["first_person"] and int(after) == seconds else None
            beside = f"{found['starts']} starts; {_recorded(real.get('held', {}).get(after), '%')}"
            name = f"pictures that stand ({found['psnr_wanted']:g} dB to the start) for {after} s at rest"
            yield line(name, share, "%", goal, beside)
        left = point(found["sharpness"], seconds - 1)
        yield line(f"PSNR to the start after {seconds} s at rest", point(found["psnr"], seconds - 1), "dB")
        yield line(f"sharpness after {seconds} s at rest, of the start's (noise lifts it)", left, "%")
        beside = _recorded(real.get("change_mean"))
        yield line("change of a pixel from frame to frame at rest, of 255", found["change_mean"], beside=beside)

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """The measures second by second."""
        shown = (
            ("psnr", "PSNR to the start at rest", "dB"),
            ("sharpness", "Sharpness at rest", "share of the start's"),
            ("change", "Change from frame to frame at rest", "mean change of a pixel, of 255"),
        )
        for key, title, unit in shown:
            curves = {"dream": band(found[key])}
            if key in found["recorded"]:
                curves["recorded"] = band(found["recorded"][key])
            yield Chart(title=title, curves=curves, ends=(1, found["seconds"]), across="second", unit=unit)


def _recorded(found: Results | None, unit: str = "") -> str:
    """A number of recorded rests in words, and of how many."""
    if found is None or found["value"] is None:
        return "no recorded rest is that long"
    return f"recorded {number(found['value'], unit)} of {found['count']}"
