"""Random clips of fixed length from a store of episodes."""

from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.captions import clip_caption
from worldsim.datasets.episode import Episode
from worldsim.datasets.store import EpisodeStore, Split


class ClipBatch(TypedDict):
    """B clips of F frames; row t of ``actions`` leads from frame t to t + 1, the last row leaves the clip; captions."""

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    state: dict[str, NDArray[Any]]
    text: list[str]


class ClipSampler:
    """Clips drawn uniformly over all positions of a split; batch ``index`` is a function of (seed, index) alone.

    No clip crosses the border of an episode. The list of episodes is taken when the sampler is made: a store that
    grows meanwhile does not change what is drawn.

    Args:
        store: where the episodes are.
        split: train, validation, test, or None for all.
        frames: length F of a clip in frames.
        batch: number of clips B.
        seed: of the draws.

    Raises:
        ValueError: no episode of the split is long enough.
    """

    def __init__(self, store: EpisodeStore, split: Split | None, *, frames: int, batch: int = 1, seed: int = 0):
        if frames < 1 or batch < 1:
            raise ValueError(f"frames and batch must be at least 1, got {frames} and {batch}")
        self.store, self.frames, self.batch, self.seed = store, frames, batch, seed
        lengths = {name: int(store.manifest(name)["frames"]) for name in store.names(split)}
        self.names = [name for name, length in lengths.items() if length >= frames]
        self._ends = np.cumsum([lengths[name] - frames + 1 for name in self.names], dtype=np.int64)
        if not self.names:
            raise ValueError(f"no {split or ''} episode in {store.path} has {frames} frames")

    def __len__(self) -> int:
        """Number of different clips."""
        return int(self._ends[-1])

    def locate(self, clip: int) -> tuple[str, int]:
        """Episode and first frame of clip number ``clip`` of all that there are."""
        if not 0 <= clip < len(self):
            raise ValueError(f"clip {clip} is outside 0 to {len(self) - 1}")
        row = int(np.searchsorted(self._ends, clip, side="right"))
        return self.names[row], clip - int(self._ends[row - 1] if row else 0)

    def read(self, clip: int) -> Episode:
        """Clip number ``clip`` of all that there are, as a short episode."""
        name, start = self.locate(clip)
        return self.store.read(name, start, start + self.frames)

    def draw(self, index: int) -> NDArray[np.int64]:
        """Clip numbers (B,) of batch ``index``."""
        return np.random.default_rng((self.seed, index)).integers(len(self), size=self.batch)

    def __getitem__(self, index: int) -> ClipBatch:
        """Batch ``index``, any non-negative number."""
        if index < 0:
            raise IndexError(f"batches are numbered from 0, got {index}")
        return stack([self.read(int(clip)) for clip in self.draw(index)])

    def __iter__(self) -> Iterator[ClipBatch]:
        """Endless batches from index 0."""
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[ClipBatch]:
        """Endless batches from index ``start``: resuming equals never having stopped."""
        index = start
        while True:
            yield self[index]
            index += 1


def stack(clips: list[Episode]) -> ClipBatch:
    """Stack clips of equal length; of ``state`` what all of them have, with equal shape."""
    shared = set.intersection(*({(k, v.shape) for k, v in clip.state.items()} for clip in clips))
    return {
        "frames": np.stack([clip.frames for clip in clips]),
        "actions": np.stack([clip.actions for clip in clips]),
        "rewards": np.stack([clip.rewards for clip in clips]),
        "state": {name: np.stack([clip.state[name] for clip in clips]) for name, _ in sorted(shared)},
        "text": [clip_caption(clip) for clip in clips],
    }
