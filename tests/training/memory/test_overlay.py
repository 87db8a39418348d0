"""Pixels fixed to the screen, found in recordings."""

import pytest
import torch

from tests.tiny_memory import remembering_world, tiny_memory
from worldsim.simulation.memory.files import load_memory, save_memory
from worldsim.simulation.memory.spatial import SpatialMemory
from worldsim.training.memory.overlay import fixed_pixels


@pytest.mark.slow
def test_a_crosshair_is_found_and_the_world_behind_it_is_not():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (160, 2, 4, 3), generator=generator).float()
    cells = coarse.repeat_interleave(24, 1).repeat_interleave(24, 2)
    shifts = torch.randint(24, (160, 2), generator=generator).tolist()
    frames = torch.stack([cell.roll(shift, (0, 1)) for cell, shift in zip(cells, shifts, strict=True)])[:, :, 7:87]
    frames = (frames + 30 * torch.randn(frames.shape, generator=generator)).clamp(0, 255)
    cross = torch.zeros(48, 80, dtype=torch.bool)
    cross[20, 36:45] = cross[16:25, 40] = True
    shown = torch.where(cross[..., None], 0.3 * frames + 178, frames).to(torch.uint8)
    assert torch.equal(fixed_pixels(shown), cross)
    assert not fixed_pixels(frames.to(torch.uint8)).any()


def test_what_is_fixed_is_neither_drawn_nor_remembered_and_is_saved(tmp_path):
    cross = torch.zeros(48, 80, dtype=torch.bool)
    cross[20, 36:45] = True
    plain = tiny_memory(amount=0)
    memory = SpatialMemory(plain.config, plain.depth, plain.motion, plain.compositor, cross)
    frames = torch.randint(0, 256, (1, 1, 48, 80, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    state = memory.begin(frames, torch.zeros(1, 0, 2, 22))
    assert not state.confidence[0][cross].any() and bool(state.confidence[0, 19, 36:45].all())
    # Turned away, its place shows the world and its old place in the world is a hole.
    actions = torch.zeros(1, 2, 22)
    actions[..., -1] = 8.0
    outlook = memory.look_ahead(state, actions, torch.ones(1, dtype=torch.long))
    assert not outlook.drawn.covered[:, cross].any()
    save_memory(memory, tmp_path)
    again = load_memory(tmp_path)
    assert again is not None and again.overlay is not None and torch.equal(again.overlay, cross)
    with pytest.raises(ValueError, match=r"pictures of \(48, 80\)"):
        memory.fixed(80, 144)


def test_without_an_overlay_the_rows_below_the_world_are_fixed():
    memory = remembering_world().memory
    assert memory is not None
    fixed = memory.fixed(80, 144)
    assert bool(fixed[61:].all()) and not fixed[:61].any()
