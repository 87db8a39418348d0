"""An evaluation as a list of parts: each is measured once, kept, and taken over when an evaluation goes on.

A part's key is made of all that decides its result: the weights, the clips, its part of the preset, the thresholds, the
seed.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.eval_clips import Clips, draw_clips
from worldsim.agents.eval_settings import PRESET_OF, EvalPreset, EvalThresholds
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.models.text import encoder_installed
from worldsim.simulation.world_model import WorldModel

# Raised when a part's meaning changes, so that older results are not taken over.
VERSION = 3
# The same for parts that came to measure more: results of other parts are still taken over.
REVISIONS = {"text": 1}
# Splits of maps that nothing is trained on.
HELD_OUT: tuple[Split, ...] = ("validation", "test")
Films = dict[str, NDArray[np.uint8]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated, on what, how much, and where results go.

    Attributes:
        world: to be judged.
        store: recorded play.
        split: of maps never trained on.
        preset: how much is measured.
        thresholds: what counts as a failure.
        seed: of clips, noise and resampling.
        folder: of the run.
        branches: folder of the engine's counterfactual branches, which other evaluations share.
        inverse: file of the inverse-dynamics model, or None.
        rows: side by side in one forward pass.
        progress: told the stage, how much is done, and of how much.
    """

    world: WorldModel
    store: EpisodeStore
    split: Split
    preset: EvalPreset
    thresholds: EvalThresholds
    seed: int
    folder: Path
    branches: Path
    inverse: Path | None = None
    rows: int = 8
    progress: Progress = field(default=lambda *_: None)

    def weights(self) -> str:
        """Digest of the world's weights, and of the captions that ship with it."""
        out = hashlib.sha256()
        for module in (self.world.tokenizer, self.world.dit):
            for name, tensor in sorted(module.state_dict().items()):
                out.update(name.encode())
                out.update(tensor.float().numpy().tobytes())
        out.update(self.world.prompt_embeddings.float().numpy().tobytes())
        return out.hexdigest()

    def digest(self, part: str, weights: str) -> str:
        """Names a part's result: equal for equal inputs."""
        inputs = {
            "version": VERSION,
            "part": part,
            "weights": weights,
            "world": asdict(self.world.config),
            "bf16": self.world.bf16,
            "episodes": self._held_out(),
            "split": self.split,
            "preset": {name: getattr(self.preset, name) for name in PRESET_OF[part]},
            # Goals judge what was measured; they do not change it.
            "thresholds": {name: value for name, value in asdict(self.thresholds).items() if name != "goals"},
            "seed": self.seed,
            "rows": self.rows,
            "inverse": self._inverse_digest(),
        }
        if part in REVISIONS:
            inputs["revision"] = REVISIONS[part]
        if part == "text":
            # Sentences that do not ship with the world are told only where they can be embedded.
            inputs["encoder"] = encoder_installed()
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()

    def about(self) -> dict[str, Any]:
        """What two evaluations must have in common to be compared, how the world is played, and what it has cost."""
        return {
            "version": VERSION,
            "revisions": REVISIONS,
            "data": self.store.url,
            "episodes": hashlib.sha256(json.dumps(self._held_out()).encode()).hexdigest(),
            "split": self.split,
            "seed": self.seed,
            "preset": asdict(self.preset),
            "thresholds": asdict(self.thresholds),
            "inverse": self._inverse_digest(),
            "chunk": self.world.chunk,
            "fps": self.world.config.fps,
            "sampling": asdict(self.world.config.sampling),
            "compute": self.world.compute.to_json(),
        }

    def _held_out(self) -> list[str]:
        return [self.store.digest(name) for split in HELD_OUT for name in self.store.names(split)]

    def _inverse_digest(self) -> str | None:
        return hashlib.sha256(self.inverse.read_bytes()).hexdigest() if self.inverse else None


def clips_of(e: Evaluation, count: int | None = None) -> Clips:
    """The clips of the horizon curves, or the first ``count`` of a smaller draw."""
    frames = e.preset.prefix + e.preset.chunks * e.world.chunk
    # An odd number of frames, 1 + r k, so that whole clips can be encoded too.
    frames += (1 - frames) % e.world.chunk
    return draw_clips(e.store, e.split, count or e.preset.clips, frames, e.seed)


Part = Callable[[Evaluation], tuple[dict[str, Any], Films]]


def run_parts(evaluation: Evaluation, parts: dict[str, Part], only: Sequence[str]) -> dict[str, Any]:
    """Measure the parts named in ``only``, or take over what an earlier run of the same inputs kept in the folder.

    A part that was skipped is not kept: what it wants may be there the next time.

    Returns:
        Results by part, each with ``took_seconds``: of those parts, and of others that are kept there.
    """
    results: dict[str, Any] = {}
    weights = evaluation.weights()
    for name in parts:
        key = evaluation.digest(name, weights)
        kept = _kept(evaluation.folder, name, key)
        if kept is None and name not in only:
            continue
        if kept is None:
            began = time.monotonic()
            found, films = parts[name](evaluation)
            kept = {"key": key, "seconds": round(time.monotonic() - began, 1), "results": without_nan(found)}
            _forget(evaluation.folder, name)
            if "skipped" not in found:
                _keep(evaluation.folder, name, kept, films)
        results[name] = kept["results"] | {"took_seconds": kept["seconds"]}
    return results


def without_nan(value: Any) -> Any:
    """Results as JSON can hold them: what is not a number is null."""
    if isinstance(value, dict):
        return {key: without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(member) for member in value]
    return None if isinstance(value, float) and value != value else value


def films_of(folder: Path, name: str) -> Films:
    """The pictures that a part kept: uint8 (B, n, H, W, 3) by name."""
    path = folder / "parts" / f"{name}.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        return {key: kept[key] for key in kept.files}


def _kept(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    path = folder / "parts" / f"{name}.json"
    try:
        kept = json.loads(path.read_text())
        films_of(folder, name)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return kept if kept.get("key") == key else None


def _forget(folder: Path, name: str) -> None:
    for kind in ("json", "npz"):
        (folder / "parts" / f"{name}.{kind}").unlink(missing_ok=True)


def _keep(folder: Path, name: str, kept: dict[str, Any], films: Films) -> None:
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    pictures, aside = parts / f"{name}.npz", parts / f".{name}.npz"
    if films:
        with aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **films)
        aside.replace(pictures)
    # Last: a part counts as done when its results are there.
    text = parts / f".{name}.json"
    text.write_text(json.dumps(kept))
    text.replace(parts / f"{name}.json")
