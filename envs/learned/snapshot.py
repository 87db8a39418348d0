"""A saved moment of an environment: restore it to go on from there, any number of times."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.simulation.config import OLD_KEYS
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

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


@lru_cache(maxsize=8)
def fingerprint(world: WorldModel) -> str:
    """Hash of a world's weights and configuration."""
    # Settings under their first names: snapshots of earlier versions belong to the same world.
    described = repr(world.config)
    for old, new in OLD_KEYS.items():
        described = described.replace(f"{new}=", f"{old}=")
    digest = hashlib.sha256(described.encode())
    for module in world.modules():
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def generator_at(state: dict[str, Any]) -> np.random.Generator:
    """A generator of Gymnasium's kind in a saved state."""
    generator, _ = seeding.np_random(0)
    generator.bit_generator.state = state
    return generator


def plain(value: Any) -> Any:
    """Generator state as JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
