"""What is new is fitted to what memory draws: which cells begin from the drawing, and which worlds do so at all."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation.test_world_model import acts, past, same
from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_world
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.inpainting import COVERED
from worldsim.simulation.memory.drawn_latents import drawn_latents


def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], Any]]:
    """Each call of the sampler from now on: what it was given after the actions, and what came out."""
    calls, sample = [], ChunkSampler.sample

    def recorded(self: ChunkSampler, state: Any, actions: Any, *given: Any, **further: Any) -> Any:
        calls.append((given, sample(self, state, actions, *given, **further)))
        return calls[-1][1]

    monkeypatch.setattr(ChunkSampler, "sample", recorded)
    return calls


def test_cells_that_are_known_begin_from_the_drawing_and_all_others_from_the_first_sample(
    monkeypatch: pytest.MonkeyPatch,
):
    world = remembering_world()
    state = world.prefill(*past(world), seeds=[1, 2])
    turn = np.tile(world.spec.vector({"camera": (0, 9)}), (2, world.chunk, 1)).astype(np.float32)
    calls = noted(monkeypatch)
    after, _ = world.step(state, turn)
    assert world.memory is not None and state.memory is not None
    outlook = world.memory.look_ahead(state.memory, torch.from_numpy(turn), state.steps + 1)
    drawn = drawn_latents(world.encode_chunks, *outlook.pictures(), state.memory.screen)
    # The hotbar, and the cells that it begins in, are those of the last picture.
    world_rows = world.memory.config.camera.rows_of_world(48) // (48 // drawn.shape[-2])
    known = drawn[:, :, -1:] > COVERED
    assert 0.1 < known.float().mean() < 0.95 and not known[..., world_rows:, :].any()
    known[..., world_rows:, :] = True
    known = known.expand(-1, -1, drawn.shape[2] - 1, -1, -1)
    [(_, (first, *_)), ((_, source, level), (_, _, last))] = calls
    assert level == world.config.sampling.inpaint_level > 0
    assert torch.equal(source[known], drawn[:, :, :-1][known]) and torch.equal(source[~known], first[~known])
    # The past that the next step has is the second evaluation's.
    assert torch.equal(after.features, last.heads.pooled[:, 0].float())


def test_it_can_be_left_out(monkeypatch: pytest.MonkeyPatch):
    world = remembering_world().with_sampling(inpaint_level=0)
    state, calls = world.prefill(*past(world), seeds=[1, 2]), noted(monkeypatch)
    world.step(state, acts(world))
    assert len(calls) == 1


def test_a_world_without_a_memory_does_not_heed_it():
    worlds = tiny_world(), tiny_world().with_sampling(inpaint_level=0)
    states = [world.prefill(*past(world), seeds=[1, 2]) for world in worlds]
    (one, first), (other, second) = (w.step(s, acts(w)) for w, s in zip(worlds, states, strict=True))
    assert same(one, other)
    np.testing.assert_array_equal(first.frames, second.frames)


@pytest.mark.parametrize("level", [-0.1, 1.0, float("nan")])
def test_a_level_is_a_share(level: float):
    with pytest.raises(ValueError, match="inpaint_level"):
        SamplingConfig(inpaint_level=level)
