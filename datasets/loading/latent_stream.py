"""Clips out of packed latents that are read while training goes on, from a folder or from behind a URL.

``packs.json`` of a set says what all of it is of and names its packs with their checksums: a pack that is missing or
differs is an error that names it. Latents of one block of packs are in memory, those of the next are read meanwhile.
"""

import hashlib
import io
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.block_shuffle import Block, BlockShuffle
from worldsim.datasets.loading.latent_cache import ARRAYS, ROWS, LatentCache, LatentRows, clip_starts, stills_of
from worldsim.datasets.loading.latent_pack import SET, SET_FORMAT, pack_episodes, pack_index
from worldsim.datasets.loading.latents import Clips, LatentClips
from worldsim.datasets.store.folder import open_folder
from worldsim.datasets.store.manifest import json_sha256
from worldsim.errors import UserError
from worldsim.spec.batch import LatentBatch
from worldsim.spec.damage import reading
from worldsim.spec.text_files import parse_json

# How often a pack elsewhere is asked for, and seconds before it is asked for again.
TRIES, PAUSE = 3, 2.0


class LatentPacks:
    """A set of packs: what it is of, and the latents of some of them.

    Args:
        where: a folder, or an fsspec URL.

    Attributes:
        index: what all packs are of, as in a latent cache, without what is said of single episodes.
        lengths: latent frames of all episodes, pack by pack.

    Raises:
        FileNotFoundError: there is no such set.
        UserError: its index is damaged.
    """

    def __init__(self, where: str | Path) -> None:
        self._folder = open_folder(where)
        try:
            content = self._folder.read(SET)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no packed latents in {self.url}: it has no {SET}") from error
        with reading(f"{self.url}/{SET}", "the index of packed latents", UserError):
            body = parse_json(content)
            if body.pop("sha256") != json_sha256(body) or body["format"] != SET_FORMAT:
                raise ValueError("its checksum or its format differs")
            packs, self.index = body["packs"], body["common"]
            self.names, self._sha256 = list(packs["names"]), list(packs["sha256"])
            self.lengths = np.array(body["lengths"], np.int64)
            self._begins = np.cumsum([0, *packs["episodes"]])
            self._row_bytes, self._prompts, self._vectors = body["row_bytes"], body["prompts"], body["vectors"]
            self._store = body["store"]

    @property
    def url(self) -> str:
        """Where the set is."""
        return self._folder.url

    @property
    def nbytes(self) -> NDArray[np.int64]:
        """Bytes of each pack's latents in memory."""
        rows = sum(self._row_bytes[name] for name in ROWS)
        return self._sums(self.lengths * rows + stills_of(self.lengths) * self._row_bytes["stills"])

    def places(self, frames: int) -> NDArray[np.int64]:
        """In how many places of each pack a clip of so many latent frames can begin."""
        return self._sums(clip_starts(self.lengths, frames))

    def store_record(self) -> dict[str, Any]:
        """What a checkpoint says of the store behind all packs.

        Raises:
            UserError: the packs do not tell.
        """
        if self._store is None:
            raise UserError(f"the latents in {self.url} do not say what they are of: pack them anew")
        return self._store

    def common_prompts(self) -> tuple[list[str], NDArray[np.float32] | None]:
        """The most common captions and their embeddings (P, X)."""
        return self._prompts, None if self._vectors is None else np.array(self._vectors, np.float32)

    def read(self, packs: Iterable[int]) -> LatentRows:
        """The latents of some packs, in memory once.

        Raises:
            UserError: a pack is missing, damaged, or does not answer; says which.
        """
        numbers = [int(number) for number in packs]
        lengths = np.concatenate([self.lengths[self._begins[n] : self._begins[n + 1]] for n in numbers])
        rows: dict[str, int] = dict.fromkeys(ROWS, int(lengths.sum())) | {"stills": int(stills_of(lengths).sum())}
        filled: dict[str, int] = dict.fromkeys(ARRAYS, 0)
        arrays, lists = dict[str, NDArray](), dict[str, list[Any]]()
        for number in numbers:
            name = f"{self.url}/{self.names[number]}"
            file = io.BytesIO(self._content(number))
            index = pack_index(file, name)
            for episode in pack_episodes(file, name, index):
                for kind, values in episode.items():
                    if kind not in arrays:
                        arrays[kind] = np.empty((rows[kind], *values.shape[1:]), values.dtype)
                    arrays[kind][filled[kind] : filled[kind] + len(values)] = values
                    filled[kind] += len(values)
            for kind, values in index["lists"].items():
                lists.setdefault(kind, []).extend(values)
        text = lists.pop("text", None)
        return LatentRows(self.index | lists, arrays, None if text is None else np.array(text, np.float32))

    def _sums(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of a value of each episode, the sum over each pack."""
        return np.diff(np.concatenate([[0], np.cumsum(values)])[self._begins])

    def _content(self, number: int) -> bytes:
        name, wrong = self.names[number], ""
        for attempt in range(1 if self._folder.local is not None else TRIES):
            time.sleep(PAUSE if attempt else 0)
            try:
                content = self._folder.read(name)
            except FileNotFoundError as error:
                raise UserError(f"{self.url}/{name} is missing: it is one of {len(self.names)} in {SET}") from error
            except OSError as error:
                wrong = f"cannot be read: {error}"
                continue
            if hashlib.sha256(content).hexdigest() == self._sha256[number]:
                return content
            wrong = f"is damaged: its sha256 is not the one in {SET}"
        raise UserError(f"{self.url}/{name} {wrong}")


class StreamedClips:
    """Random clips of T latent frames out of packs; batch i depends on (seed, i, lanes) alone.

    Args:
        packs: what to draw from.
        frames: T.
        batch: clips of a batch.
        seed: of the order.
        mouse: whether the game has a mouse.
        lanes: batches of a step: each is drawn from packs of its own.
        limit: bytes of latents that a lane shuffles its clips among; as many again are read ahead.
        ahead: read the next block while clips are drawn from one.

    Raises:
        ValueError: no episode is long enough.
    """

    def __init__(
        self,
        packs: LatentPacks,
        *,
        frames: int,
        batch: int,
        seed: int = 0,
        mouse: bool = True,
        lanes: int = 1,
        limit: int = 2**30,
        ahead: bool = True,
    ) -> None:
        places = packs.places(frames)
        if not places.any():
            raise ValueError(f"no episode in {packs.url} has {frames} latent frames")
        self.packs, self.seed, self.places = packs, seed, int(places.sum())
        self.shuffle = BlockShuffle(places, packs.nbytes, batch=batch, seed=seed, lanes=lanes, limit=limit)
        self._clip: dict[str, Any] = {"frames": frames, "batch": batch, "mouse": mouse}
        self._ahead = ahead
        self._blocks: dict[Block, Future[tuple[LatentClips, NDArray[np.int64]]]] = {}

    def __call__(self, index: int) -> LatentBatch:
        """Batch number ``index``.

        Raises:
            UserError: a pack is missing or damaged.
        """
        block, number = self.shuffle.locate(index)
        clips, starts = self._block(block).result()
        return clips.at(starts[number])

    def store_record(self) -> dict[str, Any]:
        """What a checkpoint says of the store behind the packs."""
        return self.packs.store_record()

    def _block(self, block: Block) -> Future[tuple[LatentClips, NDArray[np.int64]]]:
        """The block's clips; those of its lane that are neither these nor the next are forgotten."""
        wanted = [block, *([self.shuffle.after(block)] if self._ahead else [])]
        for old in [one for one in self._blocks if one.lane == block.lane and one not in wanted]:
            self._blocks.pop(old).cancel()
        for one in wanted:
            if one not in self._blocks:
                self._blocks[one] = self._pool.submit(self._load, one)
        return self._blocks[block]

    def _load(self, block: Block) -> tuple[LatentClips, NDArray[np.int64]]:
        clips = LatentClips(self.packs.read(self.shuffle.packs(block)), **self._clip)
        return clips, clips.starts[self.shuffle.order(block, clips.places)]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="packs")


def is_packed(where: str | Path) -> bool:
    """Whether latents are taken for packed ones: behind a URL they have to be."""
    folder = open_folder(where)
    return folder.local is None or folder.exists(SET)


def open_latents(where: str | Path) -> LatentCache | LatentPacks:
    """The latents of a split: packed, or a cache of this machine.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are damaged.
    """
    folder = open_folder(where)
    return LatentPacks(where) if is_packed(where) or folder.local is None else LatentCache(folder.local)


def clips_of(
    latents: LatentCache | LatentPacks,
    *,
    drawn: Mapping[str, NDArray] | None = None,
    ahead: bool = True,
    **how: Any,
) -> Clips:
    """Clips of a cache, or out of packs; ``lanes`` and ``limit`` are the packs' alone.

    Raises:
        UserError: there is something drawn along them, and the latents are packed.
        ValueError: no episode is long enough.
    """
    if isinstance(latents, LatentPacks):
        if drawn is not None:
            raise UserError(f"what a memory draws goes with a cache of latents, and those in {latents.url} are packed")
        return StreamedClips(latents, ahead=ahead, **how)
    del how["lanes"], how["limit"]
    return LatentClips(latents, drawn=drawn, **how)
