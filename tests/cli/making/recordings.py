"""Recordings of a tiny game: a block that left and right move over a still ground, or a ground that slides."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.recording.recorder import Recorder
from worldsim.datasets.store.store import Split
from worldsim.datasets.store.video import write_video

KEYS = ("left", "right")


def play(frames: int, seed: int, size: tuple[int, int] = (32, 32)) -> tuple[NDArray[np.uint8], list[str]]:
    """Pictures and the key that is held at each."""
    rng, (width, height) = np.random.default_rng(seed), size
    ground = (
        np.random.default_rng(7).integers(60, 120, (height // 4, width // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    )
    x, pictures, held = width // 2, [], []
    for t in range(frames):
        picture = ground.copy()
        picture[height // 2 : height // 2 + 6, x : x + 6] = 250
        pictures.append(picture)
        held.append(str(rng.choice(["left", "right", ""])) if t % 4 == 0 else held[-1])
        x = int(np.clip(x + {"left": -2, "right": 2, "": 0}[held[-1]], 0, width - 6))
    return np.stack(pictures), held


def record(
    store: Path, split: Split | None, name: str, frames: int = 60, seed: int = 0, map_seed: int | None = None
) -> None:
    """One episode; ``map_seed``: as of a game with maps."""
    with Recorder(
        store, KEYS, fps=10, source="block", split=split, name=name, licence="CC0-1.0", seed=map_seed
    ) as recorder:
        for picture, key in zip(*play(frames, seed), strict=True):
            recorder.add(picture, [key] if key else [])


def record_store(store: Path) -> Path:
    """A store with all splits."""
    splits: tuple[Split, ...] = ("train", "train", "train", "validation", "test")
    for number, split in enumerate(splits):
        record(store, split, f"{split}{number}", seed=number)
    return store


def record_videos(folder: Path, count: int, size: tuple[int, int] = (64, 64), table: bool = True) -> Path:
    """Videos with tables of keys beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pictures, held = play(40, number, size)
        write_video(folder / f"part{number}.mp4", pictures)
        if table:
            with (folder / f"part{number}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerows(
                    [("frame", *KEYS), *((t, *(int(key == k) for k in KEYS)) for t, key in enumerate(held))]
                )
    return folder
