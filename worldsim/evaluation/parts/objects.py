"""Objects that come and go by themselves while nobody does anything.

B rollouts, F pictures, h w cells, H W pixels. A cell is 8x8 pixels; what it holds shows in its local contrast.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from worldsim.errors import UserError
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.lines import Line, line, number
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.clips import draw_clips, stands_after
from worldsim.evaluation.measures.metrics import cells
from worldsim.evaluation.measures.recorded import WINDOWS
from worldsim.evaluation.measures.rollouts import all_held, held
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Results

Frames = NDArray[np.uint8]
# Frames over which things that come and go are counted: recorded players seldom stand still for longer.
STILL = 10
GONE, NEW = "disappearance", "spontaneous object"


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    still_starts: int = amount(quick=6, full=28, help="rollouts in which nothing is done")
    still_seconds: float = amount(quick=3.0, full=3.0, help="length of rollouts in which nothing is done, in seconds")
    prefix: int


@dataclass(frozen=True, kw_only=True)
class Thresholds(Checked):
    """What counts as an object that comes or goes."""

    object_cells: int = limit(2, "neighbouring cells of 8x8 pixels that must change together to count as one object")
    object_gain: float = limit(
        3.0, "factor of local contrast by which an appearing object's cell grows, a disappearing one's shrinks"
    )
    object_contrast: float = limit(
        8.0, "local contrast (standard deviation of grey values) that a cell with something in it has"
    )


def object_changes(first: Frames, later: Frames, limits: Thresholds) -> tuple[int, int]:
    """How many objects appeared and disappeared between pictures (H, W, 3) of one standing view.

    An object is ``object_cells`` neighbouring cells that change together: appeared, from next to nothing in them to
    ``object_contrast`` and more; disappeared, the other way round. Contrast is compared in units of the whole
    picture's, so that a picture that blurs all over does not count as many objects lost.
    """
    before, after = cells(np.stack([first, later]))
    full = before >= limits.object_contrast
    # How much contrast is left where there was some: the picture's own blur.
    left = float(np.median(after[full] / before[full])) if full.any() else 1.0
    # A picture that is all blur has lost its view, not one object: that is collapse.
    fair = after / np.clip(left, 0.25, 1.0)
    appeared = (before < limits.object_contrast / limits.object_gain) & (after >= limits.object_contrast)
    vanished = full & (fair < before / limits.object_gain)
    return _clusters(appeared, limits.object_cells), _clusters(vanished, limits.object_cells)


def object_counts(first: Frames, chunks: Frames, limits: Thresholds) -> NDArray[np.int64]:
    """Objects appeared and disappeared (B, 2) by the end of rollouts (B, K, H, W, 3) that started at (B, H, W, 3).

    Counted where they last: the smaller count of two pictures, the last and the one a sixth of the time earlier.
    """
    late = (chunks.shape[1] - 1, max(0, chunks.shape[1] - 1 - max(1, chunks.shape[1] // 6)))
    counts = [[object_changes(a, row[k], limits) for k in late] for a, row in zip(first, chunks, strict=True)]
    return np.array(counts).min(1)


def windowed_counts(first: Frames, chunks: Frames, width: int, limits: Thresholds) -> NDArray[np.int64]:
    """Objects appeared and disappeared (B, 2) in successive windows of ``width`` chunks, summed.

    A rate depends on the length over which changes are counted, since those that do not last cancel out: rates that are
    compared are counted over windows of one length.
    """
    shown = np.concatenate([first[:, None], chunks], 1)
    windows = range(0, chunks.shape[1] - width + 1, width)
    return np.sum([object_counts(shown[:, t], shown[:, t + 1 : t + 1 + width], limits) for t in windows], axis=0)


def object_report(counts: NDArray[np.int64], frames: int, maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Rates per 100 frames of doing nothing, and the share of rollouts with any."""
    per_hundred = counts * 100 / frames
    return {
        "starts": len(counts),
        "frames": frames,
        "appeared_per_100_frames": estimate_by_start(per_hundred[:, 0], maps, seed),
        "disappeared_per_100_frames": estimate_by_start(per_hundred[:, 1], maps, seed),
        "rollouts_with_appearance": estimate(counts[:, 0] > 0, maps, seed=seed),
        "rollouts_with_disappearance": estimate(counts[:, 1] > 0, maps, seed=seed),
        "per_start": counts.tolist(),
    }


def _clusters(changed: NDArray[np.bool_], least: int) -> int:
    numbered = np.empty(changed.shape, np.int32)
    label(changed, output=numbered)
    return int((np.bincount(numbered.ravel())[1:] >= least).sum())


class Objects(EvaluationPart):
    """Doing nothing: what comes and goes by itself."""

    name = "objects"
    settings, thresholds = Settings, Thresholds
    failures: ClassVar = {
        GONE: "while nothing is done, {object_cells} or more neighbouring 8x8 cells lose their local contrast by a "
        "factor of {object_gain:g} (in units of the whole picture's)",
        NEW: "while nothing is done, {object_cells} or more neighbouring 8x8 cells that were nearly even come to a "
        "local contrast of {object_contrast:g} and {object_gain:g} times what they had",
    }

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Do nothing for some seconds where the player stood."""
        p, limits = Settings.of(e.preset), Thresholds.of(e.thresholds)
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
        report["recorded"] = _recorded_objects(e, limits, width * e.world.chunk)
        picked = np.linspace(0, chunks - 1, 7).astype(int)
        film = np.concatenate([first[:, None], lasts[:, picked]], 1)
        report["failures"], films = {}, {}
        for column, kind in ((1, GONE), (0, NEW)):
            found = Failures(severity=counts[:, column].astype(float), failed=counts[:, column] > 0, maps=clips.maps)
            report["failures"][kind] = failure_entry(self.definition(kind, limits), found, e.seed)
            films[kind] = film[report["failures"][kind]["gallery"]]
        return report, films

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """Rates, beside those of recorded play."""
        real = found["recorded"]
        for word in ("appeared", "disappeared"):
            key = f"{word}_per_100_frames"
            beside = "" if "skipped" in real else f"recorded {number(real[key]['value'])}"
            yield line(f"objects that {word} by themselves, per 100 frames", found[key], beside=beside)


def _recorded_objects(e: Evaluation, limits: Thresholds, ahead: int) -> Results:
    """The same counts in a window of ``ahead`` frames of recorded play: the floor of the measure."""
    try:
        clips = draw_clips(e.store, e.split, WINDOWS, 1 + ahead, e.seed + 3, stands_after(1, ahead, 1))
    except UserError as error:
        return {"skipped": str(error)}
    counts = object_counts(clips.frames[:, 0], clips.frames[:, e.world.chunk :: e.world.chunk], limits)
    return object_report(counts, ahead, clips.maps, e.seed)
