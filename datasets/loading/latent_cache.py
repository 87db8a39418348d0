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
from collections import Counter
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


def stills_of(lengths: Any) -> Any:
    """Stills of an episode of so many latent frames; of several, of each."""
    return -(-lengths // STILL_EVERY)


def clip_starts(lengths: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """In how many places of each episode a clip of so many latent frames can begin: at its stills."""
    return np.maximum(0, stills_of(lengths - frames + 1))


class LatentRows:
    """Latents of episodes, one after another.

    Args:
        index: what they are of; with ``lengths``, in latent frames.
        arrays: by the names in ``ARRAYS``.
        text: sentence embedding of each episode's caption (episodes, X), or None.

    Raises:
        ValueError: an array has another number of rows than the episodes have.
    """

    def __init__(
        self, index: Mapping[str, Any], arrays: Mapping[str, NDArray], text: NDArray[np.float32] | None
    ) -> None:
        self.index, self.arrays, self.text = index, arrays, text
        self.lengths = np.array(index["lengths"], np.int64)
        self.begins = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)
        stills = stills_of(self.lengths)
        self.first_still = np.concatenate([[0], np.cumsum(stills)[:-1]]).astype(np.int64)
        rows = {name: int(self.lengths.sum()) for name in ROWS} | {"stills": int(stills.sum())}
        if short := [name for name, count in rows.items() if len(arrays[name]) != count]:
            raise ValueError(f"{len(arrays[short[0]])} rows of {short[0]}, not {rows[short[0]]}")

    def episode(self, row: int) -> dict[str, NDArray]:
        """All arrays of episode number ``row``."""
        begin, length, still = self.begins[row], self.lengths[row], self.first_still[row]
        out = {name: self.arrays[name][begin : begin + length] for name in ROWS}
        return out | {"stills": self.arrays["stills"][still : still + stills_of(length)]}


class LatentCache(LatentRows):
    """A finished folder of latents, mapped into memory.

    Raises:
        FileNotFoundError: the folder holds no latents.
        ValueError: they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"no latents in {folder}")
        with reading(folder, "a cache of latents"):
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
            text = np.load(folder / "text.npy") if (folder / "text.npy").is_file() else None
            super().__init__(dict(read_json(folder / "index.json")), arrays, text)
            if text is not None and not len(text) == len(self.index["texts"]) == len(self.lengths):
                raise ValueError(f"captions of {len(text)} episodes, not {len(self.lengths)}")

    def common_prompts(self, count: int = 64) -> tuple[list[str], NDArray[np.float32] | None]:
        """The most common captions and their embeddings (P, X); nothing where captions were not embedded."""
        if self.text is None:
            return [], None
        texts = self.index["texts"]
        chosen = [text for text, _ in Counter(t for t in texts if t).most_common(count)]
        return chosen, self.text[[texts.index(text) for text in chosen]]


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
