"""What a world is and how it is sampled: plain values that travel in a checkpoint's metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldsim.spec.actions import ActionSpec
from worldsim.spec.from_json import dataclass_of

# Sampling settings of earlier versions, and their names now.
OLD_KEYS = {"fold": "reuse_last_eval_for_cache"}
# Settings that only a world with a memory heeds, and what it did before there were such settings.
BEFORE_MEMORY_HAD = {"noise_metres": 0.0, "inpaint_level": 0.0}


def renamed(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Saved sampling settings under the names of today."""
    return {OLD_KEYS.get(key, key): value for key, value in sampling.items()}


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How ``step`` denoises.

    Attributes:
        steps: network evaluations per latent frame.
        shortcut: give the network its step size (after shortcut training).
        reuse_last_eval_for_cache: write the cache in the last evaluation instead of in one more: a third faster,
            equally good.
        context_tau: signal level at which the past is written to the cache.
        guidance: 1 plain; above 1 pushes away from the prediction without an action.
        temperature: of the noise that a frame starts from. Below 1, a world trained with the energy score shows less of
            what is only possible and more of the mean: calmer, and blurred.
        noise_metres: where a spatial memory knows the camera, noise belongs to places, and this far apart it has
            nothing in common (``simulation.place_noise``); 0: noise is drawn anew for every frame.
        inpaint_level: where a spatial memory draws a part of the next picture, signal level of one more evaluation: it
            begins from the drawing, completed by what was generated, and fits the one to the other (as SDEdit and
            RePaint do); 0: none.
    """

    steps: int = 2
    shortcut: bool = False
    reuse_last_eval_for_cache: bool = True
    context_tau: float = 1.0
    guidance: float = 1.0
    temperature: float = 1.0
    noise_metres: float = 8.0
    inpaint_level: float = 0.7

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.shortcut and self.steps & (self.steps - 1):
            raise ValueError(f"shortcut sampling takes a power of two of steps, got {self.steps}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a number from 0 on, got {self.temperature}")
        if not 0 <= self.noise_metres < float("inf"):
            raise ValueError(f"noise_metres must be a number from 0 on, got {self.noise_metres}")
        if not 0 <= self.inpaint_level < 1:
            raise ValueError(f"inpaint_level must be in [0, 1), got {self.inpaint_level}")
        if not 0 < self.context_tau <= 1:
            raise ValueError(f"context_tau must be in (0, 1], got {self.context_tau}")


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """What a world is: its picture size in pixels, frame rate, actions and prompts."""

    height: int = 80
    width: int = 144
    fps: int = 20
    spec: ActionSpec
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.fps) < 1:
            raise ValueError(f"a world of {self.width}x{self.height} pixels at {self.fps} fps: all must be at least 1")

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "WorldConfig":
        """The inverse of ``dataclasses.asdict``.

        Raises:
            ValueError: a value is missing, unknown or wrong.
        """
        if not isinstance(raw, Mapping) or not isinstance(raw.get("sampling"), Mapping):
            raise ValueError("a world is an object of values with its sampling")
        return dataclass_of(WorldConfig, {**raw, "sampling": renamed(raw["sampling"])})
