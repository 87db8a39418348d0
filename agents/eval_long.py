"""A minute of play: do sharpness, colours and latents stay within what recorded play shows?

B rollouts, K chunks, S seconds, H W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.eval_clips import Clips
from worldsim.agents.eval_rollouts import begin, dream
from worldsim.agents.eval_statistics import curve, estimate
from worldsim.agents.measures import colours, sharpness
from worldsim.datasets.store import EpisodeStore, Split
from worldsim.world import WorldModel

Progress = Callable[[str, int, int], None]
# Frames kept of each rollout, for pictures.
FILM = 10


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What recorded play shows: bounds of sharpness over ``window`` seconds, and by gap (S + 1,) of colour change."""

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


def recorded_spread(
    store: EpisodeStore, splits: Sequence[Split], fps: int, seconds: int, quantile: float, window: int
) -> Spread:
    """The engine's own spread, from one frame a second of every episode of ``splits``.

    A moment tells little: recorded players too stare at walls. So sharpness is averaged over a window of time.

    Args:
        store: where the episodes are.
        splits: which of them.
        fps: frames a second.
        seconds: largest gap.
        quantile: left out on each side.
        window: seconds over which sharpness and colours are averaged.
    """
    sharp: list[float] = []
    apart: list[list[float]] = [[] for _ in range(seconds + 1)]
    for name in (name for split in splits for name in store.names(split)):
        frames = store.read(name).frames[::fps]
        sharp += list(running_mean(sharpness(frames)[None], window)[0])
        seen = colours(frames)
        for gap in range(1, min(seconds + 1, len(seen))):
            apart[gap] += list(np.abs(seen[gap:] - seen[:-gap]).mean((1, 2)))
    usual = [float(np.quantile(values, 1 - quantile)) if values else np.nan for values in apart]
    # A gap longer than every episode is judged by the longest one seen.
    colour = np.maximum.accumulate(np.nan_to_num(usual, nan=0.0))
    low, high = np.quantile(sharp, (quantile, 1 - quantile))
    return Spread(low=float(low), high=float(high), colour=colour, window=window)


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means (B, S - w + 1) of values (B, S) over ``window`` seconds; one mean of all where there are fewer."""
    width = min(window, values.shape[1])
    return np.lib.stride_tricks.sliding_window_view(values, width, axis=1).mean(-1)


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


def recorded_run(store: EpisodeStore, clips: Clips, prefix: int, fps: int, seconds: int) -> LongRun:
    """The same of the recorded play that really followed; NaN from where the episode ends."""
    sharp = np.full((len(clips), seconds + 1), np.nan)
    colour = np.full((len(clips), seconds + 1, 3, 16), np.nan)
    for row, (name, start) in enumerate(clips.places):
        frames = store.read(name).frames[start + prefix - 1 :: fps][: seconds + 1]
        sharp[row, : len(frames)], colour[row, : len(frames)] = sharpness(frames), colours(frames)
    return LongRun(sharpness=sharp, colours=colour, norm=np.full((len(clips), seconds), np.nan))


def out_of_spread(run: LongRun, spread: Spread) -> NDArray[np.bool_]:
    """Whether each stretch of ``spread.window`` seconds (B, S - w + 1) lies outside of what recorded play shows.

    In sharpness: outside of the bounds. In colours: further from the start than recorded play goes in the same time.
    """
    change = np.abs(run.colours[:, 1:] - run.colours[:, :1]).mean((2, 3))
    far = running_mean(change / np.maximum(spread.colour[1 : change.shape[1] + 1], 1e-9), spread.window)
    sharp = running_mean(run.sharpness[:, 1:], spread.window)
    with np.errstate(invalid="ignore"):
        return (sharp < spread.low) | (sharp > spread.high) | (far > 1)


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
    outside, fair = out_of_spread(run, spread), out_of_spread(real, spread)
    broken = outside.max(1)
    relative = run.sharpness / np.maximum(run.sharpness[:, :1], 1e-6)
    change = np.abs(run.colours - run.colours[:, :1]).mean((2, 3))
    return {
        "starts": len(broken),
        "seconds": run.sharpness.shape[1] - 1,
        "window": spread.window,
        "collapsed": estimate(broken, maps, seed=seed),
        "collapsed_recorded": estimate(fair.max(1), maps, seed=seed),
        "time_outside": estimate(outside.mean(1), maps, seed=seed),
        "sharpness_bounds": [round(spread.low, 3), round(spread.high, 3)],
        "sharpness": curve(run.sharpness, maps, seed),
        "sharpness_recorded": curve(real.sharpness, maps, seed),
        "colour_change": curve(change, maps, seed),
        "colour_bound": spread.colour[: change.shape[1]].round(5).tolist(),
        "latent_norm": curve(run.norm, maps, seed),
        "sharpness_slope_per_minute": estimate(slope_per_minute(run.sharpness), maps, seed=seed),
        "sharpness_slope_recorded": estimate(slope_per_minute(real.sharpness), maps, seed=seed),
        "latent_norm_slope_per_minute": estimate(slope_per_minute(run.norm), maps, seed=seed),
        "per_start": {
            "collapsed": broken.tolist(),
            "outside": outside.mean(1).round(4).tolist(),
            "sharpness_left": relative[:, -1].round(4).tolist(),
        },
    }
