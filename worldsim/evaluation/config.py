"""Settings of an evaluation: how much is measured (presets) and what counts as what (thresholds)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


class _Checked:
    """Numbers have the type of their field, and none is negative."""

    def __post_init__(self) -> None:
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            value, wanted = getattr(self, field.name), field.type if field.type in (int, float) else None
            if wanted is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif isinstance(wanted, type) and (type(value) is not wanted or value < 0):
                raise ValueError(f"{field.name} must be a {wanted.__name__} of 0 or more, got {value!r}")


# What each part of an evaluation reads of the preset: other numbers leave its result as it is.
PRESET_OF = {
    "horizons": ("clips", "prefix", "chunks"),
    "actions": ("clips", "prefix", "chunks"),
    "forced": ("clips", "prefix", "chunks", "forced", "forced_samples"),
    "perceptual": ("perceptual", "prefix", "chunks"),
    "inverse": ("inverse_clips", "prefix", "chunks"),
    "branches": ("branch_starts", "prefix", "branch_chunks"),
    "memory": ("memory_starts", "memory_gaps", "prefix", "digs"),
    "objects": ("still_starts", "still_seconds", "prefix"),
    "obstacles": ("walks", "walk_seconds", "prefix"),
    "text": ("clips", "prefix", "chunks"),
    "long": ("long_starts", "long_seconds", "prefix"),
    "measures": (),
}


@dataclass(frozen=True, kw_only=True)
class EvalPreset(_Checked):
    """How much is measured.

    Attributes:
        clips: starts of horizon curves and of tests of single actions, drawn evenly over the maps of the split.
        prefix: frames of the past, 1 + r k.
        chunks: horizon of the curves.
        forced: places on the horizon at which the next chunk is also predicted from the true past.
        forced_samples: of each such chunk, whose mean picture is judged too.
        perceptual: clips on which ST-LPIPS is measured, at four horizons.
        long_starts, long_seconds: rollouts for drift.
        memory_starts: starts for looking away and returning.
        memory_gaps: chunks between leaving and returning.
        still_starts, still_seconds: rollouts in which nothing is done.
        digs: recorded digs that are looked away from.
        walks, walk_seconds: recorded walks of each kind, against something and free, and their length.
        branch_starts, branch_chunks: starts and length of counterfactual branches.
        inverse_clips: clips whose actions the inverse-dynamics model reads back.
    """

    clips: int
    prefix: int
    chunks: int
    forced: int
    forced_samples: int
    perceptual: int
    long_starts: int
    long_seconds: float
    memory_starts: int
    memory_gaps: tuple[int, ...]
    still_starts: int
    still_seconds: float
    digs: int
    walks: int
    walk_seconds: float
    branch_starts: int
    branch_chunks: int
    inverse_clips: int

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or negative, or there would be no past or no future.
        """
        super().__post_init__()
        object.__setattr__(self, "memory_gaps", tuple(int(g) for g in self.memory_gaps))
        if min(self.clips, self.prefix, self.chunks, self.forced_samples, *self.memory_gaps) < 1:
            raise ValueError("clips, prefix, chunks, forced_samples and memory_gaps must be at least 1")


@dataclass(frozen=True, kw_only=True)
class EvalGoals(_Checked):
    """What a world should reach; fixed in a file before training.

    Attributes:
        above_last_frame_chunks: for which dreams are better than repeating the last frame on average, at least.
        forced_below_tokenizer_db: of the next chunk after the true past, at most.
        tokenizer_db: PSNR of the tokenizer's own reconstruction, at least.
        camera, movement: share of sign tests passed, at least.
        shuffled: times the loss under true actions that under shuffled ones is, at least.
        camera_error: degrees a frame by which turns that are read back differ, at most.
        inverse_f1: of keys that are read back, as a share of the engine's own and between chance and that, at least.
        retrieval: share of counterfactual branches that are told apart, at least.
        effect: effect ratio, from and to.
        minutes: share of long rollouts without collapse, at least.
        fewer_steps: by which share ST-LPIPS of 2 sampling steps may be above that of 4, and of 4 above that of 32.
    """

    above_last_frame_chunks: int
    forced_below_tokenizer_db: float
    tokenizer_db: float
    camera: float
    movement: float
    shuffled: float
    camera_error: float
    inverse_f1: float
    retrieval: float
    effect: tuple[float, float]
    minutes: float
    fewer_steps: float

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or negative, or ``effect`` is not a range.
        """
        super().__post_init__()
        low, high = (float(bound) for bound in self.effect)
        if not 0 <= low <= high:
            raise ValueError(f"effect must go from a number of 0 or more to a larger one, got {list(self.effect)}")
        object.__setattr__(self, "effect", (low, high))


@dataclass(frozen=True, kw_only=True)
class EvalThresholds(_Checked):
    """What counts as a failure; fixed in a file before training.

    Attributes:
        failure_run: chunks in a row at or below repeating the last frame that end a rollout's horizon.
        turn_degrees: of the turn, a frame, in sign tests and when looking away.
        jump_ratio: how many times the recorded change between two chunks a dreamed change may be.
        jump_grey: mean absolute change (of 255) below which nothing is called a discontinuity.
        ignored_effect: share of the engine's own response to an action below which it counts as ignored.
        object_cells: neighbouring cells that must change together to count as one object.
        object_gain: factor of local contrast by which an appearing object's cell grows, a disappearing one's shrinks.
        object_contrast: local contrast (of 255) that a cell with something in it has.
        collapse_seconds: over which sharpness and colours are averaged; so long out of recorded play's is a collapse.
        collapse_false_alarms: share of recorded play's own futures that the bounds call a collapse.
        obstacle_share: of a free walk's distance, from which on an obstacle was walked through.
        memory_recall: share of what is remembered without looking away, below which identity is lost.
        persistence: share of a dug block's change that must be there on return.
        goals: what a world should reach; a mapping is taken too.
    """

    failure_run: int
    turn_degrees: float
    jump_ratio: float
    jump_grey: float
    ignored_effect: float
    object_cells: int
    object_gain: float
    object_contrast: float
    collapse_seconds: float
    collapse_false_alarms: float
    obstacle_share: float
    memory_recall: float
    persistence: float
    goals: EvalGoals

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or negative.
        """
        super().__post_init__()
        goals: Any = self.goals
        if isinstance(goals, Mapping):
            object.__setattr__(self, "goals", EvalGoals(**goals))
