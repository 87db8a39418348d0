"""Actions read back from dreams by a model trained on recorded play: F1 of keys, and the camera's error in degrees.

B clips, K chunks, r frames per chunk, k keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.lines import Line, at_least, at_most, line, number
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.rollouts import begin, future_of, reconstruction, rollout, truth_of
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel
from worldsim.training.inverse_dynamics import InverseDynamics, load_inverse, targets

Read = tuple[NDArray[np.bool_], NDArray[np.float32]]
NO_INVERSE = "no inverse-dynamics model: worldsim train inverse, then eval inverse=runs/inverse/inverse.safetensors"
# Chunks of each dream that are read.
CHUNKS = 20


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    inverse_clips: int = amount(quick=12, full=56, help="clips whose actions the inverse-dynamics model reads back")
    prefix: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    camera_error: float = limit(1.5, "degrees a frame by which turns that are read back differ, at most")
    inverse_f1: float = limit(
        0.7, "F1 of keys that are read back, as a share of the engine's own and between chance and that, at least"
    )


def read_back(
    inverse: InverseDynamics, world: WorldModel, clips: Clips, prefix: int, chunks: int, rows: int = 8,
    progress: Progress = lambda *_: None,
) -> dict[str, Read]:  # fmt: skip
    """Keys (B, K, k) and turns (B, K, 2) that were done (``true``) and that are read off each kind of picture.

    ``recorded``: the engine's own; ``tokenizer``: those through encoder and decoder; ``model``; ``shuffled``: the model
    under the actions of another map's clip, judged by the actions it was not given.
    """
    parts: dict[str, list[Read]] = {name: [] for name in ("recorded", "tokenizer", "model", "shuffled")}
    foreign = clips.actions[clips.foreign()]
    for at, part in clips.batches(rows):
        state = begin(world, part, prefix, at)
        other = future_of(part, prefix, chunks, world.chunk, foreign[at : at + len(part)])
        shown = {
            "recorded": truth_of(part, prefix, chunks, world.chunk),
            "tokenizer": reconstruction(world, part, prefix, chunks),
            "model": rollout(world, state, future_of(part, prefix, chunks, world.chunk)),
            "shuffled": rollout(world, state, other),
        }
        before = part.frames[:, [prefix - 1 - world.chunk, prefix - 1]]
        for name, frames in shown.items():
            ends = np.concatenate([before, frames[:, :, -1]], 1)
            sets = np.stack([ends[:, :-2], ends[:, 1:-1], ends[:, 2:]], 2)
            keys, turns = inverse.read(sets.reshape(-1, *sets.shape[2:]))
            shape = len(part), chunks
            parts[name].append((keys.reshape(*shape, -1) > 0.5, turns.reshape(*shape, 2)))
        progress("inverse dynamics", at + len(part), len(clips))
    done = targets(future_of(clips, prefix, chunks, world.chunk), world.spec.keys, inverse.keys)
    joined = {name: tuple(np.concatenate(v) for v in zip(*found, strict=True)) for name, found in parts.items()}
    return {"true": done, **joined}  # pyright: ignore[reportReturnType]


def f1(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the keys (..., k) that were pressed at all; NaN if none was."""
    said, true = said.reshape(-1, said.shape[-1]), true.reshape(-1, true.shape[-1])
    hits, sides = (said & true).sum(0), said.sum(0) + true.sum(0)
    pressed = true.any(0)
    return float((2 * hits[pressed] / np.maximum(1, sides[pressed])).mean()) if pressed.any() else float("nan")


def chance_f1(true: NDArray[np.bool_]) -> float:
    """F1 of always answering yes, key by key: what a reader that sees nothing can get."""
    flat = true.reshape(-1, true.shape[-1])
    share = flat.mean(0)[flat.any(0)]
    return float((2 * share / (1 + share)).mean()) if len(share) else float("nan")


def inverse_report(
    found: dict[str, Read], maps: NDArray, keys: Sequence[str], chunk: int, seed: int = 0
) -> dict[str, Any]:
    """F1 and camera error of every kind of picture, and the model's F1 between chance (0) and the engine's own (1)."""
    true_keys, true_turns = found["true"]
    rows: dict[str, Any] = {}
    marks = maps.astype(float)
    for name in ("recorded", "tokenizer", "model", "shuffled"):
        said, turns = found[name]
        error = np.abs(turns - true_turns).mean((1, 2)) / chunk
        rows[name] = {
            "f1": estimate(marks, maps, seed=seed, statistic=lambda i, said=said: f1(said[i], true_keys[i])),
            "camera_error_degrees": estimate_by_start(error, maps, seed),
            "per_key": {k: round(f1(said[..., [i]], true_keys[..., [i]]), 4) for i, k in enumerate(keys)
                        if true_keys[..., i].any()},
        }  # fmt: skip
    still = np.abs(true_turns).mean((1, 2)) / chunk
    chance = chance_f1(true_keys)

    def share(i: NDArray[np.int64], low: float = 0.0) -> float:
        own, made = (f1(found[name][0][i], true_keys[i]) for name in ("recorded", "model"))
        # A reader that is hardly better on recorded play itself can compare nothing.
        return (made - low) / (own - low) if own - low > 0.02 else float("nan")

    return {
        "rows": rows,
        "chance_f1": round(chance, 5),
        "camera_error_of_no_turn": estimate(still, maps, seed=seed),
        "f1_between_chance_and_engine": estimate(
            marks, maps, seed=seed, statistic=lambda i: share(i, chance_f1(true_keys[i]))
        ),
        "f1_share_of_engine": estimate(marks, maps, seed=seed, statistic=share),
        "f1_by_chunk": [round(f1(found["model"][0][:, k], true_keys[:, k]), 4) for k in range(true_keys.shape[1])],
    }  # fmt: skip


class Inverse(EvaluationPart):
    """Actions read back from dreams."""

    name = "inverse"
    settings, goals = Settings, Goals
    headlines = ("inverse-dynamics F1, between", "camera error")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream under recorded actions and read them off the pictures."""
        if e.inverse is None:
            return {"skipped": NO_INVERSE}, {}
        p = Settings.of(e.preset)
        if not p.inverse_clips:
            return {"skipped": "preset.inverse_clips is 0"}, {}
        model = load_inverse(e.inverse, e.world.chunk)
        clips = e.clips(p.inverse_clips, p.prefix, p.chunks)
        found = read_back(model, e.world, clips, p.prefix, min(p.chunks, CHUNKS), e.rows, e.progress)
        return inverse_report(found, clips.maps, model.keys, e.world.chunk, e.seed), {}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """F1 of keys, and the error of turns, beside what the model reads off recorded play."""
        rows = found["rows"]
        f1_beside, error_beside = (
            ", ".join(f"{name} {number(rows[name][key]['value'])}" for name in ("recorded", "tokenizer", "shuffled"))
            for key in ("f1", "camera_error_degrees")
        )
        chance = f"chance {number(found['chance_f1'])}"
        yield line("inverse-dynamics F1", rows["model"]["f1"], beside=f"{f1_beside}, {chance}")
        goal = at_least(goals.inverse_f1)
        yield line("inverse-dynamics F1, share of the engine's own", found["f1_share_of_engine"], "", goal, chance)
        place = found["f1_between_chance_and_engine"]
        yield line("inverse-dynamics F1, between chance (0) and the engine (1)", place, "", goal, chance)
        beside = f"{error_beside}, of saying no turn {number(found['camera_error_of_no_turn']['value'])}"
        goal = at_most(goals.camera_error, "degrees")
        yield line("camera error a frame", rows["model"]["camera_error_degrees"], "degrees", goal, beside)
