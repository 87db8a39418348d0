"""A saved moment of an environment: restore it to go on from there, any number of times."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.simulation.state import WorldState

FORMAT = "worldsim-snapshot-1"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that an environment's future depends on.

    Taken, it shares memory with the environment, which leaves that memory alone from then on: its next step writes a
    copy of the key/value ring. So a snapshot costs nothing when taken, and one ring once somebody goes on.

    Attributes:
        state: the world's state, one row.
        frames: uint8 (r, H, W, 3), the frames shown last.
        elapsed: steps since the episode began.
        ended: whether the episode is over, terminated or truncated.
        start: number of the start clip, -1 for none.
        rng: state of the environment's random generator.
        world: fingerprint of the weights that it belongs to.
    """

    state: WorldState
    frames: NDArray[np.uint8]
    elapsed: int
    ended: bool
    start: int
    rng: dict[str, Any]
    world: str

    def nbytes(self) -> int:
        """Bytes that it keeps alive, at most."""
        return self.state.nbytes() + self.frames.nbytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one safetensors file with JSON metadata."""
        tensors = {f"state/{name}": t for name, t in self.state.tensors().items()}
        tensors["frames"] = torch.from_numpy(self.frames.copy())
        plain = {name: getattr(self, name) for name in ("elapsed", "ended", "start", "rng", "world")}
        save_tensors(Path(path), tensors, plain | {"format": FORMAT})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Snapshot":
        """Read a saved snapshot.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or no snapshot.
        """
        tensors, plain = load_tensors(Path(path))
        if plain.pop("format", None) != FORMAT or "frames" not in tensors:
            raise UserError(f"{path} is not a snapshot")
        frames = tensors.pop("frames").numpy()
        state = WorldState.from_tensors({name.removeprefix("state/"): t for name, t in tensors.items()})
        return Snapshot(state=state, frames=frames, **plain)
