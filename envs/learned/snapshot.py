"""A saved moment of an environment: restore it to go on from there, any number of times."""

import hashlib
import os
import re
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
from worldsim.models.precision import rounded_names
from worldsim.simulation.config import BEFORE_MEMORY_HAD, OLD_KEYS
from worldsim.simulation.state import WorldState
from worldsim.simulation.state_schema import check_finite, check_tensors, kinds_of
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.damage import reading

FORMAT = "worldsim-snapshot-1"
# Beyond what a counter of 64 bits holds.
MOST = 2**63


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
        tensors, told = load_tensors(Path(path))
        if told.pop("format", None) != FORMAT or "frames" not in tensors:
            raise UserError(f"{path} is not a snapshot")
        with reading(path, "a snapshot", UserError):
            frames = tensors.pop("frames").numpy()
            state = WorldState.from_tensors({name.removeprefix("state/"): t for name, t in tensors.items()})
            moment = Snapshot(state=state, frames=frames, **told)
            check_plain(moment)
            # Once, of what comes from a file: a restore is to cost nothing.
            check_finite(state.tensors())
        return moment


def check_plain(moment: Snapshot) -> None:
    """Whether all of a snapshot but its state is of the right type.

    Raises:
        ValueError: something is not; says what.
    """
    whole = {name: getattr(moment, name) for name in ("elapsed", "start")}
    if wrong := [name for name, value in whole.items() if type(value) is not int or not -1 <= value < MOST]:
        raise ValueError(f"{wrong[0]} must be a whole number below 2**63, got {whole[wrong[0]]!r:.60}")
    if moment.elapsed < 0 or type(moment.ended) is not bool or not isinstance(moment.world, str):
        raise ValueError(f"elapsed {moment.elapsed}, ended {moment.ended!r:.60}, world {moment.world!r:.60}")
    generator_at(moment.rng)


def check_fits(moment: Snapshot, world: WorldModel, where: str = "the snapshot") -> None:
    """Whether an environment of a world can go on from a snapshot.

    Raises:
        UserError: it belongs to another world, or is damaged.
    """
    # Earlier snapshots say in which number format the world was.
    if moment.world != fingerprint(world, portable=True) and moment.world != fingerprint(world):
        raise UserError(f"{where} belongs to another world: load the checkpoint that it was taken in")
    config = world.config
    shape = (world.chunk, config.height, config.width, 3)
    if moment.frames.shape != shape or moment.frames.dtype != np.uint8 or moment.state.batch != 1:
        found = f"{moment.state.batch} rows, frames {moment.frames.dtype} {moment.frames.shape}"
        raise UserError(f"{where} is damaged: a row with frames uint8 {shape} is needed, got {found}")
    grid = world.tokenizer.latent_grid(config.height, config.width)
    with reading(where, "one of this world", UserError):
        check_plain(moment)
        if (moment.state.memory is None) != (world.memory is None):
            raise ValueError(f"{where}: its spatial memory is missing, or one too many")
        if moment.state.memory is not None and world.memory is not None:
            moment.state.memory.check_fits(config.height, config.width, world.memory.motion.initial(1).shape[1])
        check_tensors(moment.state.network_tensors(), kinds_of(world.dit, world.tokenizer, grid), where)


@lru_cache(maxsize=8)
def fingerprint(world: WorldModel, *, portable: bool = False) -> str:
    """Hash of a world's weights and configuration.

    ``portable``: the same in whichever number format it computes, which differs between devices: of the layers that may
    be held in bf16, what bf16 holds.
    """
    # Settings under their first names: snapshots of earlier versions belong to the same world.
    described = repr(world.config)
    for old, new in OLD_KEYS.items():
        described = described.replace(f"{new}=", f"{old}=")
    # As before there were such settings: how a memory helps the sampler does not make it another world.
    for name in BEFORE_MEMORY_HAD:
        described = re.sub(rf", {name}=[^,)]*", "", described)
    digest = hashlib.sha256(described.encode())
    for module in world.modules():
        rounded = rounded_names(module) if portable else frozenset()
        for name, tensor in sorted(module.state_dict().items()):
            held = (tensor.bfloat16() if name in rounded else tensor).detach().cpu().contiguous()
            digest.update(name.encode())
            digest.update(held.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def generator_at(state: dict[str, Any]) -> np.random.Generator:
    """A generator of Gymnasium's kind in a saved state.

    Raises:
        ValueError: it is no such state.
    """
    generator, _ = seeding.np_random(0)
    with reading("the generator's state", "one of PCG64"):
        generator.bit_generator.state = state
        # NumPy takes numbers that it cannot have saved.
        if plain(generator.bit_generator.state) != state:
            raise ValueError("the generator's state is not one that was saved")
    return generator


def plain(value: Any) -> Any:
    """Generator state as JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
