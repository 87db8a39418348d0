"""Picture quality by horizon, beside the reference rows, and how long a dream is better than a standing picture.

B clips, K chunks, r frames per chunk, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.video import write_video
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.figures import Chart, Overlay, Section, Video, band, plain
from worldsim.evaluation.interface.lines import Line, at_least, line, number, point
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, limit
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.gains import MOVED, gain_where_it_moves
from worldsim.evaluation.measures.metrics import psnr, ssim
from worldsim.evaluation.measures.rollouts import (
    begin,
    film_strips,
    future_of,
    reconstruction,
    recorded_and_predicted,
    rollout,
    truth_of,
)
from worldsim.evaluation.measures.starts import by_start, by_start_at, estimate_by_start, reported_chunks
from worldsim.evaluation.measures.statistics import curve, quantile_members, survival_summary
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

ROWS = ("model", "repeat", "shuffled", "tokenizer")
JUMP = "motion discontinuity"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    clips: int
    prefix: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When a dream has failed, and when its motion is broken."""

    failure_run: int = limit(
        3, "chunks in a row at or below repeating the last frame that end a rollout's horizon at the first of them"
    )
    jump_ratio: float = limit(3.0, "how many times the recorded change between two chunks a dreamt change may be")
    jump_grey: float = limit(8.0, "mean absolute change (of 255) below which nothing is called a discontinuity")


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    above_last_frame_chunks: int = limit(
        60, "for which dreams are better than repeating the last frame on average, at least"
    )
    tokenizer_db: float = limit(32.0, "PSNR of the tokenizer's own reconstruction, at least")


def free_running(
    world: WorldModel, clips: Clips, prefix: int, chunks: int, rows: int = 8, progress: Progress = lambda *_: None
) -> dict[str, NDArray]:
    """Per clip and chunk: ``psnr/ROW`` and ``ssim/ROW`` (B, K), ``change/model`` and ``change/recorded`` (B, K).

    Rows: ``model``; ``repeat`` the last frame of the past; ``shuffled``: the model under the actions of a clip of
    another map; ``tokenizer``: the recorded future through encoder and decoder. ``change``: mean absolute difference
    of each chunk's last frame from the one before.
    """
    foreign = clips.actions[clips.foreign()]
    parts: list[dict[str, NDArray]] = []
    for at, part in clips.batches(rows):
        truth = truth_of(part, prefix, chunks, world.chunk)
        state = begin(world, part, prefix, at)
        other = future_of(part, prefix, chunks, world.chunk, foreign[at : at + len(part)])
        shown = {
            "model": rollout(world, state, future_of(part, prefix, chunks, world.chunk)),
            "shuffled": rollout(world, state, other),
            "repeat": np.broadcast_to(part.frames[:, prefix - 1][:, None, None], truth.shape),
            "tokenizer": reconstruction(world, part, prefix, chunks),
        }
        out = {f"psnr/{name}": psnr(frames, truth, 4) for name, frames in shown.items()}
        # The last frame of a chunk stands for it: structural similarity costs ten times as much.
        out |= {f"ssim/{name}": ssim(frames[:, :, -1], truth[:, :, -1]) for name, frames in shown.items()}
        first = part.frames[:, prefix - 1]
        out["change/model"], out["change/recorded"] = changes(first, shown["model"]), changes(first, truth)
        parts.append(out)
        progress("horizons", at + len(part), len(clips))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def changes(first: NDArray[np.uint8], chunks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean absolute change (B, K) from the last frame of each chunk (B, K, r, H, W, 3) to that of the next."""
    lasts = np.concatenate([first[:, None], chunks[:, :, -1]], 1).astype(np.int16)
    return np.abs(np.diff(lasts, axis=1)).mean((2, 3, 4))


def horizon_report(found: dict[str, NDArray], maps: NDArray, failure_run: int, seed: int = 0) -> dict[str, Any]:
    """Curves with intervals, gains over repeating the last frame, and the time until a dream is no better than that."""
    gain = found["psnr/model"] - found["psnr/repeat"]
    times, failed, watched = time_to_failure(gain, failure_run)
    above = curve(gain, maps, seed)
    ceiling = found["psnr/tokenizer"].mean(1)
    report: dict[str, Any] = {
        "clips": len(gain),
        "maps": len(np.unique(maps)),
        "chunks": gain.shape[1],
        "psnr": {row: curve(found[f"psnr/{row}"], maps, seed) for row in ROWS},
        "ssim": {row: curve(found[f"ssim/{row}"], maps, seed) for row in ROWS},
        "gain_over_repeat": above,
        "chunks_above_repeat": int(np.argmin([*(np.array(above["value"]) > 0), False])),
        "clips_above_repeat": (gain > 0).mean(0).round(3).tolist(),
        "tokenizer_ceiling": estimate_by_start(ceiling, maps, seed),
        "failure": survival_summary(times, failed, maps, watched, seed),
    }
    report["gain_where_it_moves"] = gain_where_it_moves(gain, found["psnr/repeat"], maps, seed)
    # All are watched for equally long, so that the mean up to the horizon is the mean of the times.
    report["failure"]["restricted_mean"] |= by_start(times, maps)
    reported = [chunk - 1 for chunk in reported_chunks(gain.shape[1])]
    for kind in ("psnr", "ssim"):
        report[kind]["model"] |= by_start_at(found[f"{kind}/model"], maps, reported)
    return report


def time_to_failure(gain: NDArray[np.float64], run: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Good chunks (B,) before the first ``run`` in a row without gain (B, K) over repeating the last frame.

    Returns:
        The good chunks; whether such a run follows them; and the horizon K - run + 1, which those without a run are
        given: none that begins later would end within the K chunks.
    """
    watched = max(0, gain.shape[1] - run + 1)
    times, failed = np.full(len(gain), watched), np.zeros(len(gain), bool)
    if watched:
        runs = np.lib.stride_tricks.sliding_window_view(gain <= 0, run, axis=1).min(-1)
        failed = runs.max(1)
        times[failed] = runs[failed].argmax(1)
    return times, failed, watched


def delta_report(found: dict[str, NDArray], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Delta PSNR: how many dB nearer to the recorded future the true actions are than another map's.

    Source: Bruce et al. 2024, "Genie", section 3 (there at the 4th frame).
    """
    delta = found["psnr/model"] - found["psnr/shuffled"]
    out: dict[str, Any] = {"delta_psnr": curve(delta, maps, seed)}
    fourth = delta[:, min(1, delta.shape[1] - 1)]
    return out | {"at_frame_4": estimate_by_start(fourth, maps, seed)}


def discontinuities(made: NDArray, real: NDArray, limits: Thresholds) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the changes between chunks (B, K) of dreams and of recorded play."""
    padded = np.pad(real, ((0, 0), (1, 1)), mode="edge")
    nearby = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    ratio = np.where(made >= limits.jump_grey, made / np.maximum(nearby, limits.jump_grey / limits.jump_ratio), 0)
    worst = ratio.max(1)
    return worst, worst > limits.jump_ratio


class Horizons(EvaluationPart):
    """Free-running quality, Delta PSNR, discontinuities of motion; videos of some rollouts."""

    name = "horizons"
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        JUMP: "between two chunks the picture changes by {jump_grey:g} grey values or more, and by more than "
        "{jump_ratio:g} times what recorded play does within a chunk of that moment",
    }
    overlays = (
        Overlay(title="PSNR, dB, by chunk", where=("psnr", "model"), unit="PSNR, dB"),
        Overlay(title="SSIM by chunk", where=("ssim", "model"), unit="SSIM"),
        Overlay(title="Gain over repeating the last frame, dB", where=("gain_over_repeat",), unit="gain, dB"),
        Overlay(title="Delta PSNR, dB", where=("actions", "delta_psnr"), unit="dB"),
        Overlay(
            title="Share of dreams still better than a standing picture",
            where=("failure", "survival"),
            at=0,
            unit="share",
        ),
    )
    headlines = ("PSNR at chunk", "chunks to failure", "Delta PSNR")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream on from recorded pasts under the recorded actions."""
        p, limits = Settings.of(e.preset), Thresholds.of(e.thresholds)
        clips = e.clips(p.clips, p.prefix, p.chunks)
        found = free_running(e.world, clips, p.prefix, p.chunks, e.rows, e.progress)
        report = horizon_report(found, clips.maps, limits.failure_run, e.seed)
        report["actions"] = delta_report(found, clips.maps, e.seed)
        severity, failed = discontinuities(found["change/model"], found["change/recorded"], limits)
        jumps = Failures(severity=severity, failed=failed, maps=clips.maps)
        entry = failure_entry(self.definition(JUMP, limits), jumps, e.seed)
        report["failures"] = {JUMP: entry}
        report["per_clip"] = {
            "places": [list(place) for place in clips.places],
            "last_psnr": found["psnr/model"][:, -1].round(3).tolist(),
        }
        self._write_videos(e, clips, report["per_clip"]["last_psnr"], p)
        return report, {JUMP: film_strips(e.world, clips, entry["gallery"], p.prefix, p.chunks, count=8)}

    def _write_videos(self, e: Evaluation, clips: Clips, last_psnr: list[float], p: Settings) -> None:
        """Recorded and dreamt side by side, for the clips at the quantiles of the last chunk's PSNR."""
        for place, row in enumerate(quantile_members(last_psnr)):
            both = np.concatenate(recorded_and_predicted(e.world, clips, row, p.prefix, p.chunks), 3)
            film = both.reshape(-1, *both.shape[2:]).repeat(2, 1).repeat(2, 2)
            write_video(e.folder / video_file(place), film, e.world.config.fps)

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """Quality at some horizons, and how long dreams last."""
        ceiling = at_least(goals.tokenizer_db, "dB")
        yield line("tokenizer's own reconstruction, PSNR", found["tokenizer_ceiling"], "dB", ceiling)
        for chunk in reported_chunks(found["chunks"]):
            for kind, unit, others in (("psnr", "dB", ROWS[1:]), ("ssim", "", ("repeat", "tokenizer"))):
                beside = ", ".join(f"{row} {number(found[kind][row]['value'][chunk - 1])}" for row in others)
                yield line(
                    f"{kind.upper()} at chunk {chunk}", point(found[kind]["model"], chunk - 1), unit, None, beside
                )
        for chunk, gain in found.get("gain_where_it_moves", {}).items():
            beside = f"{gain['count']} clips whose last frame is below {MOVED:g} dB; all: " + number(
                found["gain_over_repeat"]["value"][int(chunk) - 1]
            )
            yield line(f"gain over the last frame where it moves, chunk {chunk}", gain, "dB", None, beside)
        above = line(
            "chunks above repeating the last frame",
            found["chunks_above_repeat"],
            goal=at_least(goals.above_last_frame_chunks),
            beside=f"of {found['chunks']}",
        )
        # A run of fewer chunks than the goal could not have reached it.
        yield above if found["chunks"] >= goals.above_last_frame_chunks else replace(above, met=None)
        f = found["failure"]
        median = "beyond the horizon" if f["median"] is None else f"{f['median']}"
        beside = f"median {median}; {f['censored']} of {found['clips']} not failed at {f['horizon']}"
        yield line("chunks to failure, mean up to the horizon", f["restricted_mean"], beside=beside)
        yield line("Delta PSNR of the true actions, frame 4", found["actions"]["at_frame_4"], "dB")

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Quality, gains and survival by chunk."""
        ends = (1, found["chunks"])
        for kind, title, unit in (("psnr", "PSNR, dB, by chunk", "PSNR, dB"), ("ssim", "SSIM by chunk", "SSIM")):
            yield Chart(title=title, curves={row: band(found[kind][row]) for row in found[kind]}, ends=ends, unit=unit)
        gain = {"gain": band(found["gain_over_repeat"])}
        yield Chart(title="Gain over repeating the last frame, dB", curves=gain, ends=ends, unit="gain, dB")
        delta = {"true - shuffled": band(found["actions"]["delta_psnr"])}
        yield Chart(title="Delta PSNR, dB", curves=delta, ends=ends, unit="dB")
        survival = found["failure"]["survival"]
        yield Chart(
            title="Share of dreams still better than a standing picture",
            curves={"survival (Kaplan-Meier)": plain(survival)},
            ends=(0, len(survival) - 1),
            fixed=(0, 1),
            unit="share",
        )

    def sections(self, found: Results, films: Films) -> Iterator[Section]:
        """The videos."""
        places, last = found["per_clip"]["places"], found["per_clip"]["last_psnr"]
        videos = []
        for place, row in enumerate(quantile_members(last)):
            name, start = places[row]
            caption = f"{25 * place} % quantile: {name}, frame {start}, {last[row]:.1f} dB at the end"
            videos.append(Video(file=video_file(place), caption=caption))
        words = "Left: recorded. Right: dreamt from the same past under the same actions. By PSNR of the last chunk."
        yield Section(title="Rollouts", words=words, videos=videos)

    def scope(self, found: Results) -> str:
        """The number of clips and maps."""
        return f"{found['clips']} clips of {found['maps']} maps"


def video_file(place: int) -> str:
    """Where the video of a quantile is, in the folder of the run."""
    return f"videos/quantile-{25 * place}.mp4"
