"""The order of clips out of packs: each place once an epoch, lanes apart, memory bounded, for a million episodes."""

import tracemalloc

import numpy as np
import pytest

from worldsim.datasets.loading.block_shuffle import Block, BlockShuffle
from worldsim.datasets.loading.latent_cache import STILL_EVERY, clip_starts, stills_of

PLACES = np.array([5, 0, 12, 7, 9, 3, 8, 40, 6, 10])
NBYTES = np.array([50, 20, 120, 70, 90, 30, 80, 400, 60, 100])


def shuffle(**changes) -> BlockShuffle:
    return BlockShuffle(PLACES, NBYTES, **{"batch": 4, "seed": 3, "lanes": 1, "limit": 250} | changes)


def epoch_of(order: BlockShuffle, lane: int, epoch: int) -> list[Block]:
    """The blocks of a lane's epoch, walked by the numbers of its batches."""
    found, index = [], lane
    while not found or found[-1].epoch <= epoch:
        block, _ = order.locate(index)
        if not found or found[-1] != block:
            found.append(block)
        index += order.lanes
    return [block for block in found if block.epoch == epoch]


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_an_epoch_has_every_pack_once_and_blocks_fit_into_memory(lanes: int):
    order = shuffle(lanes=lanes)
    for epoch in (0, 1):
        packs = []
        for lane in range(lanes):
            for block in epoch_of(order, lane, epoch):
                numbers = order.packs(block)
                assert NBYTES[numbers].sum() <= 250 or len(numbers) == 1
                packs += numbers.tolist()
        # Pack 1 has no place for a clip.
        assert sorted(packs) == [0, 2, 3, 4, 5, 6, 7, 8, 9]


def test_epochs_differ_and_so_do_seeds():
    def packs(order: BlockShuffle, epoch: int) -> list[list[int]]:
        return [order.packs(block).tolist() for block in epoch_of(order, 0, epoch)]

    order = shuffle()
    assert packs(order, 0) == packs(shuffle(), 0) != packs(order, 1)
    assert packs(order, 0) != packs(shuffle(seed=4), 0)


@pytest.mark.parametrize("count", [3, 4, 30])
def test_a_block_has_every_place_once_but_for_the_rest_of_a_batch(count: int):
    order = shuffle()
    drawn = order.order(Block(0, 0, 0), count)
    assert drawn.shape == (max(1, count // 4), 4)
    once = np.unique(drawn)
    assert len(once) == min(count, drawn.size) and once[0] >= 0 and once[-1] < count
    assert not np.array_equal(drawn, order.order(Block(0, 1, 0), count))
    assert not np.array_equal(drawn, order.order(Block(1, 0, 0), count))


def test_batches_of_a_block_follow_each_other_and_any_is_found_at_once():
    walked, order = [shuffle(lanes=2).locate(index) for index in range(200)], shuffle(lanes=2)
    fresh = [shuffle(lanes=2).locate(index) for index in (199, 0, 77)]
    assert [walked[index] for index in (199, 0, 77)] == fresh == [order.locate(index) for index in (199, 0, 77)]
    for lane in (0, 1):
        mine = walked[lane::2]
        for (block, number), (after, following) in zip(mine, mine[1:], strict=False):
            assert block.lane == lane
            assert (after, following) in ((block, number + 1), (order.after(block), 0))


def test_fewer_packs_than_lanes_are_shared_in_orders_of_their_own():
    order = BlockShuffle(np.array([30, 30]), np.array([1, 1]), batch=4, lanes=3)
    blocks = [order.locate(lane)[0] for lane in range(3)]
    packs = [order.packs(block).tolist() for block in blocks]
    assert packs[0] == packs[2] != packs[1] and all(len(one) == 1 for one in packs)
    assert not np.array_equal(order.order(blocks[0], 30), order.order(blocks[2], 30))


def test_mistakes():
    with pytest.raises(ValueError, match="no episode is long enough"):
        BlockShuffle(np.zeros(3, np.int64), np.ones(3, np.int64), batch=1)
    with pytest.raises(ValueError, match="numbered from 0"):
        shuffle().locate(-1)


@pytest.mark.parametrize("frames", [1, 4, 8])
def test_clips_begin_where_a_still_is_and_end_within_their_episode(frames: int):
    lengths = np.arange(1, 40)
    expected = [len(range(0, int(n) - frames + 1, STILL_EVERY)) for n in lengths]
    assert clip_starts(lengths, frames).tolist() == expected
    assert stills_of(lengths).tolist() == [len(range(0, int(n), STILL_EVERY)) for n in lengths]


def test_a_million_episodes_are_shuffled_in_little_memory():
    """Eight lanes, 20 episodes a pack, 500 latent frames an episode, 25 kB each: 25 TB of latents."""
    lengths = np.random.default_rng(0).integers(100, 900, (50_000, 20))
    places, nbytes = clip_starts(lengths, 32).sum(1), lengths.sum(1) * 25_000
    tracemalloc.start()
    try:
        order = BlockShuffle(places, nbytes, batch=64, lanes=8, limit=2**30)
        batches = int(places.sum()) // 64
        used = set()
        for index in range(0, 8 * 40_000, 8 * 8_000):
            block, number = order.locate(index)
            packs = order.packs(block)
            assert nbytes[packs].sum() <= 2**30 and number <= places[packs].sum() // 64
            assert order.order(block, int(places[packs].sum())).shape[1] == 64
            used |= set(packs.tolist())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Blocks all over the set, and less than 32 bytes an episode.
    assert batches > 1_000_000 and len(used) > 10 and peak < 32e6
