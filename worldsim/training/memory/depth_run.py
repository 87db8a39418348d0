"""A training run of depth completion, from a store of episodes to ``depth_completion.safetensors``."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter, training_record
from worldsim.datasets.store.store import EpisodeStore
from worldsim.models.checkpoint import load_tensors
from worldsim.models.shield import shielded
from worldsim.plotting.pictures import Picture, sheet, write_picture
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.depth import (
    FILE,
    DepthCompletion,
    DepthCompletionConfig,
    depth_sizes,
    encode_depth,
    heeding_pitch,
    load_depth_completion,
)
from worldsim.simulation.memory.files import part_of
from worldsim.training.logging import follow, write_config
from worldsim.training.memory.depth import DepthTraining, train_depth
from worldsim.training.memory.depth_examples import choose_episodes, read_walks
from worldsim.training.memory.depth_judge import Places, judge
from worldsim.training.memory.drawings import completed

# Walks that the network is judged by, and places shown in the picture of samples.
JUDGED_WALKS, SHOWN = 8, 8
# Codes of depth that are shown black and white: the sky, and half a metre.
FARTHEST_CODE, NEAREST_CODE = -6.2, 0.7


@shielded
def run_depth(
    *,
    data: str | Path,
    folder: Path,
    config: DepthCompletionConfig,
    training: DepthTraining,
    batch: int = 16,
    megabytes: float = 4000.0,
    places: int = 48,
    initial: Path | None = None,
    sample_every: int = 500,
    seed: int = 0,
    only: EpisodeFilter = ALL,
) -> Path:
    """Train on the walks of a store; resumes when ``folder`` holds a run. Returns the file with the weights.

    ``depth.json`` beside it holds the measures of ``worldsim.training.memory.depth_judge.judge``.

    Raises:
        UserError: the store has no walks to learn from and others to judge by.
    """
    store = EpisodeStore(data)
    names, held_out, depth = choose_episodes(store, only)
    walks = read_walks(store, names, depth=depth, megabytes=megabytes, seed=seed)
    spread = np.linspace(0, len(held_out) - 1, min(JUDGED_WALKS, len(held_out))).astype(int)
    others = read_walks(store, [held_out[i] for i in spread], depth=depth)
    judged = Places.of(others, places)
    weights = before = None
    if initial is not None:
        weights, before = start_from(initial, config)
    about = {
        "trained_on": training_record(store, walks.names, before=before),
        "depth_of_game": depth,
        "camera": walks.camera.to_json(),
        "seed": seed,
    }
    write_config(folder, data=data, model=asdict(config), training=asdict(training), batch=batch, seed=seed)

    def shown(path: Path) -> Picture:
        return samples(load_depth_completion(path), others.lens, judged)

    def sample(step: int) -> None:
        if (folder / FILE).exists():
            write_picture(folder / "samples" / f"{step:06d}.png", shown(folder / FILE))

    run = train_depth(
        walks, config, training, folder,
        batch=batch, seed=seed, validate=lambda network: judge(network, others, judged), initial=weights, about=about,
    )  # fmt: skip
    follow(run, folder, training.steps, "depth", sample, sample_every)
    results = judge(load_depth_completion(folder / FILE), others, judged)
    told = {"places": len(judged.last), "walks": len(walks.names), "frames": len(walks), **results}
    (folder / "depth.json").write_text(json.dumps(told, indent=1) + "\n")
    return folder / FILE


def start_from(path: Path, config: DepthCompletionConfig) -> tuple[dict[str, Tensor], Mapping[str, Any] | None]:
    """Weights to start from, of a depth completion or of a memory's, and the record of what they are trained on."""
    weights, about = load_tensors(path)
    if memory := part_of(weights, "depth"):
        weights = memory
    before = depth_sizes(about.get("depth", {}))
    if config.inclined and not before.inclined:
        weights = heeding_pitch(weights)
    told = about.get("about", about)
    return weights, told.get("depth_trained_on", told.get("trained_on"))


@torch.inference_mode()
def samples(network: DepthCompletion, lens: Intrinsics, places: Places, count: int = SHOWN) -> Picture:
    """One row a place: picture, the game's depth (black where none was recorded), the network's, its confidence."""
    e = places.examples
    at = [int(i) for i in np.linspace(0, len(e.pictures) - 1, min(count, len(e.pictures)))]
    depth, sure = completed(network, lens, e.pictures[at], e.poses[at])
    true = torch.zeros_like(depth) if e.inverse_depth is None else e.inverse_depth[at]
    rows = zip(e.pictures[at], _grey(true), _grey(depth), sure, strict=True)
    tiles = [tile for picture, *planes in rows for tile in (picture, *map(_three, planes))]
    return sheet([tile.numpy() for tile in tiles], columns=4)


def _grey(inverse_depth: Tensor) -> Tensor:
    return (encode_depth(inverse_depth) - FARTHEST_CODE) / (NEAREST_CODE - FARTHEST_CODE)


def _three(plane: Tensor) -> Tensor:
    return (plane.clamp(0, 1) * 255).round().to(torch.uint8)[..., None].expand(-1, -1, 3)
