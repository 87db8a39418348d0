"""Counterfactual futures: one past, one noise, several branches of actions.

B branches, F video frames, K chunks, r frames per chunk, A action vector.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.starts import StartClips
from worldsim.datasets.store import EpisodeStore
from worldsim.datasets.video import VideoWriter, read_video
from worldsim.envs.beginnings import Beginning, fit_past, prefill
from worldsim.envs.pictures import side_by_side
from worldsim.errors import UserError
from worldsim.world import WorldModel

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """How far each branch is from the first, per frame.

    Attributes:
        difference: mean absolute difference of 8-bit values (B, F).
        psnr: peak signal-to-noise ratio in dB (B, F); infinite where the frames are equal.
    """

    difference: NDArray[np.float64]
    psnr: NDArray[np.float64]


def find_prefix(text: str, world: WorldModel, starts: StartClips, *, frames: int, seed: int) -> Beginning:
    """The past that ``text`` names.

    Args:
        text: number of a start clip; path of a video (its last frames count, no keys pressed); or STORE:EPISODE[@FRAME]
            (``frames`` frames from that frame on, with their recorded actions).
        world: gives picture size and chunk.
        starts: the world's start clips.
        frames: length of the past at most.
        seed: of the noise.

    Raises:
        FileNotFoundError: there is no such video, store or episode.
        UserError: it does not fit.
    """
    if frames < 1:
        raise UserError(f"prefix_frames must be at least 1, got {frames}")
    if text.isdecimal():
        if int(text) >= len(starts):
            raise UserError(f"there is no start clip {text}: choose 0 to {len(starts) - 1}")
        past, actions = starts.frames[int(text)], starts.actions[int(text)]
    elif ":" in text and not Path(text).exists():
        store, _, rest = text.rpartition(":")
        name, _, at = rest.partition("@")
        if not Path(store).is_dir():
            raise FileNotFoundError(f"no such store: {store}")
        if at and not at.isdecimal():
            raise UserError(f"after @ comes the number of a frame, got {at!r}")
        first = int(at or 0)
        opened = EpisodeStore(store)
        total = int(opened.manifest(name)["frames"])
        if first >= total:
            raise UserError(f"episode {name} has {total} frames: there is no frame {first}")
        episode = opened.read(name, first, min(first + frames, total))
        past, actions = episode.frames, episode.actions[:-1]
    else:
        past, actions = read_video(text, size=(world.config.width, world.config.height)), None
    past = past[-frames:]
    past, vectors = fit_past(world, past, None if actions is None else actions[len(actions) - len(past) + 1 :])
    return Beginning(frames=past, actions=vectors, seed=seed)


def branch_futures(world: WorldModel, past: Beginning, branches: Sequence[NDArray[np.float32]]) -> Frames:
    """Frames (B, K r, H, W, 3) of all branches from one past, with the same noise.

    The longest branch decides how far all go (whole chunks); the others do nothing after their last action. Branches
    are stepped one by one: in a batch, matrix products round a row by where it stands, and equal actions would differ.
    """
    chunks = -(-max(map(len, branches)) // world.chunk)
    begin = prefill(world, [past])
    futures = []
    for branch in branches:
        actions = np.zeros((chunks, 1, world.chunk, world.spec.size), np.float32)
        actions.reshape(-1, world.spec.size)[: len(branch)] = branch
        state, shown = begin.select([0]), []
        for chunk in actions:
            state, out = world.step(state, chunk, donate=True)
            shown.append(out.frames[0])
        futures.append(np.concatenate(shown))
    return np.stack(futures)


def divergence(futures: Frames) -> Divergence:
    """Distance of every branch's frames (B, F, H, W, 3) from the first branch's."""
    first = futures[0].astype(np.float64)
    errors = [branch.astype(np.float64) - first for branch in futures]
    squares = np.stack([np.square(e).mean((1, 2, 3)) for e in errors])
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(255.0**2 / squares)
    return Divergence(difference=np.stack([np.abs(e).mean((1, 2, 3)) for e in errors]), psnr=psnr)


def write_rollout(
    folder: Path, past: Beginning, futures: Frames, names: Sequence[str], *, fps: float, scale: int = 2
) -> dict[str, Any]:
    """Write ``rollout.mp4`` (the past, then the branches side by side), ``divergence.csv`` and ``divergence.json``.

    Returns:
        What the JSON file holds: per branch its mean and last difference and the first frame that differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = np.broadcast_to(past.frames, (len(names), *past.frames.shape))
    with VideoWriter(folder / "rollout.mp4", fps) as video:
        for frames, captions in ((before, [f"{n} (past)" for n in names]), (futures, list(names))):
            for picture in side_by_side(frames, captions, scale):
                video.append(picture)
    far = divergence(futures)
    with (folder / "divergence.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "branch", "mean_abs_difference", "psnr"])
        for t in range(futures.shape[1]):
            for b, name in enumerate(names):
                writer.writerow([t + 1, name, f"{far.difference[b, t]:.6f}", f"{far.psnr[b, t]:.4f}"])
    summary = {"frames": futures.shape[1], "seed": past.seed, "branches": []}
    for b, name in enumerate(names):
        differs = np.flatnonzero(far.difference[b])
        last = float(far.psnr[b, -1])
        summary["branches"].append(
            {
                "name": name,
                "mean_abs_difference": float(far.difference[b].mean()),
                "last_abs_difference": float(far.difference[b, -1]),
                "last_psnr": last if math.isfinite(last) else None,
                "first_different_frame": int(differs[0]) + 1 if len(differs) else None,
            }
        )
    (folder / "divergence.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary
