"""What all episodes of a store have in common, and what a model of them must know: actions, picture size, rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.datasets.store.store import EpisodeStore
from worldsim.spec.actions import MINECRAFT, ActionSpec
from worldsim.spec.from_json import dataclass_of


@dataclass(frozen=True, kw_only=True)
class RecordingFormat:
    """Actions, picture size in pixels and frames a second of recordings."""

    spec: ActionSpec
    height: int
    width: int
    fps: int

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "RecordingFormat":
        """The inverse of ``dataclasses.asdict``.

        Raises:
            ValueError: a value is missing, unknown or of another type.
        """
        return dataclass_of(RecordingFormat, raw)


def recording_format(store: EpisodeStore, names: Sequence[str] | None = None) -> RecordingFormat:
    """The format that episodes of a store share, all of them unless some are named.

    Raises:
        ValueError: there is no episode, they differ, or one does not say what its actions are.
    """
    found: dict[tuple, str] = {}
    for name in store.names() if names is None else names:
        manifest = store.manifest(name)
        about = manifest["provenance"]
        keys = tuple(about["keys"]) if "keys" in about else None
        found.setdefault((keys, tuple(manifest["size"]), round(float(about.get("fps", 20)))), name)
    if not found:
        raise ValueError(f"no episodes in {store.url}")
    if len(found) > 1:
        (first, a), (second, b), *_ = found.items()
        what = next(w for w, x, y in zip(("actions", "picture sizes", "rates"), first, second, strict=True) if x != y)
        raise ValueError(
            f"episodes {a} and {b} of {store.url} differ in their {what}: choose with source=, or import them into a "
            "common form"
        )
    (keys, (width, height), fps), name = next(iter(found.items()))
    size = store.read(name, 0, 1).actions.shape[1]
    if keys is None:
        if size != MINECRAFT.size:
            raise ValueError(f"episode {name} of {store.url} does not say what its {size} action values are")
        keys = MINECRAFT.keys
    if size - len(keys) not in (0, 2):
        raise ValueError(f"episode {name} of {store.url} names {len(keys)} keys for {size} action values")
    return RecordingFormat(
        spec=ActionSpec(keys=keys, camera=size - len(keys) == 2), height=height, width=width, fps=fps
    )
