"""Generated films as files: mp4, GIF or PNG, and beside each what it is and where it is from.

F video frames, H W pixels, A action vector.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import aside_of
from worldsim.datasets.governance.generated import write_sidecar
from worldsim.datasets.store.video import write_video
from worldsim.generation.request import Request
from worldsim.plotting.pictures import branches_in_grid, enlarge, save_gif, write_picture

Frames = NDArray[np.uint8]
Kind = Literal["mp4", "gif", "png"]
KINDS: tuple[Kind, ...] = ("mp4", "gif", "png")
# All films of a run side by side.
TOGETHER = "together"


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A generated film.

    Attributes:
        frames: uint8 (F, H, W, 3).
        actions: float32 (F - 1, A), those that lead from each frame to the next, nan where they are not known.
        recorded: (F,), which frames are those of a source, untouched.
        seed: of the noise.
        about: what its sidecar says, as plain JSON.
    """

    frames: Frames
    actions: NDArray[np.float32]
    recorded: NDArray[np.bool_]
    seed: int
    about: dict[str, Any]


def about_film(
    request: Request, frames: Frames, actions: NDArray[np.float32], recorded: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    """What there is to say of a film itself: which frames are recorded (from, to), what was pressed (null: unknown)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], recorded.astype(np.int8), [0]])))
    told = [None if np.isnan(row).any() else [round(float(x), 5) for x in row] for row in actions]
    return {
        **asdict(request),
        "seed": seed,
        "frames": len(frames),
        "size": [frames.shape[2], frames.shape[1]],
        "recorded": edges.reshape(-1, 2).tolist(),
        "actions_per_frame": told,
    }


def film_path(folder: Path, name: str, kind: Kind, frames: int) -> Path:
    """Where a film is written: a file, or for several pictures a folder of them."""
    return folder / (name if kind == "png" and frames > 1 else f"{name}.{kind}")


def write_film(path: Path, frames: Frames, *, kind: Kind, fps: float, scale: int = 1, exact: bool = False) -> Path:
    """Write a film whole or not at all; returns its path.

    Args:
        path: see ``film_path``.
        frames: uint8 (F, H, W, 3).
        kind: "png" is without loss, and of several frames a folder of numbered pictures.
        fps: frames a second.
        scale: pixels of the file per pixel of the world.
        exact: of an mp4: without loss.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    large = enlarge(frames, scale)
    if kind == "mp4":
        write_video(path, large, fps, exact=exact)
        return path
    aside = aside_of(path, path.suffix)
    if kind == "gif":
        from PIL import Image

        save_gif(aside, [Image.fromarray(frame) for frame in large], rate=fps)
    elif len(frames) == 1:
        write_picture(aside, large[0])
    else:
        for number, frame in enumerate(large):
            write_picture(aside / f"{number:05d}.png", frame)
        shutil.rmtree(path, ignore_errors=True)
    os.replace(aside, path)
    return path


def write_together(folder: Path, films: Sequence[Generated], *, kind: Kind, fps: float, scale: int) -> Path:
    """Write all films of a run side by side with their seeds; none is picked."""
    frames = np.stack([film.frames for film in films])
    grid = branches_in_grid(frames, [f"seed {film.seed}" for film in films], scale)
    return write_film(film_path(folder, TOGETHER, kind, len(grid)), grid, kind=kind, fps=fps)


def write_with_sidecar(folder: Path, film: Generated, *, kind: Kind, fps: float, scale: int, exact: bool) -> Path:
    """Write a film and, when it is whole, its sidecar: where that is, the film is finished."""
    name = f"seed-{film.seed}"
    path = write_film(
        film_path(folder, name, kind, len(film.frames)), film.frames, kind=kind, fps=fps, scale=scale, exact=exact
    )
    write_sidecar(folder / f"{name}.json", {**film.about, "file": path.name})
    return path
