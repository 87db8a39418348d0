"""Latents of a whole store, encoded once and mapped into memory, and the clips that dynamics are trained on.

T latent frames, C channels, h w latent grid, r video frames per latent frame, A action size.

A folder of .npy arrays, one row per latent frame, episodes one after another: ``latents`` float16 (L, C, h, w),
``actions`` (L, r, A) that lead into each, ``motion`` (L, 5), ``terminated`` (L,); ``stills`` float16, the latent of a
standing picture for every ``STILL_EVERY``-th row; and ``text`` (episodes, X) where captions were embedded. A clip
begins with a still, as a prefix does at play.
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.datasets.episode import Episode
from worldsim.datasets.store import EpisodeStore, Split
from worldsim.train_dynamics import LatentBatch

STILL_EVERY = 4
ARRAYS = ("latents", "stills", "actions", "motion", "terminated")


def body_motion(position: NDArray, yaw: NDArray, pitch: NDArray) -> NDArray[np.float32]:
    """Motion (T - 1, 5) between successive poses: forward, right, up in metres; yaw, pitch in degrees.

    In the frame of the mean heading of each step, so that it inverts ``worldsim.world.advance_pose``. Positions are
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
    if {"position", "yaw", "pitch"} <= set(episode.state):
        at = slice(0, count * chunk + 1, chunk)
        motion[1:] = body_motion(episode.state["position"][at], episode.state["yaw"][at], episode.state["pitch"][at])
    ended = episode.terminated[: count * chunk + 1]
    terminated = np.zeros(count + 1, np.float32)
    terminated[1:] = ended[1:].reshape(count, chunk).any(1)
    return {"actions": actions, "motion": motion, "terminated": terminated}


@torch.inference_mode()
def encode_episode(frames: NDArray[np.uint8], encode: Callable[[Tensor], Tensor], chunk: int) -> dict[str, NDArray]:
    """Latents of frames (1 + r k, H, W, 3) and stills; ``encode`` maps uint8 chunks (1, T, r, H, W, 3) to latents."""
    video = torch.from_numpy(np.concatenate([np.repeat(frames[:1], chunk - 1, 0), frames]))
    chunks = video.unflatten(0, (-1, chunk))[None]
    stills = chunks[:, ::STILL_EVERY, -1:].expand(-1, -1, chunk, -1, -1, -1)
    parts = {"latents": chunks, "stills": stills}
    return {
        name: torch.cat([encode(x[:, i : i + 64])[0] for i in range(0, x.shape[1], 64)]).half().numpy()
        for name, x in parts.items()
    }


def build_latents(
    store: EpisodeStore,
    split: Split,
    folder: Path,
    encode: Callable[[Tensor], Tensor],
    chunk: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    embed: Callable[[list[str]], Tensor] | None = None,
) -> None:
    """Encode a split of a store into ``folder``, written aside and renamed when whole.

    ``encode`` maps uint8 chunks (1, T, r, H, W, 3) to latents; ``embed`` captions to sentence embeddings.

    Raises:
        ValueError: the split has no episodes.
    """
    names = store.names(split)
    if not names:
        raise ValueError(f"no {split} episodes in {store.path}")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    lengths: list[int] = []
    files = {name: (aside / f"{name}.raw").open("wb") for name in ARRAYS}
    shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    try:
        for done, name in enumerate(names):
            episode = store.read(name)
            rows = episode_rows(episode, chunk)
            used = (len(rows["actions"]) - 1) // STILL_EVERY * STILL_EVERY
            rows = {key: value[:used] for key, value in rows.items()}
            rows |= encode_episode(episode.frames[: 1 + chunk * (used - 1)], encode, chunk)
            for key, value in rows.items():
                files[key].write(np.ascontiguousarray(value).tobytes())
                shapes[key] = value.shape[1:], value.dtype
            lengths.append(used)
            progress(done + 1, len(names))
        for file in files.values():
            file.close()
        for key, (shape, dtype) in shapes.items():
            raw = np.memmap(aside / f"{key}.raw", dtype, "r").reshape(-1, *shape)
            out = np.lib.format.open_memmap(aside / f"{key}.npy", "w+", dtype, raw.shape)
            for i in range(0, len(raw), 4096):
                out[i : i + 4096] = raw[i : i + 4096]
            out.flush()
            (aside / f"{key}.raw").unlink()
        texts = [str(store.manifest(name)["text"]) for name in names]
        if embed is not None:
            unique = sorted(set(texts))
            vectors = embed(unique).numpy().astype(np.float32)
            np.save(aside / "text.npy", vectors[[unique.index(t) for t in texts]])
        index = {"names": names, "lengths": lengths, "chunk": chunk, "texts": texts}
        (aside / "index.json").write_text(json.dumps(index))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)
    finally:
        for file in files.values():
            file.close()
        shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True)
class _Rows:
    latents: NDArray
    stills: NDArray
    actions: NDArray
    motion: NDArray
    terminated: NDArray


class LatentClips:
    """Random clips of T latent frames from a folder of ``build_latents``; batch i depends on (seed, i) alone.

    Raises:
        FileNotFoundError: the folder holds no latents.
        ValueError: no episode is long enough.
    """

    def __init__(self, folder: Path, *, frames: int, batch: int, seed: int = 0) -> None:
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"no latents in {folder}")
        index = json.loads((folder / "index.json").read_text())
        self.rows = _Rows(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS})
        self.frames, self.batch, self.seed = frames, batch, seed
        self.ends = np.cumsum(index["lengths"])
        begins = np.concatenate([[0], self.ends])
        self.text = np.load(folder / "text.npy") if (folder / "text.npy").is_file() else None
        # Clips begin where a still was encoded.
        self.starts = np.concatenate([np.arange(b, e - frames + 1, STILL_EVERY) for b, e in itertools.pairwise(begins)])
        if not len(self.starts):
            raise ValueError(f"no episode in {folder} has {frames} latent frames")

    def __call__(self, index: int) -> LatentBatch:
        """Batch number ``index``."""
        rng = np.random.default_rng([self.seed, abs(index), int(index < 0)])
        return self.at(rng.choice(self.starts, self.batch))

    def at(self, starts: NDArray[np.int64]) -> LatentBatch:
        """The clips that begin at the given rows (multiples of STILL_EVERY)."""
        span = starts[:, None] + np.arange(self.frames)
        latents = torch.from_numpy(self.rows.latents[span].astype(np.float32))
        latents[:, 0] = torch.from_numpy(self.rows.stills[starts // STILL_EVERY].astype(np.float32))
        rest = (torch.from_numpy(np.asarray(getattr(self.rows, n)[span])) for n in ("actions", "motion", "terminated"))
        text = None
        if self.text is not None:
            text = torch.from_numpy(self.text[np.searchsorted(self.ends, starts, side="right")])
        return LatentBatch(latents, *rest, text=text)
