"""WorldSim: a learned, playable world simulator. Importing it registers its environments with Gymnasium."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worldsim.envs.registration import register_when_imported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worldsim.generation.films import Generated
    from worldsim.generation.request import Operation
    from worldsim.simulation.world_model import WorldModel

# OpenMP threads that wait for each other spin. Beside other programs a step of two threads then takes four to ten times
# as long. libgomp reads this variable when PyTorch is loaded; what the user has set stands.
if "torch" not in sys.modules:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"

ASSETS = Path(__file__).resolve().parent / "assets"


def load(name: str | Path = "minecraft", *, bf16: bool | None = None, device: str = "cpu") -> "WorldModel":
    """Load a world by the name of a shipped one ("minecraft") or by its checkpoint folder.

    Args:
        name: which world.
        bf16: matrix products in bf16; default: on GPUs, and on CPUs that are fast at it.
        device: "cpu", or "cuda" for a GPU.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: the checkpoint is damaged, or there is no such device.
    """
    from worldsim.simulation.world_model import WorldModel

    return WorldModel.load(world_folder(name), bf16=bf16, device=device)


def generate(
    source: "str | Path | NDArray[np.uint8] | None" = None,
    to: "str | Path | NDArray[np.uint8] | None" = None,
    *,
    world: "str | Path | WorldModel" = "minecraft",
    operation: "Operation" = "new",
    prompt: str = "",
    seconds: float = 2.0,
    before: float = 0.0,
    strength: float = 0.5,
    actions: "str | NDArray[np.float32] | None" = None,
    size: tuple[int, int] | None = None,
    seeds: Sequence[int] = (0,),
    device: str | None = None,
) -> "list[Generated]":
    """Films from text alone, a picture or a video; extended, looped, joined, edited. One a seed; none is picked.

    Args:
        source: a start clip's number, a picture, a video, STORE:EPISODE[@FRAME], or frames uint8 (F, H, W, 3).
        to: the second film of "join", likewise.
        world: a shipped world's name, a checkpoint folder, or a loaded world.
        operation: "new", "extend", "loop", "join" or "edit".
        prompt: text condition.
        seconds: of film after the source, or in between.
        before: seconds of film before the source ("extend").
        strength: of "edit": 1 keeps nothing of the frames.
        actions: what is done meanwhile: a file, a script, or float32 (N, A).
        size: width and height in pixels, multiples of 16; default: the world's own.
        seeds: of the noise, one film each.
        device: "cpu" or "cuda"; default: the CPU, or where a loaded world is.

    Raises:
        FileNotFoundError: there is no such world or source.
        ValueError: something does not fit, or the world was not trained for what is asked.
    """
    from worldsim.generation.run import generate

    return generate(
        source, to, world=world, operation=operation, prompt=prompt, seconds=seconds, before=before, strength=strength,
        actions=actions, size=size, seeds=seeds, device=device,
    )  # fmt: skip


def world_folder(name: str | Path) -> Path:
    """The folder of a shipped world, or the checkpoint folder that was named.

    Raises:
        FileNotFoundError: there is neither.
    """
    folder = ASSETS / name if (ASSETS / name).is_dir() else Path(name).absolute()
    if not folder.is_dir():
        shipped = ", ".join(sorted(p.name for p in ASSETS.iterdir() if p.is_dir())) or "none"
        raise FileNotFoundError(f"no world {str(name)!r}: give a checkpoint folder or a shipped world ({shipped})")
    return folder


register_when_imported()
