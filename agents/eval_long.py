"""A minute of play: do sharpness, colours and latents stay within what recorded play shows?

A future is judged by its worst window, and a minute has many: the bounds are chosen on whole recorded futures too.

B rollouts, K chunks, S seconds, H W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.eval_clips import Clips, map_of
from worldsim.agents.eval_rollouts import begin, dream
from worldsim.agents.eval_starts import estimate_by_start
from worldsim.agents.eval_statistics import curve, estimate
from worldsim.agents.measures import colours, sharpness
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.simulation.world_model import WorldModel

Progress = Callable[[str, int, int], None]
# Frames kept of each rollout, for pictures.
FILM = 10


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What recorded play shows: bounds of sharpness and, by gap (S + 1,), colour change, over ``window`` seconds."""

    low: float
    high: float
    colour: NDArray[np.float64]
    window: int


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """Once a second: sharpness (B, S + 1), cumulative colour histograms (B, S + 1, 3, bins); latents' norm (B, S)."""

    sharpness: NDArray[np.float64]
    colours: NDArray[np.float64]
    norm: NDArray[np.float64]

    def part(self, rows: NDArray) -> "LongRun":
        """Some of the rollouts."""
        return LongRun(sharpness=self.sharpness[rows], colours=self.colours[rows], norm=self.norm[rows])


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


def spread_of(recorded: LongRun, false_alarms: float, window: int) -> Spread:
    """The bounds that a share ``false_alarms`` of recorded futures leaves somewhere.

    A future has three extremes: its least and most sharp window, and the one whose colours are furthest from the
    start's for the time between. Each is compared, in logarithms, with the median of all futures, in units of their
    median absolute deviation. One limit on the largest of the three gives all three bounds, which together leave out
    the wanted share.
    """
    change = colour_change(recorded)
    # A gap longer than every future is judged by the longest one seen.
    mean = np.nansum(change, 0) / np.maximum(1, (~np.isnan(change)).sum(0))
    usual = np.maximum(np.maximum.accumulate(mean), 1e-9)
    sharp, far = windows(recorded, usual, window)
    extremes = np.stack([np.fmin.reduce(sharp, axis=1), np.fmax.reduce(sharp, axis=1), np.fmax.reduce(far, axis=1)], 1)
    signs = np.array([-1, 1, 1])
    extremes = signs * np.log(np.maximum(extremes, 1e-9))
    median = np.median(extremes, 0)
    deviation = np.maximum(np.median(np.abs(extremes - median), 0), 1e-9)
    limit = np.quantile(((extremes - median) / deviation).max(1), 1 - false_alarms)
    low, high, furthest = np.exp(signs * (median + limit * deviation))
    return Spread(low=float(low), high=float(high), colour=usual * furthest, window=window)


def recorded_collapses(recorded: LongRun, maps: NDArray, false_alarms: float, window: int) -> NDArray[np.float64]:
    """Whether each recorded future (B,) is out of the spread of all other maps; NaN where there is no other map."""
    out = np.full(len(maps), np.nan)
    for own in (maps == number for number in np.unique(maps)):
        if not own.all():
            spread = spread_of(recorded.part(~own), false_alarms, window)
            out[own] = collapsed(out_of_spread(recorded.part(own), spread))
    return out


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means (B, S - w + 1) of values (B, S) over ``window`` seconds; NaN (B, 1) where there are fewer."""
    if values.shape[1] < window:
        return np.full((len(values), 1), np.nan)
    return np.lib.stride_tricks.sliding_window_view(values, window, axis=1).mean(-1)


def colour_change(run: LongRun) -> NDArray[np.float64]:
    """How far the colours (B, S + 1) are from those of the start."""
    return np.abs(run.colours - run.colours[:, :1]).mean((2, 3))


def windows(run: LongRun, usual: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean sharpness, and colour change in units of ``usual`` (S + 1,), by window (B, S - w + 1) after the start."""
    change = colour_change(run)[:, 1:]
    return running_mean(run.sharpness[:, 1:], window), running_mean(change / usual[1 : change.shape[1] + 1], window)


def long_actions(store: EpisodeStore, clips: Clips, prefix: int, frames: int) -> NDArray[np.float32]:
    """The recorded actions (B, frames, A) after each past, beginning anew where the episode ends."""
    out = []
    for name, start in clips.places:
        actions = store.read(name).actions[:-1]
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
        frames = store.read(name).frames[start::fps][: seconds + 1]
        sharp[row, : len(frames)], colour[row, : len(frames)] = sharpness(frames), colours(frames)
    return LongRun(sharpness=sharp, colours=colour, norm=np.full((len(places), seconds), np.nan))


def out_of_spread(run: LongRun, spread: Spread) -> NDArray[np.float64]:
    """Whether each window of ``spread.window`` seconds (B, S - w + 1) lies outside of what recorded play shows.

    In sharpness: outside of the bounds. In colours: further from the start than recorded play goes in the same time.
    NaN where a future is too short to have that window.
    """
    sharp, far = windows(run, spread.colour, spread.window)
    outside = (sharp < spread.low) | (sharp > spread.high) | (far > 1)
    return np.where(np.isnan(sharp), np.nan, outside)


def collapsed(outside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whether any window of each future (B,) lies outside; NaN where it has none."""
    return np.fmax.reduce(outside, axis=1)


def slope_per_minute(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change a minute (B,) of values (B, S) once a second: least squares on their logarithm, NaN left out."""
    out = np.full(len(values), np.nan)
    for row, series in enumerate(values):
        known = np.flatnonzero(np.isfinite(series) & (series > 0))
        if len(known) > 2:
            out[row] = np.polyfit(known / 60, np.log(series[known]), 1)[0]
    return out


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
