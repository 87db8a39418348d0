"""What a memory draws and shows along recorded walks, as at play: what dynamics with a memory learn from.

Every chunk is drawn at its recorded poses. What is drawn is what is shown and remembered, completed by the recording as
by a network that never errs. So the past goes blurred where the player came nearer to it, and torn where depth is
wrong, and stands at the place that the recording shows. Play begins anew every few chunks.
B walks, F frames, T latent frames, r frames per chunk, C h w latents, D h w what is drawn (D = C + 1).
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
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
# Chunks of the longest stretch of play (they are of 1 to so many), and of the recording that it begins with.
STRETCH, PAST = 32, 8


def drawer(*networks: Path) -> str:
    """Digest of the networks that draw and encode, of their files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in networks)).hexdigest()


@torch.inference_mode()
def drawn_along(
    memory: SpatialMemory, encode: Encode, walks: Sequence[Walk], chunk: int, frames: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """What is drawn (B, T, D, h, w) and shown (B, T, C, h, w) of the first F = 1 + r k frames; zeros for the first.

    Args:
        memory: its networks; ego-motion and the compositor decide nothing.
        encode: maps uint8 chunks (B, T, r, H, W, 3) to latents.
        walks: recordings of at least F frames.
        chunk: r.
        frames: F.
        seed: of where stretches end.
    """
    generator, chunks = torch.Generator().manual_seed(seed), (frames - 1) // chunk
    made: list[tuple[Tensor, Tensor]] = []
    while len(made) < chunks:
        most = min(STRETCH, chunks - len(made))
        made += _play(memory, encode, walks, chunk, len(made), int(torch.randint(1, most + 1, (), generator=generator)))
    drawn, shown = (torch.cat([torch.zeros_like(each[0]), *each], 1) for each in zip(*made, strict=True))
    return drawn, shown


def _play(
    memory: SpatialMemory, encode: Encode, walks: Sequence[Walk], r: int, begin: int, count: int
) -> list[tuple[Tensor, Tensor]]:
    """A stretch of ``count`` chunks behind latent frame ``begin``: what is drawn and shown of each."""
    first, last = max(0, begin - PAST) * r, (begin + count) * r
    pictures = torch.stack([walk.frames[first : last + 1] for walk in walks])
    actions = torch.stack([walk.actions[first:last] for walk in walks]).unflatten(1, (-1, r))
    poses = torch.stack([walk.poses[first : last + 1] for walk in walks])
    past = begin * r - first
    origin = torch.cat([poses[:, past, :4], torch.zeros(len(walks), 1)], 1)
    poses = turned(poses, origin[:, None])
    state = memory.begin(pictures[:, : past + 1], actions[:, : past // r], poses[:, : past + 1])
    out = []
    for t in range(count):
        now, steps = slice(past + 1 + t * r, past + 1 + (t + 1) * r), torch.full((len(walks),), t + 1)
        outlook = memory.look_ahead(state, actions[:, past // r + t], steps, poses[:, now])
        drawn, covered = outlook.pictures()
        shown = torch.where(covered[..., None], drawn, pictures[:, now])
        out.append((drawn_latents(encode, drawn, covered, state.screen), encode(shown[:, None])))
        whose = torch.where(covered[:, -1], SOURCES.index("memory"), SOURCES.index("generated"))
        state = memory.remember(outlook, state, shown, whose, steps)
    return out


class AlongEpisodes:
    """A folder of arrays that networks made along episodes: float16, a row per latent frame, a file each.

    ``whose`` in ``index.json`` says which networks made them: where others did, all are made anew.
    """

    def __init__(self, folder: Path, store: EpisodeStore, whose: str) -> None:
        self.folder, self.store = folder.absolute(), store
        index = self.folder / "index.json"
        if not index.is_file() or read_json(index) != {"drawn_and_shown_by": whose}:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            index.write_text(json.dumps({"drawn_and_shown_by": whose}))

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
        made = torch.cat(drawn_along(memory, encode, walks, chunk, 1 + (shortest - 1) // chunk * chunk), 2)
        return [each.half().numpy() for each in made]

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
