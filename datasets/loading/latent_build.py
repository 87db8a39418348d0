"""Encoding a store into a latent cache; what it holds already is taken over.

T latent frames, L latent frames of an episode, r video frames per latent frame, A action size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.datasets.governance.provenance import episode_record
from worldsim.datasets.loading.latent_cache import STILL_EVERY, LatentCache, write_cache
from worldsim.datasets.loading.reversed_episodes import REVERSED, chosen, reversed_episode
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.models.shield import shielded
from worldsim.spec.actions import ActionSpec

POSE = {"position", "yaw", "pitch"}

Encode = Callable[[Tensor], Tensor]
Embed = Callable[[list[str]], Tensor]


def body_motion(position: NDArray, yaw: NDArray, pitch: NDArray) -> NDArray[np.float32]:
    """Motion (T - 1, 5) between successive poses: forward, right, up in metres; yaw, pitch in degrees.

    In the frame of the mean heading of each step, so that it inverts ``worldsim.spec.pose.advance_pose``. Positions are
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


@shielded
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


def is_current(
    folder: Path, store: EpisodeStore, names: Sequence[str], tokenizer: str, reversed_fraction: float = 0.0
) -> bool:
    """Whether ``folder`` holds exactly these episodes, as they are now and as this tokenizer encodes them.

    ``reversed_fraction``: of them that it is to hold once more in reverse.
    """
    cache, kept = _reusable(folder, store, tokenizer)
    labels = {*names, *(name + REVERSED for name in chosen(names, reversed_fraction))}
    return cache is not None and labels == kept.keys() and len(kept) == len(cache.lengths)


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
    reversed_fraction: float = 0.0,
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
        reversed_fraction: of the episodes that are encoded once more, running backwards in time.

    Raises:
        ValueError: there are no episodes to encode.
    """
    names = store.names(split) if wanted is None else sorted(wanted)
    if not names:
        raise ValueError(f"no {split} episodes in {store.url}")
    cache, kept = _reusable(folder, store, tokenizer)
    recordings, backwards = recording_format(store, names), chosen(names, reversed_fraction)
    labels, names = names + [name + REVERSED for name in backwards], names + backwards

    def episodes() -> Iterator[dict[str, NDArray]]:
        for done, (label, name) in enumerate(zip(labels, names, strict=True)):
            if cache is not None and label in kept:
                yield cache.episode(kept[label])
            else:
                yield _encoded(store, name, encode, chunk, recordings.spec if label != name else None)
            progress(done + 1, len(labels))

    index = {**_about(store, names), "names": labels, "chunk": chunk, "tokenizer": tokenizer, "store": store.url}
    index["recordings"] = asdict(recordings)
    if backwards:
        index["backwards"] = [label != name for label, name in zip(labels, names, strict=True)]
    text = None
    if embed is not None:
        unique = sorted(set(index["texts"]))
        text = embed(unique).numpy().astype(np.float32)[[unique.index(t) for t in index["texts"]]]
    write_cache(folder, episodes(), index, text)


def _about(store: EpisodeStore, names: Sequence[str]) -> dict[str, list[Any]]:
    """What training has to know of each episode."""
    manifests = [store.manifest(name) for name in names]
    return {
        "texts": [str(manifest["text"]) for manifest in manifests],
        "records": [episode_record(name, m) for name, m in zip(names, manifests, strict=True)],
        "known": [m["provenance"].get("actions", "recorded") != "unknown" for m in manifests],
        "posed": [{f"state/{key}" for key in POSE} <= set(m["arrays"]) for m in manifests],
    }


def _reusable(folder: Path, store: EpisodeStore, tokenizer: str) -> tuple[LatentCache | None, dict[str, int]]:
    """The present cache if the same tokenizer made it, and the rows of its episodes that are in the store as they were.

    A cache that does not say what its episodes held (older versions' did not) is made anew.
    """
    if not (folder / "index.json").is_file():
        return None, {}
    cache = LatentCache(folder)
    if cache.index.get("tokenizer") != tokenizer or "records" not in cache.index:
        return None, {}
    rows = enumerate(zip(cache.index["names"], cache.index["records"], strict=True))
    return cache, {
        label: row
        for row, (label, record) in rows
        if record["name"] in store and store.digest(record["name"]) == record["identity"]
    }


def _encoded(
    store: EpisodeStore, name: str, encode: Encode, chunk: int, in_reverse: ActionSpec | None
) -> dict[str, NDArray]:
    """Arrays of an episode; with the game's actions, of the episode running backwards."""
    episode = store.read(name, depth=False)
    episode = episode if in_reverse is None else reversed_episode(episode, chunk, in_reverse)
    rows = episode_rows(episode, chunk)
    used = len(rows["actions"])
    return rows | encode_episode(episode.frames[: 1 + chunk * (used - 1)], encode, chunk)
