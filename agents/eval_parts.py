"""The parts of an evaluation: each draws its starts, lets the world dream, and reports."""

from typing import Any

import numpy as np

from worldsim.agents.eval_actions import action_use, delta_report, sign_evidence, sign_report
from worldsim.agents.eval_branches import all_branches
from worldsim.agents.eval_clips import Clips, draw_clips, stands_after
from worldsim.agents.eval_failures import Failures, discontinuities, failure_entry, forgotten, ignored
from worldsim.agents.eval_horizons import (
    PERCEPTUAL_AT,
    forced_report,
    free_running,
    horizon_report,
    perceptual_report,
)
from worldsim.agents.eval_inverse import inverse_report, read_back
from worldsim.agents.eval_long import (
    collapsed,
    long_actions,
    long_report,
    long_rollouts,
    out_of_spread,
    recorded_collapses,
    recorded_futures,
    recorded_run,
    spread_of,
)
from worldsim.agents.eval_memory import dig_report, find_digs, memory_report, memory_scores, recall, recorded_revisits
from worldsim.agents.eval_objects import object_counts, object_report, windowed_counts
from worldsim.agents.eval_obstacles import KINDS, metres_dreamt, obstacle_report, walks_after
from worldsim.agents.eval_recorded import recorded_turn, trust
from worldsim.agents.eval_rollouts import all_held, begin, future_of, held, rollout, truth_of
from worldsim.agents.eval_run import HELD_OUT, Evaluation, Films, Part, clips_of
from worldsim.agents.eval_statistics import estimate
from worldsim.agents.eval_text import attribute_adherence, text_report
from worldsim.errors import UserError
from worldsim.training.inverse_dynamics import load_inverse

Report = tuple[dict[str, Any], Films]
# Windows of recorded play on which the measures are tried.
TRUSTED = 30
# Frames over which things that come and go are counted: recorded players seldom stand still for longer.
STILL = 10
NO_CAMERA = "this game has no camera to look away with"
NO_INVERSE = "no inverse-dynamics model: worldsim train inverse, then eval inverse=runs/inverse/inverse.safetensors"


def horizons(e: Evaluation) -> Report:
    """Free-running quality, Delta PSNR, discontinuities of motion."""
    clips, p = clips_of(e), e.preset
    found = free_running(e.world, clips, p.prefix, p.chunks, e.rows, e.progress)
    report = horizon_report(found, clips.maps, e.thresholds.failure_run, e.seed)
    report["actions"] = delta_report(found, clips.maps, e.seed)
    severity, failed = discontinuities(found["change/model"], found["change/recorded"], e.thresholds)
    jumps = Failures(severity=severity, failed=failed, maps=clips.maps)
    report["failures"] = {"motion discontinuity": failure_entry("motion discontinuity", jumps, e.thresholds, e.seed)}
    report["per_clip"] = {
        "places": [list(place) for place in clips.places],
        "last_psnr": found["psnr/model"][:, -1].round(3).tolist(),
    }
    chosen = report["failures"]["motion discontinuity"]["gallery"]
    return report, {"motion discontinuity": films(e, clips, chosen, p.chunks)}


def films(e: Evaluation, clips: Clips, rows: list[int], chunks: int, count: int = 8) -> np.ndarray:
    """Some frames of chosen clips: what was recorded, then what is dreamed for K chunks (n, 2 count, H, W, 3)."""
    at = np.linspace(0, chunks - 1, count).astype(int)
    return np.stack(
        [np.concatenate([film[at, -1] for film in recorded_and_predicted(e, clips, row, chunks)]) for row in rows]
    )


def recorded_and_predicted(e: Evaluation, clips: Clips, row: int, chunks: int) -> tuple[np.ndarray, np.ndarray]:
    """What was recorded and what is dreamed for K chunks after the past of one clip, each (K, r, H, W, 3)."""
    prefix, part = e.preset.prefix, clips.part(slice(row, row + 1))
    future = future_of(part, prefix, chunks, e.world.chunk)
    made = rollout(e.world, begin(e.world, part, prefix, row), future)
    return truth_of(part, prefix, chunks, e.world.chunk)[0], made[0]


def forced(e: Evaluation) -> Report:
    """Teacher-forced next chunk against the tokenizer's ceiling."""
    clips, p = clips_of(e), e.preset
    return forced_report(e.world, clips, p.prefix, p.chunks, p.forced, e.rows, e.seed, p.forced_samples, e.progress), {}


def perceptual(e: Evaluation) -> Report:
    """ST-LPIPS at some horizons and numbers of steps."""
    if not e.preset.perceptual:
        return {"skipped": "preset.perceptual is 0"}, {}
    clips, p = clips_of(e, e.preset.perceptual), e.preset
    chunks = min(p.chunks, max(PERCEPTUAL_AT))
    return perceptual_report(e.world, clips, p.prefix, chunks, e.rows, e.seed, e.progress), {}


def actions(e: Evaluation) -> Report:
    """Loss under shuffled actions; and sign tests, where the game has a camera and walks."""
    clips, p, limits = clips_of(e), e.preset, e.thresholds
    report: dict[str, Any] = {"use": action_use(e.world, clips, e.rows, seed=e.seed)}
    if not first_person(e):
        return report, {}
    evidence = sign_evidence(e.world, clips, p.prefix, degrees=limits.turn_degrees, rows=e.rows, progress=e.progress)
    report["signs"] = sign_report(evidence, clips.maps, e.seed)
    usual = recorded_turn(e.store, HELD_OUT, e.world.chunk, TRUSTED, e.seed)
    if usual is None:
        return report, {}
    report["recorded_turn_evidence"] = usual
    severity, failed = ignored(evidence["right"], evidence["left"], usual, limits)
    entry = failure_entry("action ignored", Failures(severity=severity, failed=failed, maps=clips.maps), limits, e.seed)
    report["failures"] = {"action ignored": entry}
    chosen = clips.part(np.array(entry["gallery"]))
    turning = {
        name: held(e.world, 4, camera=(0.0, s * limits.turn_degrees)) for name, s in (("right", 1), ("left", -1))
    }
    made = all_held(e.world, chosen, p.prefix, turning, e.rows)
    start = chosen.frames[:, None, p.prefix - 1]
    return report, {
        "action ignored": np.concatenate([start, made["right"][:, :, -1], start, made["left"][:, :, -1]], 1)
    }


def first_person(e: Evaluation) -> bool:
    """Whether the world is played with a camera and walks."""
    return e.world.spec.camera and {"forward", "back"} <= set(e.world.spec.keys)


def measures(e: Evaluation) -> Report:
    """How far the measures of turning and walking can be trusted, on recorded play of held-out maps."""
    report = trust(e.store, HELD_OUT, e.world, TRUSTED, e.seed)
    if not any(report["windows"].values()):
        return {"skipped": "these recordings tell no pose of a first-person camera"}, {}
    return report, {}


def inverse(e: Evaluation) -> Report:
    """Actions read back from dreams."""
    if e.inverse is None:
        return {"skipped": NO_INVERSE}, {}
    model = load_inverse(e.inverse, e.world.chunk)
    clips, p = clips_of(e, e.preset.inverse_clips), e.preset
    chunks = min(p.chunks, 20)
    found = read_back(model, e.world, clips, p.prefix, chunks, e.rows, e.progress)
    return inverse_report(found, clips.maps, model.keys, e.world.chunk, e.seed), {}


def branches(e: Evaluation) -> Report:
    """Counterfactual branches against the engine's own."""
    p = e.preset
    report, film = all_branches(
        e.world, e.store, e.split, e.branches, p.branch_starts, p.prefix, p.branch_chunks, e.seed, e.progress
    )
    return report, {} if film is None else {"branches": film}


def long_play(e: Evaluation) -> Report:
    """A minute of play."""
    p, limits, fps = e.preset, e.thresholds, e.world.config.fps
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
    entry = failure_entry("collapse", found, limits, e.seed)
    report["failures"] = {"collapse": entry}
    start = clips.frames[:, None, p.prefix - 1]
    return report, {"collapse": np.concatenate([start, film], 1)[entry["gallery"]]}


def memory(e: Evaluation) -> Report:
    """Looking away and back; dug blocks."""
    p, limits = e.preset, e.thresholds
    if not first_person(e):
        return {"skipped": NO_CAMERA}, {}
    try:
        clips = draw_clips(e.store, e.split, p.memory_starts, p.prefix, e.seed + 2, stands_after(p.prefix))
    except UserError as error:
        return {"skipped": str(error)}, {}
    scores, returns = memory_scores(e.world, clips, p.prefix, p.memory_gaps, e.rows, e.progress)
    report = memory_report(scores, recorded_revisits(e.store, HELD_OUT, seed=e.seed), clips.maps, e.seed)
    gap = p.memory_gaps[len(p.memory_gaps) // 2]
    kept = recall(scores[gap])
    severity, failed = forgotten(kept, limits.memory_recall)
    lost = Failures(severity=severity, failed=failed, maps=clips.maps)
    entry = failure_entry("identity drift", lost, limits, e.seed) | {"gap_chunks": gap}
    report["failures"] = {"identity drift": entry}
    out: Films = {"identity drift": returns[gap][entry["gallery"]]}
    digs = find_digs(e.store, HELD_OUT, p.prefix, p.digs, e.seed) if p.digs else None
    if digs is None:
        report["digs"] = {"skipped": "no recorded dig of the held-out maps suits"}
        return report, out
    report["digs"], film = dig_report(e.world, digs, p.prefix, gap, limits.persistence, e.rows, e.seed)
    severity, failed = forgotten(np.array(report["digs"]["per_start_return"]), limits.persistence)
    undone = Failures(severity=severity, failed=failed, maps=digs.clips.maps)
    report["failures"]["causal-state error"] = failure_entry("causal-state error", undone, limits, e.seed)
    out["causal-state error"] = film[report["failures"]["causal-state error"]["gallery"]]
    return report, out


def objects(e: Evaluation) -> Report:
    """Doing nothing: what comes and goes by itself."""
    p, limits = e.preset, e.thresholds
    try:
        clips = draw_clips(e.store, e.split, p.still_starts, p.prefix, e.seed + 3, stands_after(p.prefix))
    except UserError as error:
        return {"skipped": str(error)}, {}
    chunks = max(2, round(p.still_seconds * e.world.config.fps / e.world.chunk))
    lasts = all_held(e.world, clips, p.prefix, {"nothing": held(e.world, chunks)}, e.rows)["nothing"][:, :, -1]
    first = clips.frames[:, p.prefix - 1]
    width = min(chunks, max(1, round(STILL / e.world.chunk)))
    windowed = windowed_counts(first, lasts, width, limits)
    report = object_report(windowed, chunks // width * width * e.world.chunk, clips.maps, e.seed)
    counts = object_counts(first, lasts, limits)
    report["from_start_to_end"] = object_report(counts, chunks * e.world.chunk, clips.maps, e.seed)
    report["recorded"] = _recorded_objects(e, width * e.world.chunk)
    picked = np.linspace(0, chunks - 1, 7).astype(int)
    film = np.concatenate([first[:, None], lasts[:, picked]], 1)
    report["failures"], out = {}, {}
    for column, kind in ((1, "disappearance"), (0, "spontaneous object")):
        found = Failures(severity=counts[:, column].astype(float), failed=counts[:, column] > 0, maps=clips.maps)
        report["failures"][kind] = failure_entry(kind, found, limits, e.seed)
        out[kind] = film[report["failures"][kind]["gallery"]]
    return report, out


def _recorded_objects(e: Evaluation, ahead: int) -> dict[str, Any]:
    """The same counts in a window of ``ahead`` frames of recorded play: the floor of the measure."""
    try:
        clips = draw_clips(e.store, e.split, TRUSTED, 1 + ahead, e.seed + 3, stands_after(1, ahead, 1))
    except UserError as error:
        return {"skipped": str(error)}
    counts = object_counts(clips.frames[:, 0], clips.frames[:, e.world.chunk :: e.world.chunk], e.thresholds)
    return object_report(counts, ahead, clips.maps, e.seed)


def obstacles(e: Evaluation) -> Report:
    """Walking into things: what stops the player of a recording, and what stops them in the dream."""
    p, fps = e.preset, e.world.config.fps
    if not first_person(e):
        return {"skipped": NO_CAMERA}, {}
    chunks = max(1, round(p.walk_seconds * fps / e.world.chunk))
    frames = chunks * e.world.chunk
    try:
        clips = {
            kind: draw_clips(
                e.store, e.split, p.walks, p.prefix + frames, e.seed + 4, walks_after(p.prefix, frames, kind, fps)
            )
            for kind in KINDS
        }
    except UserError as error:
        return {"skipped": str(error)}, {}
    dreamt = {kind: metres_dreamt(e.world, found, p.prefix, chunks, e.rows) for kind, found in clips.items()}
    maps = {kind: found.maps for kind, found in clips.items()}
    report = obstacle_report(dreamt, maps, frames / fps, e.thresholds.obstacle_share, e.seed)
    metres = dreamt["blocked"]
    through = Failures(severity=metres, failed=metres >= report["least_metres"], maps=maps["blocked"])
    entry = failure_entry("obstacle walked through", through, e.thresholds, e.seed)
    report["failures"] = {"obstacle walked through": entry}
    return report, {"obstacle walked through": films(e, clips["blocked"], entry["gallery"], chunks, count=chunks)}


def text(e: Evaluation) -> Report:
    """Captions: own, swapped, none; and with another place or light."""
    clips = clips_of(e)
    captions = [e.store.read(name, start, start + 1).text for name, start in clips.places]
    if len(set(captions)) < 2:
        return {"skipped": "these recordings all have the same caption, or none: there is none to swap"}, {}
    try:
        embeddings = e.world.embed(captions, len(clips))
    except ValueError as error:
        return {"skipped": str(error)}, {}
    report, pictures = text_report(e.world, clips, captions, embeddings, e.rows, e.seed)
    report["attributes"], out = attribute_adherence(e, clips, captions)
    return report, {"text": pictures[:8], **out}


PARTS: dict[str, Part] = {
    "horizons": horizons,
    "actions": actions,
    "forced": forced,
    "perceptual": perceptual,
    "inverse": inverse,
    "branches": branches,
    "memory": memory,
    "objects": objects,
    "obstacles": obstacles,
    "text": text,
    "long": long_play,
    "measures": measures,
}
