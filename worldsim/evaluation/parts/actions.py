"""Does a world obey? Sign tests on opposite actions, and the loss under shuffled actions.

B clips, K chunks, r video frames per chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.lines import Line, at_least, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, limit
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.denoising import x0_errors
from worldsim.evaluation.measures.metrics import WALK, turn_evidence, walk_evidence
from worldsim.evaluation.measures.recorded import WINDOWS, recorded_turn
from worldsim.evaluation.measures.rollouts import all_held, held, held_rollouts
from worldsim.evaluation.measures.starts import by_start, error_ratio, estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel

IGNORED = "action ignored"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    clips: int
    prefix: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """When an action counts as ignored."""

    turn_degrees: float = limit(3.0, "degrees a frame of the turn in sign tests")
    ignored_effect: float = limit(
        0.25, "share of the recorded response to a turn below which the action counts as ignored"
    )


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    camera: float = limit(0.99, "share of camera sign tests passed, at least")
    movement: float = limit(0.95, "share of movement sign tests passed, at least")
    shuffled: float = limit(1.5, "times the loss under true actions that under shuffled ones is, at least")


def sign_evidence(
    world: WorldModel,
    clips: Clips,
    prefix: int,
    *,
    degrees: float = 3.0,
    turn_chunks: int = 4,
    walk_chunks: int = 8,
    rows: int = 8,
    progress: Progress = lambda *_: None,
) -> dict[str, NDArray[np.float64]]:
    """Evidence (B,) per branch of opposite actions from the same past and noise, read off the pictures alone.

    Turning right must move the scene left and turning left right; walking forward must expand it and walking back
    contract it. ``nothing`` is the walk's control: no key pressed.
    """
    branches = {
        "right": held(world, turn_chunks, camera=(0.0, degrees)),
        "left": held(world, turn_chunks, camera=(0.0, -degrees)),
        "forward": held(world, walk_chunks, forward=1),
        "back": held(world, walk_chunks, back=1),
        "nothing": held(world, walk_chunks),
    }
    out: dict[str, list[float]] = {name: [] for name in branches}
    for at, futures in held_rollouts(world, clips, prefix, branches, rows):
        part = clips.part(slice(at, at + rows))
        for name, made in futures.items():
            lasts = np.concatenate([part.frames[:, None, prefix - 1], made[:, :, -1]], 1)
            if name in ("right", "left"):
                out[name] += [turn_evidence(list(row)) for row in lasts]
            else:
                pitches, step = part.pitch[:, prefix - 1], WALK * world.chunk
                # From the second chunk on: the first still carries the momentum of the past.
                seen = zip(lasts[:, 2:], pitches, strict=True)
                out[name] += [walk_evidence(list(row), float(pitch), metres=step) for row, pitch in seen]
        progress("sign tests", at + len(part), len(clips))
    return {name: np.array(values) for name, values in out.items()}


def sign_report(t: dict[str, NDArray[np.float64]], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Shares of starts that pass, with intervals.

    ``forward_expands`` and ``back_contracts`` ask for the right sign; the ``_beyond_nothing`` ones also for more than
    the control from the same start shows, which a dream's own decay cannot give. ``nothing_expands`` should be a half.
    """
    tests = {
        "camera_opposite_and_correct": (t["right"] < 0) & (t["left"] > 0),
        "right_correct": t["right"] < 0,
        "left_correct": t["left"] > 0,
        "forward_expands": t["forward"] > 0,
        "back_contracts": t["back"] < 0,
        "forward_expands_back_contracts": (t["forward"] > 0) & (t["back"] < 0),
        "forward_expands_beyond_nothing": t["forward"] > np.maximum(0, t["nothing"]),
        "back_contracts_beyond_nothing": t["back"] < np.minimum(0, t["nothing"]),
        "forward_expands_more_than_back": t["forward"] > t["back"],
        "nothing_expands": t["nothing"] > 0,
    }
    out: dict[str, Any] = {name: estimate_by_start(test, maps, seed) for name, test in tests.items()}
    both = np.stack([t["forward"] > 0, t["back"] < 0])
    out["movement_correct"] = estimate(both.ravel(), np.concatenate([maps, maps]), seed=seed)
    out["movement_correct"] |= by_start(both.mean(0), maps)
    out["mean_evidence"] = {name: round(float(values.mean()), 5) for name, values in t.items()}
    out["per_start"] = {name: values.round(4).tolist() for name, values in t.items()}
    return out


def action_use(world: WorldModel, clips: Clips, rows: int = 8, seed: int = 0) -> dict[str, Any]:
    """x0 errors with true and with foreign actions, and their ratio."""
    conditions = {"true": (clips.actions, None), "shuffled": (clips.actions[clips.foreign()], None)}
    loss = x0_errors(world, clips, conditions, rows)
    shown = {name: estimate(values, clips.maps, seed=seed) for name, values in loss.items()}
    return shown | {"ratio": error_ratio(loss, "shuffled", "true", clips.maps, seed)}


def ignored(
    right: NDArray, left: NDArray, usual: float, limits: Thresholds
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Severity and failure (B,) from the evidence of turning right (wanted negative) and left (wanted positive).

    ``usual``: mean evidence of recorded turns, without its sign.
    """
    weakest = np.minimum(-right, left) / max(1e-9, usual)
    return -weakest, weakest < limits.ignored_effect


class Actions(EvaluationPart):
    """Loss under shuffled actions; and sign tests, where the game has a camera and walks."""

    name = "actions"
    settings, thresholds, goals = Settings, Thresholds, Goals
    failures: ClassVar = {
        IGNORED: "a turn of {turn_degrees:g} degrees a frame moves the picture the wrong way, or by less than "
        "{ignored_effect:g} of what recorded turns show, to one side or the other",
    }
    headlines = ("loss under shuffled actions", "camera sign test", "movement sign test")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Denoise under other actions, and hold opposite actions from the same pasts."""
        p, limits = Settings.of(e.preset), Thresholds.of(e.thresholds)
        clips = e.clips(p.clips, p.prefix, p.chunks)
        report: Results = {"use": action_use(e.world, clips, e.rows, seed=e.seed)}
        if not e.first_person:
            return report, {}
        evidence = sign_evidence(
            e.world, clips, p.prefix, degrees=limits.turn_degrees, rows=e.rows, progress=e.progress
        )
        report["signs"] = sign_report(evidence, clips.maps, e.seed)
        usual = recorded_turn(e.store, HELD_OUT, e.world.chunk, WINDOWS, e.seed)
        if usual is None:
            return report, {}
        report["recorded_turn_evidence"] = usual
        severity, failed = ignored(evidence["right"], evidence["left"], usual, limits)
        found = Failures(severity=severity, failed=failed, maps=clips.maps)
        entry = failure_entry(self.definition(IGNORED, limits), found, e.seed)
        report["failures"] = {IGNORED: entry}
        chosen = clips.part(np.array(entry["gallery"]))
        turning = {
            name: held(e.world, 4, camera=(0.0, s * limits.turn_degrees)) for name, s in (("right", 1), ("left", -1))
        }
        made = all_held(e.world, chosen, p.prefix, turning, e.rows)
        start = chosen.frames[:, None, p.prefix - 1]
        film = np.concatenate([start, made["right"][:, :, -1], start, made["left"][:, :, -1]], 1)
        return report, {IGNORED: film}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How much actions matter, and how often opposite ones do what they should."""
        yield line("loss under shuffled actions, ratio", found["use"]["ratio"], "", at_least(goals.shuffled))
        if (signs := found.get("signs")) is None:
            return
        camera = at_least(goals.camera, "%")
        yield line("camera sign test", signs["camera_opposite_and_correct"], "%", camera)
        words = {
            "forward_expands": "forward expands",
            "back_contracts": "back contracts",
            "nothing_expands": "nothing expands",
        }
        beside = ", ".join(f"{said} {number(signs[name]['value'], '%')}" for name, said in words.items())
        movement = at_least(goals.movement, "%")
        yield line("movement sign test", signs["movement_correct"], "%", movement, beside)
        for name in ("forward_expands_beyond_nothing", "back_contracts_beyond_nothing"):
            yield line(name.replace("_", " "), signs[name], "%")
