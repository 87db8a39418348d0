"""What a memory draws along recorded walks, as a network that takes it sees it at play: what dynamics learn from.

Every chunk is drawn from what was recorded before it, at the pose that ego-motion expects. Then the recorded picture
and pose are remembered. B walks, F frames, T latent frames, r frames per chunk, D h w what is drawn.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.asides import whole_file
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.loading.walks import Walk, read_walk
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.models.precision import fast_precision
from worldsim.progress import display
from worldsim.simulation.memory.camera import turned
from worldsim.simulation.memory.compositor import SOURCES
from worldsim.simulation.memory.drawn_latents import Encode, drawn_latents
from worldsim.simulation.memory.files import FILE, load_memory
from worldsim.simulation.memory.spatial import SpatialMemory
from worldsim.spec.text_files import read_json
from worldsim.training.export import load_tokenizer

# Walks that are drawn side by side.
ROWS = 4


def drawer(*networks: Path) -> str:
    """Digest of the networks that draw and encode, of their files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in networks)).hexdigest()


@torch.inference_mode()
def drawn_along(memory: SpatialMemory, encode: Encode, walks: Sequence[Walk], chunk: int, frames: int) -> Tensor:
    """What is drawn of each latent frame (B, T, D, h, w) of the first F = 1 + r k frames; zeros for the first.

    Args:
        memory: its networks; the compositor is not asked.
        encode: maps uint8 chunks (B, T, r, H, W, 3) to latents.
        walks: recordings of at least F frames.
        chunk: r.
        frames: F.
    """
    pictures = torch.stack([walk.frames[:frames] for walk in walks])
    actions = torch.stack([walk.actions[: frames - 1] for walk in walks]).unflatten(1, (-1, chunk))
    poses = torch.stack([walk.poses[:frames] for walk in walks])
    origin = torch.cat([poses[:, 0, :4], torch.zeros(len(walks), 1)], 1)
    poses = torch.stack([turned(pose, origin) for pose in poses.unbind(1)], 1)
    state = memory.begin(pictures[:, :1], actions[:, :0], poses[:, :1])
    out, anew = [], torch.full(pictures.shape[:1] + pictures.shape[2:4], SOURCES.index("generated"))
    for t in range(actions.shape[1]):
        seen, steps = slice(1 + t * chunk, 1 + (t + 1) * chunk), torch.full((len(walks),), t + 1)
        outlook = memory.look_ahead(state, actions[:, t], steps)
        out.append(drawn_latents(encode, *outlook.pictures(), state.screen))
        lately = poses[:, seen.stop - 2 : seen.stop]
        outlook = replace(outlook, poses=poses[:, seen], motion=memory.measured(outlook.motion, lately))
        state = memory.remember(outlook, state, pictures[:, seen], anew, steps)
    return torch.cat([torch.zeros_like(out[0]), *out], 1)


class AlongEpisodes:
    """A folder of arrays that networks made along episodes: float16, a row per latent frame, a file each.

    ``whose`` in ``index.json`` says which networks made them: where others did, all are made anew.
    """

    def __init__(self, folder: Path, store: EpisodeStore, whose: str) -> None:
        self.folder, self.store = folder.absolute(), store
        index = self.folder / "index.json"
        if not index.is_file() or read_json(index) != {"drawn_by": whose}:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            index.write_text(json.dumps({"drawn_by": whose}))

    def path(self, name: str) -> Path:
        """The file of an episode as it is now."""
        return self.folder / f"{name}-{self.store.digest(name)[:16]}.npy"

    def load(self, names: Sequence[str]) -> dict[str, NDArray]:
        """What was made of episodes, mapped into memory; those that are not there are left out."""
        there = [name for name in names if self.path(name).is_file()]
        return {name: np.load(self.path(name), mmap_mode="r", allow_pickle=False) for name in there}

    def build(
        self,
        names: Sequence[str],
        make: Callable[[Sequence[str]], Iterable[NDArray[np.float16]]],
        at_once: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Make what is not there yet, of some episodes at once."""
        missing = [name for name in names if not self.path(name).is_file()]
        for first in range(0, len(missing), at_once):
            some = missing[first : first + at_once]
            for name, made in zip(some, make(some), strict=True):
                with whole_file(self.path(name)) as aside, aside.open("wb") as file:
                    np.save(file, made, allow_pickle=False)
            progress(first + len(some), len(missing))


def draw(
    kept: AlongEpisodes,
    names: Sequence[str],
    memory: SpatialMemory,
    encode: Encode,
    chunk: int,
    frames: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Draw the first ``frames`` video frames of episodes that are not there yet, ``ROWS`` side by side."""

    def make(some: Sequence[str]) -> list[NDArray[np.float16]]:
        walks = [read_walk(kept.store, name, depth=False) for name in some]
        shortest = min(frames, *(len(walk) for walk in walks))
        drawn = drawn_along(memory, encode, walks, chunk, 1 + (shortest - 1) // chunk * chunk)
        return [each.half().numpy() for each in drawn]

    kept.build(names, make, ROWS, progress)


def draw_along(
    data: str | Path | None,
    memory: Path,
    folder: Path,
    frames: int,
    tokenizer: Path,
    latents: Path,
    only: EpisodeFilter,
    also: Mapping[Path, Path],
) -> Mapping[str, NDArray]:
    """What a memory draws along a store's episodes, beside their latents; what is there already is taken over.

    The run's ``folder`` gets the memory, so that its world has it.

    Raises:
        UserError: there is no store, or several.
    """
    if data is None or also:
        raise UserError("what a memory draws is made from one store: say data=..., and no also=")
    store, coder, networks = EpisodeStore(data), load_tokenizer(tokenizer), load_memory(memory.parent)
    if networks is None:
        raise UserError(f"{memory} holds no spatial memory")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(memory, folder / FILE)
    kept = AlongEpisodes(latents.with_name(f"{latents.name}-drawn"), store, drawer(memory, tokenizer))
    names = [name for split in ("train", "validation") for name in only.names(store, split)]

    def encode(chunks: torch.Tensor) -> torch.Tensor:
        with fast_precision():
            return coder.encode_chunks(chunks.movedim(-1, 3).float() / 255)

    with display() as show:
        draw(kept, names, networks, encode, coder.config.chunk, frames, show.stage("what memory draws"))
    return kept.load(names)
