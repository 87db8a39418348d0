"""An evaluation as a list of parts: each is measured once, kept, and taken over when an evaluation goes on.

A part's key is made of all that decides its result: the weights, the clips, its part of the preset, the thresholds, the
seed.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures.types import Films
from worldsim.models.shield import shielded
from worldsim.simulation.config import BEFORE_MEMORY_HAD
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

# Raised when a part's meaning changes, so that older results are not taken over.
VERSION = 3
# Thresholds that are in the key of every part since version 3, in this order; any other one is in the key of the part
# that owns it alone.
COMMON_THRESHOLDS = (
    "failure_run", "turn_degrees", "jump_ratio", "jump_grey", "ignored_effect", "object_cells", "object_gain",
    "object_contrast", "collapse_seconds", "collapse_false_alarms", "obstacle_share", "memory_recall", "persistence",
)  # fmt: skip
# Counts changes of what a spatial memory makes of the same weights. 2: new pixels have the depth of their picture.
MEMORY_REVISION = 2
# Settings of a world that have another name in keys: what they were called when version 3 began.
NAMES_IN_KEYS = {"reuse_last_eval_for_cache": "fold"}


def weights_digest(world: WorldModel) -> str:
    """Digest of the weights that decide what the world shows, and of the captions that ship with it."""
    out = hashlib.sha256()
    for module in world.modules():
        for name, tensor in sorted(module.state_dict().items()):
            out.update(name.encode())
            out.update(tensor.float().cpu().numpy().tobytes())
    out.update(world.prompt_embeddings.float().numpy().tobytes())
    return out.hexdigest()


def thresholds_of(part: EvaluationPart) -> tuple[str, ...]:
    """Names of the thresholds that decide a part's result."""
    own = (one.name for one in fields(part.thresholds))
    return (*COMMON_THRESHOLDS, *(name for name in own if name not in COMMON_THRESHOLDS))


def part_digest(e: Evaluation, part: EvaluationPart, weights: str) -> str:
    """Names a part's result: equal for equal inputs."""
    inputs = {
        "version": VERSION,
        "part": part.name,
        "weights": weights,
        "world": _named_as_in_keys(_heeded(e.world)),
        "bf16": e.world.bf16,
        "episodes": _episodes(e),
        "split": e.split,
        "preset": asdict(part.settings.of(e.preset)),
        # Goals judge what was measured; they do not change it.
        "thresholds": {name: getattr(e.thresholds, name) for name in thresholds_of(part)},
        "seed": e.seed,
        "rows": e.rows,
        "inverse": _inverse_digest(e),
    }
    if e.world.device.type != "cpu":
        inputs["device"] = e.world.device.type
    if e.world.memory is not None:
        inputs["memory"] = MEMORY_REVISION
    if part.revision:
        inputs["revision"] = part.revision
    return hashlib.sha256(json.dumps(inputs | dict(part.inputs())).encode()).hexdigest()


def about(e: Evaluation) -> dict[str, Any]:
    """What two evaluations must have in common to be compared, how the world is played, and what it has cost."""
    return {
        "version": VERSION,
        "revisions": {name: part.revision for name, part in PARTS.items() if part.revision},
        "data": e.store.url,
        "episodes": hashlib.sha256(json.dumps(_episodes(e)).encode()).hexdigest(),
        "split": e.split,
        "seed": e.seed,
        "preset": asdict(e.preset),
        "thresholds": asdict(e.thresholds),
        "inverse": _inverse_digest(e),
        "chunk": e.world.chunk,
        "fps": e.world.config.fps,
        "sampling": asdict(e.world.config.sampling),
        "compute": e.world.compute.to_json(),
    }


@shielded
def run_parts(evaluation: Evaluation, parts: Mapping[str, EvaluationPart], only: Sequence[str]) -> dict[str, Any]:
    """Measure the parts named in ``only``, or take over what an earlier run of the same inputs kept in the folder.

    A part that was skipped is not kept: what it wants may be there the next time.

    Returns:
        Results by part, each with ``took_seconds``: of those parts, and of others that are kept there.
    """
    results: dict[str, Any] = {}
    weights = weights_digest(evaluation.world)
    for name in parts:
        key = part_digest(evaluation, parts[name], weights)
        kept = _kept(evaluation.folder, name, key)
        if kept is None and name not in only:
            continue
        if kept is None:
            began = time.monotonic()
            found, films = parts[name].run(evaluation)
            kept = {"key": key, "seconds": round(time.monotonic() - began, 1), "results": without_nan(found)}
            _forget(evaluation.folder, name)
            if "skipped" not in found:
                _keep(evaluation.folder, name, kept, films)
        results[name] = kept["results"] | {"took_seconds": kept["seconds"]}
    return results


def kept_parts(evaluation: Evaluation, parts: Mapping[str, EvaluationPart]) -> set[str]:
    """Names of the parts whose results, of the same inputs, the folder holds already."""
    weights = weights_digest(evaluation.world)
    keys = {name: part_digest(evaluation, part, weights) for name, part in parts.items()}
    return {name for name, key in keys.items() if _kept(evaluation.folder, name, key) is not None}


def without_nan(value: Any) -> Any:
    """Results as JSON can hold them: what is not a number is null."""
    if isinstance(value, dict):
        return {key: without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(member) for member in value]
    return None if isinstance(value, float) and value != value else value


def films_of(folder: Path, name: str) -> dict[str, NDArray[np.uint8]]:
    """The pictures that a part kept: uint8 (B, n, H, W, 3) by name."""
    path = folder / "parts" / f"{name}.npz"
    if not path.is_file():
        return {}
    with reading(path, "pictures that a part kept"), np.load(path, allow_pickle=False) as kept:
        return {key: kept[key] for key in kept.files}


def _kept(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    path = folder / "parts" / f"{name}.json"
    try:
        with reading(path, "results of a part"):
            kept = read_json(path)
            films_of(folder, name)
            return kept if kept.get("key") == key else None
    except (OSError, ValueError):
        return None


def _forget(folder: Path, name: str) -> None:
    for kind in ("json", "npz"):
        (folder / "parts" / f"{name}.{kind}").unlink(missing_ok=True)


def _keep(folder: Path, name: str, kept: dict[str, Any], films: Films) -> None:
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    pictures, aside = parts / f"{name}.npz", parts / f".{name}.npz"
    if films:
        with aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **dict(films))
        aside.replace(pictures)
    # Last: a part counts as done when its results are there.
    text = parts / f".{name}.json"
    text.write_text(json.dumps(kept))
    text.replace(parts / f"{name}.json")


def _episodes(e: Evaluation) -> list[str]:
    return [e.store.digest(name) for split in HELD_OUT for name in e.store.names(split)]


def _inverse_digest(e: Evaluation) -> str | None:
    return hashlib.sha256(e.inverse.read_bytes()).hexdigest() if e.inverse else None


def _heeded(world: WorldModel) -> dict[str, Any]:
    """A world's settings, without those that it does not heed."""
    config = asdict(world.config)
    if world.memory is None:
        config["sampling"] = {name: v for name, v in config["sampling"].items() if name not in BEFORE_MEMORY_HAD}
    return config


def _named_as_in_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {NAMES_IN_KEYS.get(name, name): _named_as_in_keys(member) for name, member in value.items()}
    return value
