"""Replaying the network from recordings, with a recorder that needs no GPU: its inputs and outputs are fixed too."""

import copy
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tiny_world import PROMPTS, tiny_starts, tiny_world
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.graphs import MOST, Replayed
from worldsim.simulation.world_model import WorldModel

FORWARD = np.zeros((2, 2, 22), np.float32)
FORWARD[..., 0] = 1


class Recorder:
    """Records as a CUDA graph does: replays read what lies at the inputs' places and write to the same outputs."""

    def __init__(self, fails: bool = False) -> None:
        self.recorded, self.replays, self.fails = 0, 0, fails

    def __call__(self, run: Callable[[], Sequence[Tensor]]) -> tuple[Callable[[], None], Sequence[Tensor]]:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        self.recorded += 1
        made = [x.clone() for x in run()]
        # A recording is not a run: its outputs hold nothing before the first replay.
        for x in made:
            x.fill_(7)

        def replay() -> None:
            self.replays += 1
            for place, x in zip(made, run(), strict=True):
                place.copy_(x)

        return replay, made


def sums(a: Tensor, b: Tensor | None, *more: Tensor) -> list[Tensor]:
    return [a * 2 if b is None else a + b, *(x.square() for x in more)]


def test_answers_are_the_functions_own_and_stay():
    recorder = Recorder()
    replayed = Replayed(sums, recorder)
    generator, kept = torch.Generator().manual_seed(0), []
    for n in range(6):
        a, b, c = (torch.randn(3, 2, generator=generator) for _ in range(3))
        # Whatever their layout in memory.
        b = b.T.contiguous().T if n % 2 else b[:1].expand(3, 2)
        before = [x.clone() for x in (a, b, c)]
        kept.append((replayed(a, b, c), sums(a, b, c)))
        assert all(torch.equal(x, y) for x, y in zip((a, b, c), before, strict=True))
    assert (recorder.recorded, recorder.replays) == (1, 5)
    for got, expected in kept:
        assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))


def test_each_kind_of_input_has_its_own_recording():
    recorder = Recorder()
    replayed = Replayed(sums, recorder)
    kinds: list[tuple[Any, ...]] = [
        (torch.ones(2), torch.ones(2)), (torch.ones(2), None), (torch.ones(3), torch.ones(3)),
        (torch.ones(2, dtype=torch.float64), None), (torch.ones(2), torch.ones(2), torch.ones(1)),
    ]  # fmt: skip
    for _ in range(3):
        for kind in kinds:
            assert all(torch.equal(x, y) for x, y in zip(replayed(*kind), sums(*kind), strict=True))
    assert (recorder.recorded, recorder.replays) == (len(kinds), 2 * len(kinds))


def test_shapes_that_come_once_are_not_recorded_and_the_oldest_recording_goes():
    recorder = Recorder()
    replayed = Replayed(sums, recorder)
    for n in range(1, 30):
        replayed(torch.ones(n), None)
    assert recorder.recorded == 0
    for n in range(1, MOST + 2):
        replayed(torch.ones(n), None)
        replayed(torch.ones(1), None)
    assert recorder.recorded == MOST + 1 and len(replayed._kept) == MOST
    replayed(torch.ones(1), None)
    assert recorder.recorded == MOST + 1
    assert torch.equal(replayed(torch.ones(2), None)[0], torch.full((2,), 2.0)) and recorder.recorded == MOST + 2


def test_what_cannot_be_recorded_is_run_as_it_is_with_one_warning():
    replayed = Replayed(sums, Recorder(fails=True))
    a = torch.arange(3.0)
    replayed(a, None)
    with pytest.warns(UserWarning, match="without CUDA graphs.*: operation not permitted when stream is capturing$"):
        assert torch.equal(replayed(a, None)[0], a * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(replayed(a + 1, None)[0], (a + 1) * 2)
        assert torch.equal(Replayed(sums, None)(a, a)[0], a + a)


def test_mistakes_of_the_function_are_its_own():
    def broken(a: Tensor) -> list[Tensor]:
        raise ValueError("shapes")

    replayed = Replayed(broken, Recorder())
    for _ in range(3):
        with pytest.raises(ValueError, match="shapes"):
            replayed(torch.ones(1))


def test_threads_take_turns():
    replayed, wrong = Replayed(sums, Recorder()), []

    def call(number: int) -> None:
        for n in range(50):
            a = torch.full((4,), float(100 * number + n))
            if not torch.equal(replayed(a, None)[0], a * 2):
                wrong.append(n)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_copy_records_anew():
    recorder = Recorder()
    replayed = Replayed(sums, recorder)
    for _ in range(2):
        replayed(torch.ones(2), None)
    other = copy.deepcopy(replayed)
    assert torch.equal(other(torch.ones(2), None)[0], torch.full((2,), 2.0))
    assert other._kept == {} and len(replayed._kept) == 1


def with_recorder(world: WorldModel) -> tuple[WorldModel, Recorder]:
    """The same world with a recorder where a GPU would have one."""
    recorder = Recorder()
    other = world.with_sampling()
    other.sampler.__dict__["replayed"] = Replayed(other.sampler._after_past, recorder)
    return other, recorder


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [{}, {"steps": 1}, {"guidance": 1.5, "reuse_last_eval_for_cache": False}], ids=str)
def test_a_world_that_is_replayed_dreams_the_same(sampling: dict[str, Any]):
    """Forks, other batches, prompts and steps in place included, to the bit."""
    starts, world = tiny_starts(), tiny_world(**sampling)
    other, recorder = with_recorder(world)
    shown = []
    for each in (world, other):
        frames = []
        for prompts in (None, PROMPTS):
            state = each.prefill(starts.frames[:2], starts.actions[:2], [1, 2], prompts)
            for n in range(4):
                before, (state, out) = state, each.step(state, FORWARD, inplace=n > 1)
                frames += [out.frames, out.pose, out.latents.numpy().copy()]
                if n < 2:
                    frames.append(each.step(before.select([1]), FORWARD[:1])[1].frames)
            frames.append(each.step(state.share([0, 0]), FORWARD)[1].frames)
        shown.append(frames)
    for a, b in zip(*shown, strict=True):
        np.testing.assert_array_equal(a, b)
    # Two rows and one, with text and without; without an action is a matter of values.
    assert recorder.recorded == 4 and recorder.replays >= 10


def test_without_a_gpu_nothing_is_recorded():
    sampler = tiny_world().sampler
    assert isinstance(sampler, ChunkSampler) and sampler.replayed is None
