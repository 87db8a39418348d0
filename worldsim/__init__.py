"""WorldSim: a learned, playable world simulator. Importing it registers its environments with Gymnasium."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worldsim.envs.registration import register_when_imported

if TYPE_CHECKING:
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
