"""Are two splits looking at the same map? The same seed under other names, and the same pictures.

A perceptual hash is the signs of a picture's lowest frequencies (Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions", pHash): it survives scaling, compression and changes of brightness. N pictures.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from worldsim.datasets.checks.motion import WORLD_ROWS

SIDE, KEPT = 32, 16
WORDS = KEPT * KEPT // 64
# Two pictures are one when so many of their 256 signs differ at most; unrelated ones differ in 128 +- 8.
SAME_BITS = 40
# Below this spread of the frequencies a picture is plain sky, water or night: its signs are noise.
PLAIN = 24.0


def picture_hashes(frames: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Perceptual hashes uint64 (N, 4) of frames uint8 (N, H, W, 3), and which (N,) have enough in them to tell."""
    grey = frames[:, : max(1, round(frames.shape[1] * WORLD_ROWS))]
    grey = (grey[..., 0].astype(np.uint16) + grey[..., 1] + grey[..., 2]) / np.float32(3)
    small = _shrink(_shrink(grey, 1), 2)
    waves = np.asarray(dctn(small, axes=(1, 2), norm="ortho"))[:, :KEPT, 1 : KEPT + 1].reshape(len(frames), -1)
    bits = np.packbits(waves > 0, axis=1)
    return bits.view(np.uint64), np.abs(waves).mean(1) > PLAIN


def _shrink(grey: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    """Average an axis into ``SIDE`` parts of equal size; a shorter one is repeated first."""
    if grey.shape[axis] < SIDE:
        grey = grey.repeat(-(-SIDE // grey.shape[axis]), axis)
    # Parts share the pixels that lie on their border, so that scaling moves nothing.
    total = np.concatenate([np.zeros_like(grey.take([0], axis)), np.cumsum(grey, axis, dtype=np.float64)], axis)
    edges = np.linspace(0, grey.shape[axis], SIDE + 1)
    low = np.minimum(edges.astype(int), grey.shape[axis] - 1)
    shape = [-1 if i == axis else 1 for i in range(3)]
    share = (edges - low).reshape(shape)
    at = total.take(low, axis) * (1 - share) + total.take(low + 1, axis) * share
    return (np.diff(at, axis=axis) * SIDE / grey.shape[axis]).astype(np.float32)


@dataclass(frozen=True)
class SharedMap:
    """Two episodes of different splits that show one map.

    Attributes:
        first, second: names of the episodes.
        splits: theirs.
        reason: what they have in common, in words.
        frames: pairs of frame numbers that look the same.
    """

    first: str
    second: str
    splits: tuple[str, str]
    reason: str
    frames: tuple[tuple[int, int], ...] = ()


def shared_seeds(episodes: Mapping[str, tuple[str, tuple[str, str] | None]]) -> list[SharedMap]:
    """Maps whose seed is in more than one split.

    Args:
        episodes: split and ``seed_key`` by name of the episode.
    """
    places: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name, (split, key) in episodes.items():
        if key is not None and split:
            places[key].setdefault(split, name)
    shared = []
    for (maker, seed), found in places.items():
        (split, first), *rest = found.items()
        shared += [SharedMap(first, name, (split, other), f"map seed {seed} of {maker}") for other, name in rest]
    return shared


@dataclass(frozen=True)
class EpisodeHashes:
    """Perceptual hashes (N, 4) of an episode and the frames (N,) that they are of."""

    name: str
    split: str
    hashes: NDArray[np.uint64]
    frames: NDArray[np.int64]


def shared_pictures(
    episodes: Sequence[EpisodeHashes], *, matches: int = 3, same_bits: int = SAME_BITS
) -> list[SharedMap]:
    """Pairs of episodes of different splits that show the same views.

    Args:
        episodes: hashes of what was looked at.
        matches: clearly different views that a pair has to share; one may look alike by chance.
        same_bits: bits of 256 in which two hashes of one view may differ.
    """
    held_out = [e for e in episodes if e.split not in ("", "train")]
    others = [e for e in episodes if e.split == "train"]
    found = []
    # Train against both held-out splits, and those against each other.
    for i, one in enumerate(held_out):
        rivals = others + [e for e in held_out[i + 1 :] if e.split != one.split]
        found += _shared_with(one, rivals, matches, same_bits)
    return found


def _shared_with(one: EpisodeHashes, rivals: Sequence[EpisodeHashes], matches: int, same_bits: int) -> list[SharedMap]:
    if not rivals or not len(one.hashes):
        return []
    owner = np.repeat(np.arange(len(rivals)), [len(e.hashes) for e in rivals])
    all_hashes, starts = np.concatenate([e.hashes for e in rivals]), np.cumsum([0] + [len(e.hashes) for e in rivals])
    pairs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, value in enumerate(one.hashes):
        for j in np.flatnonzero(distances(value, all_hashes) <= same_bits).tolist():
            pairs[int(owner[j])].append((i, j - int(starts[owner[j]])))
    out = []
    for number, alike in sorted(pairs.items()):
        rival = rivals[number]
        mine, theirs = (
            _distinct(e.hashes[sorted({p[k] for p in alike})], same_bits) for k, e in enumerate((one, rival))
        )
        if min(mine, theirs) >= matches:
            views = tuple((int(rival.frames[j]), int(one.frames[i])) for i, j in alike)
            reason = f"{min(mine, theirs)} views look the same"
            out.append(SharedMap(rival.name, one.name, (rival.split, one.split), reason, views))
    return out


def distances(value: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits (N,) in which hashes (N, 4) differ from one (4,)."""
    return np.bitwise_count(hashes ^ value).sum(-1, dtype=np.int64)


def _distinct(hashes: NDArray[np.uint64], same_bits: int) -> int:
    """How many of the views differ clearly, so that standing still counts once."""
    left, count = np.ones(len(hashes), bool), 0
    while left.any():
        left &= distances(hashes[left.argmax()], hashes) > same_bits
        count += 1
    return count
