"""What a rollout leaves behind: a video a branch, all side by side, the tree, and how far the branches part.

B branches, F video frames, K chunks, r frames per chunk, H W pixels.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.video import VideoWriter
from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.rollouts.tree_picture import draw_tree
from worldsim.plotting.charts import line_picture
from worldsim.plotting.pictures import branches_in_grid, enlarge, write_picture
from worldsim.simulation.branching import Tree

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


def divergence(futures: Frames) -> Divergence:
    """Distance of every branch's frames (B, F, H, W, 3) from the first branch's."""
    first = futures[0].astype(np.float64)
    errors = [branch.astype(np.float64) - first for branch in futures]
    squares = np.stack([np.square(e).mean((1, 2, 3)) for e in errors])
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(255.0**2 / squares)
    return Divergence(difference=np.stack([np.abs(e).mean((1, 2, 3)) for e in errors]), psnr=psnr)


def write_rollout(
    folder: Path,
    past: InitialContext,
    tree: Tree,
    *,
    fps: float,
    scale: int = 2,
    task: str = "explore",
    scores: Mapping[str, Any] | None = None,
    truth: Sequence[Frames] | None = None,
) -> dict[str, Any]:
    """Write everything about a tree into ``folder``.

    ``branch-N.mp4`` (the past, then the branch), ``rollout.mp4`` (all side by side; with ``truth`` the engine's below),
    ``tree.png``, ``divergence.csv`` and ``.png``, and ``divergence.json``.

    Args:
        folder: made if it is not there.
        past: what all branches begin from.
        tree: as it grew.
        fps: of the videos.
        scale: the videos' pixels per world pixel.
        task: what the rewards are for.
        scores: put into the JSON file as ``engine``.
        truth: the engine's frames of each branch.

    Returns:
        What the JSON file holds: per branch its reward, its mean and last difference and the first frame that differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i + 1} {branch.name}" for i, branch in enumerate(tree.branches)]
    futures = np.stack([branch.frames for branch in tree.branches])
    _write_videos(folder, past.frames, futures, names, fps, scale, truth)
    far = divergence(futures)
    _write_table(folder / "divergence.csv", far, names)
    curves = {name: (values.tolist(), None, None) for name, values in zip(names, far.difference, strict=True)}
    chart = line_picture(
        curves,
        "Mean absolute difference from the first branch",
        (1, far.difference.shape[1]),
        x_label="frame",
        y_label="difference, of 255",
    )
    write_picture(folder / "divergence.png", chart)
    labels = [f"{sum(b.rewards.tolist()):+.2f} {task}" for b in tree.branches]
    if scores is not None and all("engine_reward" in one for one in scores.get("branches", [{}])):
        real = [one["engine_reward"] for one in scores["branches"]]
        engine = ["" if r is None else f" ({r:+.2f} in the engine)" for r in real]
        labels = [line + words for line, words in zip(labels, engine, strict=True)]
    write_picture(folder / "tree.png", draw_tree(past.frames, tree, labels=labels, truth=truth))
    summary = _summary(tree, past, far, names, task) | ({} if scores is None else {"engine": scores})
    (folder / "divergence.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _write_videos(
    folder: Path,
    past: Frames,
    futures: Frames,
    names: Sequence[str],
    fps: float,
    scale: int,
    truth: Sequence[Frames] | None,
) -> None:
    rows = futures if truth is None else np.concatenate([futures, np.stack(truth)])
    titles = [*names, *([] if truth is None else [f"{name} (engine)" for name in names])]
    columns = len(names) if truth is not None and len(names) <= 4 else 4
    before = np.broadcast_to(past, (len(rows), *past.shape))
    with VideoWriter(folder / "rollout.mp4", fps) as video:
        for frames, captions in ((before, [f"{n} (past)" for n in titles]), (rows, titles)):
            for picture in branches_in_grid(frames, list(captions), scale, columns):
                video.append(picture)
    for number, frames in enumerate(futures, 1):
        with VideoWriter(folder / f"branch-{number}.mp4", fps) as video:
            for frame in (*past, *frames):
                video.append(enlarge(frame, scale))


def _write_table(path: Path, far: Divergence, names: Sequence[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "branch", "mean_abs_difference", "psnr"])
        for t in range(far.psnr.shape[1]):
            for b, name in enumerate(names):
                writer.writerow([t + 1, name, f"{far.difference[b, t]:.6f}", f"{far.psnr[b, t]:.4f}"])


def _summary(tree: Tree, past: InitialContext, far: Divergence, names: Sequence[str], task: str) -> dict[str, Any]:
    branches = []
    for b, (name, branch) in enumerate(zip(names, tree.branches, strict=True)):
        differs = np.flatnonzero(far.difference[b])
        last = float(far.psnr[b, -1])
        branches.append(
            {
                "name": name,
                "reward": float(branch.rewards.sum(dtype=np.float64)),
                "rewards": [round(float(r), 5) for r in branch.rewards],
                "ended": branch.ended,
                "pose": [round(float(p), 4) for p in branch.pose[-1]],
                "mean_abs_difference": float(far.difference[b].mean()),
                "last_abs_difference": float(far.difference[b, -1]),
                "last_psnr": last if math.isfinite(last) else None,
                "first_different_frame": int(differs[0]) + 1 if len(differs) else None,
                "segments": list(branch.segments),
            }
        )
    segments = [{"name": s.name, "parent": s.parent, "first": s.first, "last": s.last} for s in tree.segments]
    return {
        "frames": int(far.psnr.shape[1]), "seed": past.seed, "task": task, "branches": branches, "segments": segments,
    }  # fmt: skip
