"""The order in which clips are drawn from packed latents: shuffled as well as memory allows, known in advance.

Packs are shuffled anew in every epoch and taken in blocks of as many as memory holds; the clips of a block are
shuffled among each other. Each place where a clip can begin comes up once an epoch, but for what is left over of a
block's last batch. The batches of a step (its parts) are lanes: each has packs of its own, so that a rank reads the
packs of its parts and no others. Which clips a batch holds follows from (seed, number of the batch, number of lanes).

MosaicML's streaming shuffles so too (its ``py1b``, with canonical nodes for lanes). It is not used here: it asks for
boto3, paramiko, transformers and the clients of four clouds, and for older versions of NumPy than ours. WebDataset asks
for little, but has no way to a batch by its number: its order depends on how many processes read.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Plans of epochs that are kept of a lane: the present one, and the next where its first block is read ahead.
KEPT = 2


class Block(NamedTuple):
    """Which packs are in memory together: block ``number`` of a lane's epoch."""

    lane: int
    epoch: int
    number: int


class _Plan(NamedTuple):
    """A lane's epoch: packs in their order, the place there of each block's first, batches before each block's end."""

    packs: NDArray[np.int64]
    begins: list[int]
    ends: list[int]


class BlockShuffle:
    """The order of all batches.

    Args:
        places: in how many places of each pack a clip can begin.
        nbytes: of each pack in memory.
        batch: clips of a batch.
        seed: of the order.
        lanes: batches of a step.
        limit: bytes that the packs of a block may take; a larger pack is a block of its own.

    Raises:
        ValueError: no clip can begin anywhere.
    """

    def __init__(
        self,
        places: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        *,
        batch: int,
        seed: int = 0,
        lanes: int = 1,
        limit: int = 2**30,
    ) -> None:
        self.batch, self.seed, self.lanes, self.limit = batch, seed, lanes, limit
        self._places, self._nbytes = np.asarray(places, np.int64), np.asarray(nbytes, np.int64)
        self._used = np.flatnonzero(self._places)
        self._ends: dict[int, list[int]] = {}
        self._plans: dict[int, dict[int, _Plan]] = {}
        if not len(self._used):
            raise ValueError("no episode is long enough for a clip")

    def locate(self, index: int) -> tuple[Block, int]:
        """The block that batch ``index`` is drawn from, and the batch's number in there.

        Raises:
            ValueError: the index is negative.
        """
        if index < 0:
            raise ValueError(f"batches are numbered from 0, got {index}")
        turn, lane = divmod(index, self.lanes)
        ends = self._ends.setdefault(lane, [])
        while not ends or ends[-1] <= turn:
            ends.append((ends[-1] if ends else 0) + self._plan(lane, len(ends)).ends[-1])
        epoch = bisect_right(ends, turn)
        turn -= ends[epoch - 1] if epoch else 0
        plan = self._plan(lane, epoch)
        number = bisect_right(plan.ends, turn)
        return Block(lane, epoch, number), turn - (plan.ends[number - 1] if number else 0)

    def packs(self, block: Block) -> NDArray[np.int64]:
        """Numbers of a block's packs."""
        plan = self._plan(block.lane, block.epoch)
        return plan.packs[plan.begins[block.number] : plan.begins[block.number + 1]]

    def after(self, block: Block) -> Block:
        """The block that the lane goes on with."""
        if block.number + 1 < len(self._plan(block.lane, block.epoch).ends):
            return block._replace(number=block.number + 1)
        return Block(block.lane, block.epoch + 1, 0)

    def order(self, block: Block, count: int) -> NDArray[np.int64]:
        """Of a block's places, in how many batches they come up: numbers (batches, clips) below ``count``."""
        order = np.random.default_rng((self.seed, *block)).permutation(count)
        # Of fewer places than a batch has clips, some come up more than once.
        return np.resize(order, (self._batches(count), self.batch))

    def _batches(self, places: int) -> int:
        return max(1, places // self.batch)

    def _plan(self, lane: int, epoch: int) -> _Plan:
        plans = self._plans.setdefault(lane, {})
        if epoch not in plans:
            packs = self._packs_of(lane, epoch)
            begins = [*self._begins(packs), len(packs)]
            places = np.add.reduceat(self._places[packs], begins[:-1])
            ends = np.cumsum([self._batches(int(count)) for count in places]).tolist()
            while len(plans) >= KEPT:
                del plans[min(plans)]
            plans[epoch] = _Plan(packs, begins, ends)
        return plans[epoch]

    def _packs_of(self, lane: int, epoch: int) -> NDArray[np.int64]:
        order = self._used[np.random.default_rng((self.seed, epoch)).permutation(len(self._used))]
        # Fewer packs than lanes are shared: each lane has its own order of their clips.
        return order[lane :: self.lanes] if len(order) >= self.lanes else order[[lane % len(order)]]

    def _begins(self, packs: NDArray[np.int64]) -> Iterator[int]:
        held = self.limit + 1
        for place, size in enumerate(self._nbytes[packs].tolist()):
            held += size
            if held > self.limit:
                yield place
                held = size
