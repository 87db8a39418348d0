"""Latents of a whole store, encoded once: what dynamics are trained on.

T latent frames, C channels, h w latent grid, r video frames per latent frame, A action size.

A folder of .npy arrays, one row per latent frame, episodes one after another: ``latents`` float16 (L, C, h, w),
``actions`` (L, r, A) that lead into each, ``motion`` (L, 5), ``terminated`` (L,); ``stills`` float16, the latent of a
standing picture for every ``STILL_EVERY``-th row of an episode; ``text`` (episodes, X) where captions were
embedded; and ``index.json``: what was encoded, by which tokenizer, and what training has to know of the recordings, so
that a cache can be trained on where its store is not.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import aside_of
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

STILL_EVERY = 4
ROWS = ("latents", "actions", "motion", "terminated")
ARRAYS = (*ROWS, "stills")


class LatentCache:
    """A finished folder of latents, mapped into memory.

    Raises:
        FileNotFoundError: the folder holds no latents.
        ValueError: they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"no latents in {folder}")
        with reading(folder, "a cache of latents"):
            self.index: dict[str, Any] = dict(read_json(folder / "index.json"))
            self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
            self.text = np.load(folder / "text.npy") if (folder / "text.npy").is_file() else None
            self.lengths = np.array(self.index["lengths"], np.int64)
            self.begins = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)
            stills = -(-self.lengths // STILL_EVERY)
            self.first_still = np.concatenate([[0], np.cumsum(stills)[:-1]]).astype(np.int64)
            rows = {name: int(self.lengths.sum()) for name in ROWS} | {"stills": int(stills.sum())}
            if short := [name for name, count in rows.items() if len(self.arrays[name]) != count]:
                raise ValueError(f"{len(self.arrays[short[0]])} rows of {short[0]}, not {rows[short[0]]}")

    def episode(self, row: int) -> dict[str, NDArray]:
        """All arrays of episode number ``row``."""
        begin, length, still = self.begins[row], self.lengths[row], self.first_still[row]
        out = {name: self.arrays[name][begin : begin + length] for name in ROWS}
        return out | {"stills": self.arrays["stills"][still : still + -(-length // STILL_EVERY)]}


def write_cache(
    folder: Path, episodes: Iterable[Mapping[str, NDArray]], index: Mapping[str, Any], text: NDArray[np.float32] | None
) -> None:
    """Write a latent cache aside and rename it when it is whole.

    Args:
        folder: receives the arrays; replaced.
        episodes: arrays of each, by the names in ``ARRAYS``.
        index: what else there is to say; ``lengths`` is added.
        text: sentence embedding of each episode's caption (episodes, X), or None.

    Raises:
        ValueError: episodes differ in the shape of an array.
    """
    aside = aside_of(folder)
    aside.mkdir(parents=True)
    try:
        lengths = []
        with _Writer(aside) as writer:
            for arrays in episodes:
                writer.add(arrays)
                lengths.append(len(arrays["latents"]))
        if text is not None:
            np.save(aside / "text.npy", text)
        (aside / "index.json").write_text(json.dumps({**index, "lengths": lengths}))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Writer(ExitStack):
    """Appends rows to raw files, and turns them into .npy files at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.files = {name: self.enter_context((folder / f"{name}.raw").open("wb")) for name in ARRAYS}
        self.shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}

    def add(self, arrays: Mapping[str, NDArray]) -> None:
        """Append the rows of one episode.

        Raises:
            ValueError: their shape differs from that of the episodes before.
        """
        for name, value in arrays.items():
            shape = value.shape[1:], value.dtype
            if self.shapes.setdefault(name, shape) != shape:
                raise ValueError(f"episodes differ in the shape of their {name}: {self.shapes[name][0]}, {shape[0]}")
            self.files[name].write(np.ascontiguousarray(value).tobytes())

    def __exit__(self, kind: Any, *rest: Any) -> bool | None:
        result = super().__exit__(kind, *rest)
        for name, (shape, dtype) in self.shapes.items() if kind is None else ():
            raw = np.memmap(self.folder / f"{name}.raw", dtype, "r").reshape(-1, *shape)
            out = np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, raw.shape)
            for i in range(0, len(raw), 4096):
                out[i : i + 4096] = raw[i : i + 4096]
            out.flush()
            (self.folder / f"{name}.raw").unlink()
        return result
