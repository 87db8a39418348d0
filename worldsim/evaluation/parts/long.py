"""A minute of play: do sharpness, colours and latents stay within what recorded play shows?

B rollouts, K chunks, S seconds, H W pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.figures import Chart, Overlay, band, plain
from worldsim.evaluation.interface.lines import Line, at_least, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import Clips, draw_clips, map_of
from worldsim.evaluation.measures.drift import (
    LongRun,
    Spread,
    collapsed,
    colour_change,
    out_of_spread,
    recorded_collapses,
    slope_per_minute,
    spread_of,
)
from worldsim.evaluation.measures.metrics import colours, sharpness
from worldsim.evaluation.measures.rollouts import begin, dream
from worldsim.evaluation.measures.starts import KEY, estimate_by_start
from worldsim.evaluation.measures.statistics import curve, estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

# Frames kept of each rollout, for pictures.
FILM = 10
COLLAPSE = "collapse"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    long_starts: int = amount(quick=2, full=100, help="rollouts for drift")
    long_seconds: float = amount(quick=60.0, full=60.0, help="length of rollouts for drift in seconds")
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When a dream has collapsed."""

    # Recorded players too stare at walls for a while.
    collapse_seconds: float = limit(
        20.0, "over which sharpness and colours are averaged; so long out of recorded play's is a collapse"
    )
    collapse_false_alarms: float = limit(0.05, "share of recorded play's own futures that the bounds call a collapse")


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    minutes: float = limit(0.95, "share of long rollouts without collapse, at least")


def recorded_futures(
    store: EpisodeStore, splits: Sequence[Split], fps: int, seconds: int, window: int
) -> tuple[LongRun, NDArray[np.int64]]:
    """Recorded play in futures of ``seconds``, one after the other from the start of each episode, and their maps.

    The last one of an episode is shorter, but has a window at least.
    """
    names = [name for split in splits for name in store.names(split)]
    ends = {name: int(store.manifest(name)["frames"]) - window * fps for name in names}
    places = [(name, start) for name in names for start in range(0, ends[name], seconds * fps)]
    return recorded_run(store, places, fps, seconds), np.array([map_of(store, name) for name, _ in places], np.int64)


def long_actions(store: EpisodeStore, clips: Clips, prefix: int, frames: int) -> NDArray[np.float32]:
    """The recorded actions (B, frames, A) after each past, beginning anew where the episode ends."""
    out = []
    for name, start in clips.places:
        actions = store.read(name, depth=False).actions[:-1]
        first = start + prefix - 1
        out.append(np.take(actions, np.arange(first, first + frames), axis=0, mode="wrap"))
    return np.stack(out)


def long_rollouts(
    world: WorldModel, clips: Clips, actions: NDArray[np.float32], prefix: int, rows: int = 8,
    progress: Progress = lambda *_: None,
) -> tuple[LongRun, NDArray[np.uint8]]:  # fmt: skip
    """Dream on under ``actions`` (B, F, A); returns what was measured, and some frames of each (B, FILM, H, W, 3)."""
    r, fps = world.chunk, world.config.fps
    chunks = actions.shape[1] // r
    a_second = max(1, fps // r)
    kept = set(np.linspace(0, chunks - 1, FILM).astype(int).tolist())
    runs: list[tuple[NDArray, ...]] = []
    for at, part in clips.batches(rows):
        future = actions[at : at + len(part), : chunks * r].reshape(len(part), chunks, r, -1)
        marks, norms, film = [part.frames[:, prefix - 1]], [], []
        seconds = chunks // a_second
        for k, (shown, norm) in enumerate(dream(world, begin(world, part, prefix, at), future)):
            if (k + 1) % a_second == 0:
                marks.append(shown[:, -1])
                norms.append(norm)
                progress("long play", at * seconds + len(norms) * len(part), len(clips) * seconds)
            if k in kept:
                film.append(shown[:, -1])
        frames = np.stack(marks, 1)
        runs.append((sharpness(frames), colours(frames), np.stack(norms, 1), np.stack(film, 1)))
    sharp, colour, norm, films = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    return LongRun(sharpness=sharp, colours=colour, norm=norm), films


def recorded_run(store: EpisodeStore, places: Sequence[tuple[str, int]], fps: int, seconds: int) -> LongRun:
    """The same of recorded play from each (episode, frame) on; NaN from where the episode ends."""
    sharp = np.full((len(places), seconds + 1), np.nan)
    colour = np.full((len(places), seconds + 1, 3, 16), np.nan)
    for row, (name, start) in enumerate(places):
        frames = store.read(name, depth=False).frames[start::fps][: seconds + 1]
        sharp[row, : len(frames)], colour[row, : len(frames)] = sharpness(frames), colours(frames)
    return LongRun(sharpness=sharp, colours=colour, norm=np.full((len(places), seconds), np.nan))


def long_report(run: LongRun, real: LongRun, spread: Spread, maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Collapse rate, slopes a minute and curves, beside those of the recorded play that followed the same starts."""
    outside = out_of_spread(run, spread)
    broken = collapsed(outside)
    relative = run.sharpness / np.maximum(run.sharpness[:, :1], 1e-6)
    change = colour_change(run)
    return {
        "starts": len(broken),
        "seconds": run.sharpness.shape[1] - 1,
        "window": spread.window,
        "collapsed": estimate_by_start(broken, maps, seed),
        "time_outside": estimate_by_start(outside.mean(1), maps, seed),
        "sharpness_bounds": [round(spread.low, 3), round(spread.high, 3)],
        "sharpness": curve(run.sharpness, maps, seed),
        "sharpness_recorded": curve(real.sharpness, maps, seed),
        "colour_change": curve(change, maps, seed),
        "colour_bound": spread.colour[: change.shape[1]].round(5).tolist(),
        "latent_norm": curve(run.norm, maps, seed),
        "sharpness_slope_per_minute": estimate_by_start(slope_per_minute(run.sharpness), maps, seed),
        "sharpness_slope_recorded": estimate(slope_per_minute(real.sharpness), maps, seed=seed),
        "latent_norm_slope_per_minute": estimate_by_start(slope_per_minute(run.norm), maps, seed),
        "per_start": {
            "collapsed": broken.tolist(),
            "outside": outside.mean(1).round(4).tolist(),
            "sharpness_left": relative[:, -1].round(4).tolist(),
        },
    }


class Long(EvaluationPart):
    """A minute of play."""

    name = "long"
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        COLLAPSE: "over some {collapse_seconds:g} seconds, mean sharpness or colours lie outside of the bounds that "
        "{collapse_false_alarms:.0%} of recorded play's own futures leave somewhere",
    }
    overlays = (
        Overlay(title="Sharpness over a minute", where=("sharpness",), at=0, across="second", unit="sharpness"),
        Overlay(
            title="Change of colours over a minute", where=("colour_change",), at=0, across="second", unit="change"
        ),
        Overlay(title="Norm of the latents over a minute", where=("latent_norm",), across="second", unit="norm"),
    )
    headlines = ("change of sharpness",)

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream on for long under recorded actions."""
        p, limits, fps = Settings.of(e.preset), Thresholds.of(e.thresholds), e.world.config.fps
        seconds, window = int(p.long_seconds), max(1, round(limits.collapse_seconds))
        recorded, maps = recorded_futures(e.store, HELD_OUT, fps, seconds, window)
        if seconds < window or not len(maps):
            return {"skipped": f"collapse is judged over {window} s: recorded play, or dreams, are shorter"}, {}
        clips = draw_clips(e.store, e.split, p.long_starts, p.prefix, e.seed + 1)
        spread = spread_of(recorded, limits.collapse_false_alarms, window)
        moves = long_actions(e.store, clips, p.prefix, seconds * fps)
        run, film = long_rollouts(e.world, clips, moves, p.prefix, e.rows, e.progress)
        real = recorded_run(e.store, [(name, start + p.prefix - 1) for name, start in clips.places], fps, seconds)
        report = long_report(run, real, spread, clips.maps, e.seed)
        alarms = recorded_collapses(recorded, maps, limits.collapse_false_alarms, window)
        report["collapsed_recorded"] = estimate(alarms, maps, seed=e.seed)
        outside = out_of_spread(run, spread)
        found = Failures(severity=outside.mean(1), failed=collapsed(outside) > 0, maps=clips.maps)
        entry = failure_entry(self.definition(COLLAPSE, limits), found, e.seed)
        report["failures"] = {COLLAPSE: entry}
        start = clips.frames[:, None, p.prefix - 1]
        return report, {COLLAPSE: np.concatenate([start, film], 1)[entry["gallery"]]}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How many rollouts stay whole, and how sharpness and latents change."""
        alarms = found["collapsed_recorded"]
        real = None if alarms["value"] is None else 1 - alarms["value"]
        beside = f"{found['starts']} starts; recorded {number(real, '%')} of {alarms['count']}"
        name, goal = f"{found['seconds']} s of play without collapse", at_least(goals.minutes, "%")
        yield line(name, _complement(found["collapsed"]), "%", goal, beside)
        yield line(f"stretches of {found['window']} s outside the engine's spread", found["time_outside"], "%")
        beside = f"recorded {number(found['sharpness_slope_recorded']['value'])}"
        sharpness_slope = found["sharpness_slope_per_minute"]
        yield line("change of sharpness a minute (logarithm)", sharpness_slope, beside=beside)
        yield line("change of the latents' norm a minute (logarithm)", found["latent_norm_slope_per_minute"])

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Sharpness, colours and latents second by second."""
        seconds = found["seconds"]
        least, most = ([bound] * (seconds + 1) for bound in found["sharpness_bounds"])
        sharp = {"dream": band(found["sharpness"]), "recorded": band(found["sharpness_recorded"])}
        sharp |= {"least recorded": plain(least), "most recorded": plain(most)}
        yield Chart(title="Sharpness over a minute", curves=sharp, ends=(0, seconds), across="second", unit="sharpness")
        colour = {"dream": band(found["colour_change"]), "recorded play's bound": plain(found["colour_bound"])}
        yield Chart(
            title="Change of colours over a minute", curves=colour, ends=(0, seconds), across="second", unit="change"
        )
        norm = {"dream": band(found["latent_norm"])}
        yield Chart(
            title="Norm of the latents over a minute", curves=norm, ends=(1, seconds), across="second", unit="norm"
        )


def _complement(share: Results) -> Results:
    """The estimate of 1 less a share."""
    low, high, value = (None if share[key] is None else 1 - share[key] for key in ("high", "low", "value"))
    out = {"value": value, "low": low, "high": high}
    if (kept := share.get(KEY)) is not None:
        out[KEY] = kept | {"values": [None if v is None else 1 - v for v in kept["values"]]}
    return out
