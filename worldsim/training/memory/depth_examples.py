"""What depth completion learns from: pictures of recorded walks, with others from near by.

B pictures, N others, K sources, H W pixels. A batch is a function of (seed, step) alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.governance.map_seeds import map_name
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.loading.walks import Walk, read_walk
from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.models.shield import shielded
from worldsim.simulation.memory.camera import Intrinsics, fixed_to_screen
from worldsim.simulation.memory.render import Sources

# Frames between a picture and those that its confidence is learned from.
LONGEST_STEP = 8


@dataclass(frozen=True)
class DepthBatch:
    """B pictures.

    Attributes:
        pictures: uint8 (B, H, W, 3).
        poses: (B, 5).
        inverse_depth: the game's (B, H, W) float32; None where it was not recorded.
        others: uint8 (B, 2, H, W, 3), one from shortly before, one from shortly after.
        other_poses: (B, 2, 5).
    """

    pictures: Tensor
    poses: Tensor
    inverse_depth: Tensor | None
    others: Tensor
    other_poses: Tensor


class Walks:
    """Walks of one camera and size, in memory.

    Raises:
        UserError: there are none, they differ, or they are too short.
    """

    def __init__(self, walks: Sequence[Walk], names: Sequence[str]) -> None:
        if not walks:
            raise UserError("no recorded walk to learn depth from: record with worldsim collect")
        first = walks[0]
        if any(w.camera != first.camera or w.frames.shape[1:] != first.frames.shape[1:] for w in walks):
            raise UserError("walks of several cameras or sizes of pictures cannot be learned from together")
        self.walks, self.names, self.camera = list(walks), list(names), first.camera
        height, width = first.frames.shape[1:3]
        self.lens = Intrinsics.of(first.camera, height, width)
        self.rows = first.camera.rows_of_world(height)
        self.fixed = fixed_to_screen(first.camera, height, width)
        self.has_depth = first.inverse_depth is not None
        self._ends = np.cumsum([len(w) for w in walks])

    def __len__(self) -> int:
        """Frames."""
        return int(self._ends[-1])

    def place(self, number: int) -> tuple[int, int]:
        """Walk and frame of frame ``number`` of all."""
        walk = int(np.searchsorted(self._ends, number, side="right"))
        return walk, number - int(self._ends[walk - 1] if walk else 0)

    def sources(self, places: Sequence[tuple[int, int]], gaps: Sequence[Sequence[int]], most: int) -> Sources:
        """Frames so long before places (walk, frame), the newest first; filled up to ``most`` a row."""
        height, width = self.lens.height, self.lens.width
        pictures = torch.zeros(len(places), most, height, width, 3, dtype=torch.uint8)
        depth = torch.zeros(len(places), most, height, width)
        confidence = torch.zeros(len(places), most, height, width, dtype=torch.uint8)
        poses, taken = torch.zeros(len(places), most, 5), torch.full((len(places), most), -1)
        for row, ((number, frame), before) in enumerate(zip(places, gaps, strict=True)):
            walk, at = self.walks[number], [frame - gap for gap in sorted(before)]
            pictures[row, : len(at)], poses[row, : len(at)] = walk.frames[at], walk.poses[at]
            taken[row, : len(at)] = torch.tensor(at, dtype=torch.long)
            confidence[row, : len(at), : self.rows] = 255
            if walk.inverse_depth is not None:
                depth[row, : len(at)] = walk.inverse_depth[at].float()
        return Sources(pictures, depth, confidence, poses, taken)

    def depth(self, places: Sequence[tuple[int, int]]) -> Tensor | None:
        """The game's inverse depth (B, H, W) of places (walk, frame); None where it was not recorded."""
        depths = [self.walks[walk].inverse_depth for walk, _ in places]
        if any(d is None for d in depths):
            return None
        return torch.stack([d[frame].float() for d, (_, frame) in zip(depths, places, strict=True) if d is not None])

    def batch(self, seed: int, step: int, size: int) -> DepthBatch:
        """Batch ``step``. Half of them are mirrored: pictures, and with them the world and the way through it."""
        random = np.random.default_rng((seed, step))
        places = [self.place(int(number)) for number in random.integers(len(self), size=size)]
        batch = self.examples(places, random)
        return _mirrored(batch) if random.random() < 0.5 else batch

    def examples(self, places: Sequence[tuple[int, int]], random: np.random.Generator) -> DepthBatch:
        """The pictures of places (walk, frame), each with two others from near by."""
        others, other_poses = [], []
        for number, frame in places:
            walk, (back, on) = self.walks[number], random.integers(1, LONGEST_STEP + 1, size=2)
            near = [max(0, frame - int(back)), min(len(walk) - 1, frame + int(on))]
            others.append(walk.frames[near])
            other_poses.append(walk.poses[near])
        return DepthBatch(
            pictures=torch.stack([self.walks[walk].frames[frame] for walk, frame in places]),
            poses=torch.stack([self.walks[walk].poses[frame] for walk, frame in places]),
            inverse_depth=self.depth(places),
            others=torch.stack(others),
            other_poses=torch.stack(other_poses),
        )


@shielded
def read_walks(
    store: EpisodeStore, names: Sequence[str], *, depth: bool, megabytes: float = float("inf"), seed: int = 0
) -> Walks:
    """Read walks into memory, in an order by ``seed``, until they fill so many megabytes (at least one)."""
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    walks, read, filled = [], [], 0
    for number in order:
        if filled >= megabytes * 1e6:
            break
        walk = read_walk(store, names[int(number)], depth=depth)
        walks.append(walk)
        read.append(names[int(number)])
        filled += walk.frames.nbytes + (0 if walk.inverse_depth is None else walk.inverse_depth.nbytes)
    return Walks(walks, read)


def choose_episodes(store: EpisodeStore, only: EpisodeFilter) -> tuple[list[str], list[str], bool]:
    """Episodes to learn from and to judge by, and whether the game's depth is known.

    Episodes without depth are left out where others have it. Judged by are maps of the split validation, else test,
    else the last map.

    Raises:
        UserError: there is nothing to learn from, or nothing else to judge by.
    """
    names = {split: only.names(store, split) for split in _SPLITS}
    with_depth = {n for each in names.values() for n in each if f"state/{DEPTH}" in store.manifest(n)["arrays"]}
    if depth := any(name in with_depth for name in names["train"]):
        names = {split: [name for name in each if name in with_depth] for split, each in names.items()}
    train, held_out = names["train"], names["validation"] or names["test"]
    if train and not held_out:
        maps = {name: map_name(store.manifest(name)["provenance"]) or name for name in train}
        last = maps[train[-1]]
        held_out = [name for name in train if maps[name] == last]
        train = [name for name in train if maps[name] != last]
    if not train:
        raise UserError(f"{store.url} has no episodes of two maps or more to learn from and to judge by: record more")
    return train, held_out, depth


_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def _mirrored(batch: DepthBatch) -> DepthBatch:
    """Left is right: a world whose x points the other way, so that x and yaw change their sign."""
    sign = torch.tensor([-1.0, 1, 1, -1, 1])
    return DepthBatch(
        pictures=batch.pictures.flip(2),
        poses=batch.poses * sign,
        inverse_depth=None if batch.inverse_depth is None else batch.inverse_depth.flip(2),
        others=batch.others.flip(3),
        other_poses=batch.other_poses * sign,
    )
