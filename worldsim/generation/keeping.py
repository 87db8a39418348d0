"""What is kept of a film that is not finished, so that it goes on where it stopped, to the same bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.spec.damage import reading


@dataclass(frozen=True)
class Keeper:
    """Keeps tensors in one file, or nowhere.

    Attributes:
        path: of the file; None keeps nothing.
        every: steps between two times that are kept.
    """

    path: Path | None = None
    every: int = 16

    @property
    def left(self) -> bool:
        """Whether something is kept."""
        return self.path is not None and self.path.is_file()

    def load(self, stage: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a stage left, and what it said of it; nothing where another stage was kept, or none.

        Raises:
            ValueError: the file is damaged.
        """
        if self.path is None or not self.left:
            return {}, {}
        tensors, about = load_tensors(self.path)
        with reading(self.path, "an unfinished film"):
            return (tensors, about) if about["stage"] == stage else ({}, {})

    def save(self, stage: str, tensors: dict[str, Tensor], **about: Any) -> None:
        """Keep how far a stage is, in place of what was kept before."""
        if self.path is not None:
            save_tensors(self.path, tensors, {"stage": stage, **about})

    def clear(self) -> None:
        """Forget it: the film is finished."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
