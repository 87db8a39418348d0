"""Who writes captions: one small interface, and the maker that needs no model."""

from collections.abc import Mapping
from typing import Any, Protocol

from worldsim.datasets.captions.clip_facts import clip_facts
from worldsim.datasets.captions.style import describe, expand
from worldsim.datasets.store.episode import Episode


class Captioner(Protocol):
    """Writes descriptive captions of clips.

    Attributes:
        maker: short name, part of a file name: ``rules``, ``learned``, ``endpoint``.
    """

    maker: str

    def about(self) -> Mapping[str, Any]:
        """What made the captions (model, settings), for their provenance; never a secret."""
        ...

    def caption(self, clip: Episode, seed: int) -> str:
        """The caption of a clip; ``seed`` chooses among phrasings."""
        ...


class Expander(Protocol):
    """Turns short prompts into the style of captions."""

    def expand(self, prompt: str, seed: int) -> str:
        """A descriptive prompt that keeps what the short one says."""
        ...


class RuleCaptioner:
    """Captions from engine state, events and actions, prompts by rules: offline and fast; says only what is known."""

    maker = "rules"

    def about(self) -> Mapping[str, Any]:
        """Version of the rules."""
        return {"rules": 1}

    def caption(self, clip: Episode, seed: int) -> str:
        """The caption of a clip."""
        return describe(clip_facts(clip), seed)

    def expand(self, prompt: str, seed: int) -> str:
        """A descriptive prompt; what the short one leaves open is chosen by the seed."""
        return expand(prompt, seed)
