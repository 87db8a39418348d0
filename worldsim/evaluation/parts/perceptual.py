"""ST-LPIPS at some horizons, and of fewer sampling steps.

B clips, H horizons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.figures import Overlay
from worldsim.evaluation.interface.lines import Line, at_most, line, number, point
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures import stlpips
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.rollouts import begin, future_of, reconstruction, rollout, truth_of
from worldsim.evaluation.measures.starts import by_start_at, error_ratio
from worldsim.evaluation.measures.statistics import curve
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

# Horizons (chunks) at which the costly ST-LPIPS is measured.
PERCEPTUAL_AT = (1, 5, 10, 20)
# Fewer sampling steps, and the number they are compared with.
FEWER_STEPS = ((2, 4), (4, 32))


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    perceptual: int = amount(quick=4, full=16, help="clips on which ST-LPIPS is measured, at four horizons")
    prefix: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    fewer_steps: float = limit(
        0.05,
        "by which share ST-LPIPS of 2 sampling steps may be above that of 4, and of 4 above that of 32, at every "
        "horizon",
    )


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


class Perceptual(EvaluationPart):
    """ST-LPIPS at some horizons and numbers of steps."""

    name = "perceptual"
    settings, goals = Settings, Goals
    overlays = (Overlay(title="ST-LPIPS by chunk", where=("stlpips", "model"), at=("at_chunks",), unit="ST-LPIPS"),)
    headlines = ("ST-LPIPS at chunk",)

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream with several numbers of sampling steps."""
        p = Settings.of(e.preset)
        if not p.perceptual:
            return {"skipped": "preset.perceptual is 0"}, {}
        clips = e.clips(p.perceptual, p.prefix, p.chunks)
        chunks = min(p.chunks, max(PERCEPTUAL_AT))
        return perceptual_report(e.world, clips, p.prefix, chunks, e.rows, e.seed, e.progress), {}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """ST-LPIPS by horizon, and the worst ratio of fewer to more steps."""
        curves = found["stlpips"]
        for i, chunk in enumerate(found["at_chunks"]):
            beside = ", ".join(f"{name} {number(curves[name]['value'][i])}" for name in curves if name != "model")
            name = f"ST-LPIPS at chunk {chunk} ({found['steps']} steps)"
            yield line(name, point(curves["model"], i), beside=beside)
        for pair, ratios in found["fewer_steps"].items():
            few, many = pair.split(" of ")
            at = ", ".join(f"chunk {k}: {number(r['value'])}" for k, r in zip(found["at_chunks"], ratios, strict=True))
            # The goal holds at every horizon: the worst one is judged.
            worst = max(ratios, key=lambda ratio: ratio["value"] or 0.0)
            name = f"ST-LPIPS of {few} steps, times that of {many}, worst horizon"
            yield line(name, worst, goal=at_most(1 + goals.fewer_steps), beside=at)
