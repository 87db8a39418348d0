"""Latents of a whole store, encoded once: what dynamics are trained on.

T latent frames, C channels, h w latent grid, r video frames per latent frame, A action size.

A folder of .npy arrays, one row per latent frame, episodes one after another: ``latents`` float16 (L, C, h, w),
``actions`` (L, r, A) that lead into each, ``motion`` (L, 5), ``terminated`` (L,); ``stills`` float16, the latent of a
standing picture for every ``STILL_EVERY``-th row of an episode; ``text`` (episodes, X) where captions were
embedded; and
``index.json``: what was encoded (names and digests of episodes), by which tokenizer.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.datasets.episode import Episode
from worldsim.datasets.store import EpisodeStore, Split

STILL_EVERY = 4
ROWS = ("latents", "actions", "motion", "terminated")
ARRAYS = (*ROWS, "stills")
POSE = {"position", "yaw", "pitch"}

Encode = Callable[[Tensor], Tensor]
Embed = Callable[[list[str]], Tensor]


def body_motion(position: NDArray, yaw: NDArray, pitch: NDArray) -> NDArray[np.float32]:
    """Motion (T - 1, 5) between successive poses: forward, right, up in metres; yaw, pitch in degrees.

    In the frame of the mean heading of each step, so that it inverts ``worldsim.pose.advance_pose``. Positions are
    (T, 3) with y up; at yaw 0 forward is +z and right is +x, yaw grows to the right.
    """
    turn = (np.diff(yaw) + 180) % 360 - 180
    heading = np.deg2rad(yaw[:-1] + turn / 2)
    dx, dy, dz = np.diff(position, axis=0).T
    forward = dx * np.sin(heading) + dz * np.cos(heading)
    right = dx * np.cos(heading) - dz * np.sin(heading)
    return np.stack([forward, right, dy, turn, np.diff(pitch)], 1).astype(np.float32)


def episode_rows(episode: Episode, chunk: int) -> dict[str, NDArray]:
    """Actions, motion and terminations per latent frame of an episode cut to 1 + r k frames; row 0 has none."""
    count = (len(episode) - 1) // chunk
    size = episode.actions.shape[1]
    actions = np.zeros((count + 1, chunk, size), np.float32)
    actions[1:] = episode.actions[: count * chunk].reshape(count, chunk, size)
    motion = np.zeros((count + 1, 5), np.float32)
    if set(episode.state) >= POSE:
        at = slice(0, count * chunk + 1, chunk)
        motion[1:] = body_motion(episode.state["position"][at], episode.state["yaw"][at], episode.state["pitch"][at])
    ended = episode.terminated[: count * chunk + 1]
    terminated = np.zeros(count + 1, np.float32)
    terminated[1:] = ended[1:].reshape(count, chunk).any(1)
    return {"actions": actions, "motion": motion, "terminated": terminated}


@torch.inference_mode()
def encode_episode(frames: NDArray[np.uint8], encode: Encode, chunk: int) -> dict[str, NDArray]:
    """Latents of frames (1 + r k, H, W, 3) and stills; ``encode`` maps uint8 chunks (1, T, r, H, W, 3) to latents."""
    video = torch.from_numpy(np.concatenate([np.repeat(frames[:1], chunk - 1, 0), frames]))
    chunks = video.unflatten(0, (-1, chunk))[None]
    stills = chunks[:, ::STILL_EVERY, -1:].expand(-1, -1, chunk, -1, -1, -1)
    parts = {"latents": chunks, "stills": stills}
    return {
        name: torch.cat([encode(x[:, i : i + 64])[0] for i in range(0, x.shape[1], 64)]).half().numpy()
        for name, x in parts.items()
    }


class LatentCache:
    """A finished folder of latents, mapped into memory.

    Raises:
        FileNotFoundError: the folder holds no latents.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"no latents in {folder}")
        self.index: dict[str, Any] = json.loads((folder / "index.json").read_text())
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self.text = np.load(folder / "text.npy") if (folder / "text.npy").is_file() else None
        self.lengths = np.array(self.index["lengths"], np.int64)
        self.begins = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)
        stills = -(-self.lengths // STILL_EVERY)
        self.first_still = np.concatenate([[0], np.cumsum(stills)[:-1]]).astype(np.int64)

    def episode(self, row: int) -> dict[str, NDArray]:
        """All arrays of episode number ``row``."""
        begin, length, still = self.begins[row], self.lengths[row], self.first_still[row]
        out = {name: self.arrays[name][begin : begin + length] for name in ROWS}
        return out | {"stills": self.arrays["stills"][still : still + -(-length // STILL_EVERY)]}


def is_current(folder: Path, store: EpisodeStore, names: Iterable[str], tokenizer: str) -> bool:
    """Whether ``folder`` holds exactly these episodes, as they are now and as this tokenizer encodes them."""
    cache, kept = _reusable(folder, store, tokenizer)
    return cache is not None and set(names) == kept.keys() and len(kept) == len(cache.lengths)


def build_latents(
    store: EpisodeStore,
    split: Split,
    folder: Path,
    encode: Encode,
    chunk: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    embed: Embed | None = None,
    tokenizer: str = "",
    wanted: Iterable[str] | None = None,
) -> None:
    """Encode a split of a store into ``folder``, written aside and renamed when whole.

    What the folder holds already, encoded by the same tokenizer, is taken over, as far as it is in the store as it was.

    Args:
        store: where the episodes are.
        split: which of them.
        folder: receives the arrays; replaced.
        encode: maps uint8 chunks (1, T, r, H, W, 3) to latents.
        chunk: r.
        progress: called with episodes done and in all.
        embed: maps captions to sentence embeddings.
        tokenizer: digest of the tokenizer behind ``encode``.
        wanted: names of the episodes to encode; default: the whole split.

    Raises:
        ValueError: there are no episodes to encode.
    """
    names = store.names(split) if wanted is None else sorted(wanted)
    if not names:
        raise ValueError(f"no {split} episodes in {store.path}")
    cache, kept = _reusable(folder, store, tokenizer)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        lengths, flags, texts = [], {"known": [], "posed": []}, []
        with _Writer(aside) as writer:
            for done, name in enumerate(names):
                if cache is not None and name in kept:
                    arrays = cache.episode(kept[name])
                else:
                    arrays = _encoded(store, name, encode, chunk)
                writer.add(arrays)
                lengths.append(len(arrays["latents"]))
                manifest = store.manifest(name)
                flags["known"].append(manifest["provenance"].get("actions", "recorded") != "unknown")
                flags["posed"].append({f"state/{key}" for key in POSE} <= set(manifest["arrays"]))
                texts.append(str(manifest["text"]))
                progress(done + 1, len(names))
        if embed is not None:
            unique = sorted(set(texts))
            vectors = embed(unique).numpy().astype(np.float32)
            np.save(aside / "text.npy", vectors[[unique.index(t) for t in texts]])
        about = {"digests": [store.digest(name) for name in names], "chunk": chunk, "tokenizer": tokenizer}
        index = {"names": names, "lengths": lengths, "texts": texts, **about, **flags}
        (aside / "index.json").write_text(json.dumps(index))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _reusable(folder: Path, store: EpisodeStore, tokenizer: str) -> tuple[LatentCache | None, dict[str, int]]:
    """The present cache if the same tokenizer made it, and the rows of its episodes that are in the store as they were.

    A cache that does not say what its episodes held (older versions' did not) is made anew.
    """
    if not (folder / "index.json").is_file():
        return None, {}
    cache = LatentCache(folder)
    if cache.index.get("tokenizer") != tokenizer or "digests" not in cache.index:
        return None, {}
    rows = enumerate(zip(cache.index["names"], cache.index["digests"], strict=True))
    return cache, {name: row for row, (name, digest) in rows if name in store and store.digest(name) == digest}


def _encoded(store: EpisodeStore, name: str, encode: Encode, chunk: int) -> dict[str, NDArray]:
    episode = store.read(name)
    rows = episode_rows(episode, chunk)
    used = len(rows["actions"])
    return rows | encode_episode(episode.frames[: 1 + chunk * (used - 1)], encode, chunk)


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
