"""Random clips of fixed length from a store of episodes."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.captions.templates import clip_caption
from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split

# Caption of a clip, given the clip, the name of its episode, its first frame there, and a seed for the phrasing.
CaptionSource = Callable[[Episode, str, int, int], str]


class ClipBatch(TypedDict):
    """B clips of F frames; row t of ``actions`` leads from frame t to t + 1, the last row leaves the clip; captions."""

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    state: dict[str, NDArray[Any]]
    text: list[str]


def short_caption(clip: Episode, name: str, start: int, seed: int) -> str:
    """The usual caption of a clip: ``digging in a coniferous forest at noon``."""
    return clip_caption(clip)


class ClipSampler:
    """Clips drawn uniformly over all positions of a split; batch ``index`` is a function of (seed, index) alone.

    No clip crosses the border of an episode. The list of episodes is taken when the sampler is made: a store that
    grows meanwhile does not change what is drawn. Of an episode the sampler keeps 16 bytes.

    Args:
        store: where the episodes are.
        split: train, validation, test, or None for all.
        frames: length F of a clip in frames.
        batch: number of clips B.
        seed: of the draws.
        threads: that read and decompress the clips of a batch; default: one per core, four at most.
        caption: makes the text of a clip.
        only: the episodes to draw from, by licence and source.
        depth: also read ``state["depth"]`` of episodes that have it.

    Raises:
        UserError: no episode of the split has such a licence and source.
        ValueError: no episode of the split is long enough.
        CorruptEpisodeError: a manifest cannot be read.
    """

    def __init__(
        self,
        store: EpisodeStore,
        split: Split | None,
        *,
        frames: int,
        batch: int = 1,
        seed: int = 0,
        threads: int | None = None,
        caption: CaptionSource = short_caption,
        only: EpisodeFilter = ALL,
        depth: bool = False,
    ):
        if frames < 1 or batch < 1:
            raise ValueError(f"frames and batch must be at least 1, got {frames} and {batch}")
        self.store, self.frames, self.batch, self.seed = store, frames, batch, seed
        self.threads = min(4, os.cpu_count() or 1) if threads is None else max(1, threads)
        self.caption, self.depth = caption, depth
        self._index = store.index()
        rows = only.rows(self._index, split, store.url)
        self._rows = rows[self._index.frames[rows] >= frames]
        self._ends = np.cumsum(self._index.frames[self._rows] - (frames - 1), dtype=np.int64)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_of = 0
        if not len(self._rows):
            raise ValueError(f"no {split or ''} episode in {store.url} has {frames} frames")

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which starts threads of its own."""
        return self.__dict__ | {"_pool": None}

    def __len__(self) -> int:
        """Number of different clips."""
        return int(self._ends[-1])

    @property
    def names(self) -> list[str]:
        """Names of the episodes that are long enough, in order."""
        return self._index.names_of(self._rows)

    def locate(self, clip: int) -> tuple[str, int]:
        """Episode and first frame of clip number ``clip`` of all that there are."""
        if not 0 <= clip < len(self):
            raise ValueError(f"clip {clip} is outside 0 to {len(self) - 1}")
        row = int(np.searchsorted(self._ends, clip, side="right"))
        return self._index.name(int(self._rows[row])), clip - int(self._ends[row - 1] if row else 0)

    def read(self, clip: int) -> Episode:
        """Clip number ``clip`` of all that there are, as a short episode."""
        name, start = self.locate(clip)
        return self.store.read(name, start, start + self.frames, depth=self.depth)

    def draw(self, index: int) -> NDArray[np.int64]:
        """Clip numbers (B,) of batch ``index``."""
        return np.random.default_rng((self.seed, index)).integers(len(self), size=self.batch)

    def __getitem__(self, index: int) -> ClipBatch:
        """Batch ``index``, any non-negative number.

        Raises:
            ValueError: the clips differ in size.
            CorruptEpisodeError: a file is missing, torn or altered.
        """
        if index < 0:
            raise IndexError(f"batches are numbered from 0, got {index}")
        places = [self.locate(int(clip)) for clip in self.draw(index)]
        width, height = self.store.frame_size(places[0][0])
        frames = np.empty((self.batch, self.frames, height, width, 3), np.uint8)

        def read(row: int) -> tuple[Episode, str]:
            name, start = places[row]
            if self.store.frame_size(name) != (width, height):
                raise ValueError(f"episodes {places[0][0]} and {name} differ in size: sample them apart, or resample")
            clip = self.store.read(name, start, start + self.frames, out=frames[row], depth=self.depth)
            return clip, self.caption(clip, name, start, crc32(f"{self.seed} {index} {row}".encode()))

        clips, text = zip(*self._map(read, self.batch), strict=True)
        return stack(list(clips), frames, list(text))

    def __iter__(self) -> Iterator[ClipBatch]:
        """Endless batches from index 0."""
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[ClipBatch]:
        """Endless batches from index ``start``: resuming equals never having stopped."""
        index = start
        while True:
            yield self[index]
            index += 1

    def _map(self, read: Callable[[int], tuple[Episode, str]], count: int) -> list[tuple[Episode, str]]:
        if self.threads == 1 or count == 1:
            return [read(row) for row in range(count)]
        if self._pool is None or self._pool_of != os.getpid():
            # A process that was forked has the pool and none of its threads: whoever waits for one waits without end.
            self._pool, self._pool_of = ThreadPoolExecutor(self.threads, thread_name_prefix="clips"), os.getpid()
        return list(self._pool.map(read, range(count)))


def stack(clips: list[Episode], frames: NDArray[np.uint8], text: list[str]) -> ClipBatch:
    """A batch of clips whose pictures are in ``frames`` already; of ``state`` what all of them have, of equal shape."""
    shared = set.intersection(*({(k, v.shape) for k, v in clip.state.items()} for clip in clips))
    return {
        "frames": frames,
        "actions": np.stack([clip.actions for clip in clips]),
        "rewards": np.stack([clip.rewards for clip in clips]),
        "state": {name: np.stack([clip.state[name] for clip in clips]) for name, _ in sorted(shared)},
        "text": text,
    }
