"""What is packed comes back to the bit, needs no tensor meanwhile, and shares what is remembered."""

import gc

import numpy as np
import pytest
import torch

from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_world
from worldsim.own_pages import BlobPool
from worldsim.simulation.packed_state import PackedState
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel


def acts(seed: int, batch: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = (rng.random((batch, 2, 22)) < 0.3).astype(np.float32)
    actions[..., -2:] = rng.normal(0, 4, (batch, 2, 2))
    return actions


def begun(world: WorldModel, batch: int = 2) -> WorldState:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (batch, 7, 48, 80, 3), dtype=np.uint8)
    return world.prefill(frames, np.zeros((batch, 6, 22), np.float32), list(range(batch)))


def equal(one: WorldState, other: WorldState) -> bool:
    first, second = one.tensors(), other.tensors()
    return first.keys() == second.keys() and all(
        torch.equal(t, second[name]) and t.dtype == second[name].dtype for name, t in first.items()
    )


@pytest.mark.parametrize("world", [tiny_world(), remembering_world()], ids=["plain", "remembering"])
def test_it_comes_back_to_the_bit_however_the_world_went_on(world: WorldModel):
    state = begun(world)
    state, _ = world.step(state, acts(1))
    before = state.select([0, 1])
    packed = PackedState(state, BlobPool())
    gone, first = world.step(state, acts(2), inplace=True)
    world.step(gone, acts(3), inplace=True)
    for _ in range(2):
        # Stepping what came back in place does not reach what is packed.
        back = packed.unpack()
        assert equal(back, before)
        _, again = world.step(back, acts(2), inplace=True)
        np.testing.assert_array_equal(again.frames, first.frames)
    torch.set_default_dtype(torch.float64)
    try:
        assert equal(packed.unpack(), before) and equal(PackedState(before, BlobPool()).unpack(), before)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_waiting_state_is_no_tensor_and_what_it_holds_is_let_go_with_it():
    world, pool = remembering_world(), BlobPool()
    state = begun(world)

    def tensors() -> int:
        gc.collect()
        return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())

    there = tensors()
    waiting = [PackedState(state, pool) for _ in range(5)]
    assert tensors() == there
    held = [waiting[0].pieces(), waiting[1].pieces()]
    assert sum(held[0].values()) >= state.nbytes()
    # Pictures are there once; what a step changes is there for each.
    shared = held[0].keys() & held[1].keys()
    assert len(held[0]) - len(shared) == 1
    assert state.memory is not None
    # Not quite all of it: the two worlds were seen from one pose.
    assert sum(held[0][name] for name in shared) > 0.99 * state.memory.frames.nbytes()
    del waiting
    gc.collect()
    assert not pool


def test_a_step_later_what_was_remembered_before_is_shared():
    world, pool = remembering_world(amount=0), BlobPool()
    state = begun(world)
    first = PackedState(state, pool)
    state, _ = world.step(state, np.zeros((2, 2, 22), np.float32))
    second = PackedState(state, pool)
    assert state.memory is not None
    kept = {frame.picture.data_ptr() for row in state.memory.frames.rows for frame in row.kept}
    # Of each key frame its picture, its depth, and its pose at least; where it is believed may have changed.
    assert len(second.pieces().keys() & first.pieces().keys()) >= 2 * len(kept) + 1
    assert equal(second.unpack(), state)
