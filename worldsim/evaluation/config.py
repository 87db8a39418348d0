"""Settings of an evaluation, composed of those of its parts: how much is measured, and what counts as what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from worldsim.evaluation.interface.settings import PRESETS as NAMES
from worldsim.evaluation.interface.settings import SharedSettings, compose
from worldsim.evaluation.listing import PARTS

_Preset = compose(
    "_Preset", "How much is measured, by all parts.", [SharedSettings, *(part.settings for part in PARTS.values())]
)
_Goals = compose("_Goals", "What a world should reach, by all parts.", [part.goals for part in PARTS.values()])
_Thresholds = compose(
    "_Thresholds", "What counts as a failure, by all parts.", [part.thresholds for part in PARTS.values()]
)


class EvalPreset(_Preset):
    """How much is measured. Each field belongs to a part, or to ``SharedSettings`` where several parts read it."""


class EvalGoals(_Goals):
    """What a world should reach. Each field belongs to a part."""


@dataclass(frozen=True, kw_only=True)
class EvalThresholds(_Thresholds):
    """What counts as a failure. Each field belongs to a part.

    Attributes:
        goals: what a world should reach; a mapping is taken too.
    """

    goals: EvalGoals = field(default_factory=EvalGoals)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or negative.
        """
        super().__post_init__()
        if isinstance(self.goals, Mapping):
            object.__setattr__(self, "goals", EvalGoals(**self.goals))


# The presets by name: each part says how much of it is measured in each.
PRESETS: Mapping[str, EvalPreset] = {
    name: EvalPreset(**{one.name: one.metadata[name] for one in fields(EvalPreset)}) for name in NAMES
}
