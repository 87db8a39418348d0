"""How good ego-motion is, in metres: freely running on maps that it never saw, beside baselines, and at rest.

B stretches, L video frames of a stretch, R of a chunk.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldsim.models.shield import shielded
from worldsim.simulation.memory.ego_motion import EgoMotion
from worldsim.spec.actions import MINECRAFT
from worldsim.training.memory.motion import Stretches, cut, headings, in_world, unroll
from worldsim.training.memory.motion_data import FARTHEST, RESTING, Track

# Video frames after which drift is told, and frames between the beginnings of stretches.
HORIZONS = (20, 40, 80, 200)
EVERY = 50
# Chunks at the beginning that are known, as starts of play are.
KNOWN = 8
# Metres a video frame of a walking player in Luanti (4 m/s at 20 Hz): the baseline by keys.
WALKING = 0.2
# Seconds at rest, and after how many video frames of rest they begin.
REST_SECONDS, RESTED = 60, 20


@shielded
@torch.inference_mode()
def evaluate_motion(model: EgoMotion, tracks: Sequence[Track], chunk: int, fps: float = 20.0) -> dict[str, Any]:
    """Errors of displacements and drift after some video frames, for recorded depth and depth with errors.

    The first ``KNOWN`` chunks of a stretch are known; horizons count from there.
    """
    chunks = KNOWN + max(HORIZONS) // chunk
    places = [
        (i, start)
        for i, track in enumerate(tracks)
        for start in range(0, len(track) // chunk - chunks + 1, EVERY // chunk)
    ]
    out: dict[str, Any] = {"stretches": len(places)}
    if places:
        for view, name in enumerate(("recorded_depth", "erroneous_depth")[: len(tracks[0].near)]):
            stretches = cut(tracks, places, chunks, chunk, torch.full((len(places),), view))
            known = torch.full((len(places),), KNOWN)
            out[name] = _errors(unroll(model, stretches, chunk, known)[0], stretches, chunk, model)
        stretches = cut(tracks, places, chunks, chunk, torch.zeros(len(places), dtype=torch.long))
        out["stands_still"] = _errors(torch.zeros_like(stretches.moved), stretches, chunk, model)
        out["walks_by_keys"] = _errors(walking(stretches.actions), stretches, chunk, model)
    for view, name in enumerate(("rest", "rest_erroneous_depth")[: len(tracks[0].near)]):
        out[name] = rest_drift(model, tracks, chunk, round(REST_SECONDS * fps), view)
    return out


def walking(actions: Tensor) -> Tensor:
    """Constant walking speed in the direction of the keys (B, L, 3), level; nothing for other games' actions."""
    if actions.shape[-1] != MINECRAFT.size:
        return torch.zeros(*actions.shape[:-1], 3)
    forward, back, left, right = (actions[..., MINECRAFT.keys.index(k)] for k in ("forward", "back", "left", "right"))
    level = torch.stack([forward - back, right - left, torch.zeros_like(left)], -1)
    return level / level.norm(dim=-1, keepdim=True).clamp(min=1) * WALKING


def _errors(moved: Tensor, stretches: Stretches, chunk: int, model: EgoMotion) -> dict[str, float]:
    """Mean error of a displacement and drift (m); stretches in which the game moves the player are left out."""
    first = KNOWN * chunk
    sound = (stretches.moved.abs() < FARTHEST).all(2).all(1)
    turns = stretches.actions[..., model.config.camera.yaw_action]
    world = in_world(moved - stretches.moved, headings(turns))[sound, first:]
    out = {"per_frame": float(world.norm(dim=-1).mean())}
    drift = world.cumsum(1)
    for frames in HORIZONS:
        error = drift[:, frames - 1].norm(dim=-1)
        out[f"drift_{frames}"] = float(error.mean())
        out[f"median_{frames}"] = float(error.median())
    return out


@torch.inference_mode()
def rest_drift(model: EgoMotion, tracks: Sequence[Track], chunk: int, frames: int, view: int = 0) -> dict[str, float]:
    """Idle play after the recorded player has come to rest: the picture stays, no key is down."""
    places = [place for i, track in enumerate(tracks) for place in _rests(track, i, chunk)]
    if not places:
        return {"starts": 0}
    stretches = cut(tracks, places, RESTED // chunk, chunk, torch.full((len(places),), view))
    more = frames // chunk
    idle = Stretches(
        torch.cat([stretches.actions, torch.zeros(len(places), more * chunk, stretches.actions.shape[2])], 1),
        torch.cat([stretches.moved, torch.zeros(len(places), more * chunk, 3)], 1),
        torch.cat([stretches.pitch, stretches.pitch[:, -1:].expand(-1, more)], 1),
        torch.cat([stretches.near, stretches.near[:, -1:].expand(-1, more, -1)], 1),
    )
    moved, _ = unroll(model, idle, chunk, torch.full((len(places),), RESTED // chunk))
    drift = moved[:, RESTED:].cumsum(1).norm(dim=-1).amax(1)
    return {
        "starts": len(places),
        "mean": float(drift.mean()),
        "worst": float(drift.max()),
        "below_1_cm": float((drift < 0.01).float().mean()),
    }


def _rests(track: Track, number: int, chunk: int) -> list[tuple[int, int]]:
    """Chunks from which on a player neither moves nor acts for so long, apart from each other."""
    quiet = (track.moved.abs() < RESTING).all(1) & (track.actions == 0).all(1)
    out, at = [], 0
    while at + RESTED <= len(quiet) // chunk * chunk:
        if bool(quiet[at : at + RESTED].all()):
            out.append((number, at // chunk))
            at += 5 * RESTED
        at += chunk
    return out
