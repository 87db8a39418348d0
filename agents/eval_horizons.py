"""Picture quality by horizon, beside the reference rows, and how long a dream is better than a standing picture.

B clips, K chunks, r frames per chunk, H W pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents import stlpips
from worldsim.agents.eval_actions import error_ratio
from worldsim.agents.eval_clips import Clips
from worldsim.agents.eval_rollouts import begin, future_of, reconstruction, rollout, teacher_forced, truth_of
from worldsim.agents.eval_starts import by_start, by_start_at, estimate_by_start, told_chunks
from worldsim.agents.eval_statistics import curve, survival_summary
from worldsim.agents.measures import psnr, ssim
from worldsim.simulation.world_model import WorldModel

Progress = Callable[[str, int, int], None]
ROWS = ("model", "repeat", "shuffled", "tokenizer")
# Horizons (chunks) at which the costly ST-LPIPS is measured.
PERCEPTUAL_AT = (1, 5, 10, 20)
# Fewer sampling steps, and the number they are compared with.
FEWER_STEPS = ((2, 4), (4, 32))


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
    # All are watched for equally long, so that the mean up to the horizon is the mean of the times.
    report["failure"]["restricted_mean"] |= by_start(times, maps)
    told = [chunk - 1 for chunk in told_chunks(gain.shape[1])]
    for kind in ("psnr", "ssim"):
        report[kind]["model"] |= by_start_at(found[f"{kind}/model"], maps, told)
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


def perceptual_report(
    world: WorldModel, clips: Clips, prefix: int, chunks: int, rows: int = 8, seed: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:  # fmt: skip
    """ST-LPIPS of the last frame of some chunks, for the model and its reference rows; with other numbers of steps."""
    if not stlpips.available():
        return {"skipped": f"ST-LPIPS is not installed: {stlpips.HOW_TO_GET}"}
    at_chunks = np.array([h - 1 for h in PERCEPTUAL_AT if h <= chunks])
    base = world.config.sampling
    worlds = {"model": world}
    if not base.shortcut or base.steps != 1:
        worlds |= {f"{n} steps": world.with_sampling(steps=n) for n in (1, 2, 4, 32) if n != base.steps}
    table: dict[str, list[NDArray]] = {name: [] for name in (*worlds, "repeat", "tokenizer")}
    for at, part in clips.batches(rows):
        truth = truth_of(part, prefix, chunks, world.chunk)[:, at_chunks, -1]
        state = begin(world, part, prefix, at)
        future = future_of(part, prefix, int(at_chunks[-1]) + 1, world.chunk)
        shown = {name: rollout(w, state, future)[:, at_chunks, -1] for name, w in worlds.items()}
        shown["repeat"] = np.broadcast_to(part.frames[:, None, prefix - 1], truth.shape)
        shown["tokenizer"] = reconstruction(world, part, prefix, chunks)[:, at_chunks, -1]
        for name, frames in shown.items():
            flat = stlpips.stlpips(frames.reshape(-1, *frames.shape[2:]), truth.reshape(-1, *truth.shape[2:]))
            table[name].append(flat.reshape(len(part), -1))
        progress("ST-LPIPS", at + len(part), len(clips))
    scores = {name: np.concatenate(v) for name, v in table.items()}
    curves = {name: curve(values, clips.maps, seed) for name, values in scores.items()}
    curves["model"] |= by_start_at(scores["model"], clips.maps, range(len(at_chunks)))
    return {
        "at_chunks": (at_chunks + 1).tolist(),
        "steps": base.steps,
        "stlpips": curves,
        "fewer_steps": fewer_steps(scores, base.steps, clips.maps, seed),
    }


def fewer_steps(
    scores: dict[str, NDArray], steps: int, maps: NDArray, seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """ST-LPIPS (B, H) of fewer sampling steps in units of that of more, by horizon; ``steps``: of the model itself."""
    by_steps = {int(name.split()[0]): values for name, values in scores.items() if name.endswith(" steps")}
    by_steps[steps] = scores["model"]
    return {
        f"{few} of {many}": [
            error_ratio({"few": few_h, "many": many_h}, "few", "many", maps, seed)
            for few_h, many_h in zip(by_steps[few].T, by_steps[many].T, strict=True)
        ]
        for few, many in FEWER_STEPS
        if {few, many} <= set(by_steps)
    }
