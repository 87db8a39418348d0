"""The network between known frames: what it sees, and that nothing of it reaches causal play."""

from dataclasses import replace

import pytest
import torch

from tests.models.test_dit import inputs
from tests.tiny_world import tiny_dit, tiny_world
from worldsim.models.dit import WorldDiT
from worldsim.simulation.world_model import WorldModel
from worldsim.training.dynamics import with_new_inputs


def known(*frames: int, of: int = 5) -> torch.Tensor:
    return (torch.arange(of)[None] == torch.tensor(frames)[:, None]).any(0).expand(2, of)


def grown() -> WorldDiT:
    """The tiny network's weights in one that can fill in, as training begins with them."""
    plain = tiny_dit()
    dit = WorldDiT(replace(plain.config, infilling=True)).eval()
    dit.load_state_dict(with_new_inputs(dit, plain.state_dict()))
    return dit


@torch.no_grad()
def test_with_untrained_infilling_a_network_plays_as_before_to_the_bit():
    plain, dit, given = tiny_dit(), grown(), inputs(5)
    before, after = plain(*given), dit(*given)
    assert torch.equal(before.latents, after.latents) and torch.equal(before.heads.motion, after.heads.motion)
    backwards = dit(*given, backwards_B=torch.ones(2))
    assert torch.equal(before.latents, backwards.latents)
    world = tiny_world()
    prompts = world.prompt_embeddings
    other = WorldModel(world.config, world.tokenizer, grown_of(world), prompt_embeddings=prompts, bf16=False)
    frames = torch.randint(0, 255, (1, 5, 48, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    actions = torch.randn(1, 6, 22, generator=torch.Generator().manual_seed(1))
    shown = []
    for one in (world, other):
        state = one.prefill(frames, actions[:, :4], [3])
        for _ in range(3):
            state, step = one.step(state, actions[:, 4:])
            shown.append(step.frames)
    assert all((a == b).all() for a, b in zip(shown[:3], shown[3:], strict=True))


def grown_of(world: WorldModel) -> WorldDiT:
    dit = WorldDiT(replace(world.dit.config, infilling=True))
    dit.load_state_dict(with_new_inputs(dit, world.dit.state_dict()))
    return dit


@torch.no_grad()
def test_a_known_later_frame_changes_an_unknown_earlier_one_and_only_when_filling_in():
    dit, given = tiny_dit(infilling=True), inputs(5)
    later = [x.clone() for x in given]
    later[0][:, 4] += 1
    for options, seen in (({}, False), ({"known_BT": known(0, 4)}, True)):
        changed = (dit(*later, **options).latents - dit(*given, **options).latents).abs().amax((0, 2, 3, 4))
        assert bool((changed[1:4] > 1e-5).all()) == seen and bool((changed[1:4] == 0).all()) != seen


@torch.no_grad()
def test_of_an_unknown_neighbour_there_is_no_clean_latent():
    dit, given = tiny_dit(infilling=True), inputs(5)
    other = [x.clone() for x in given]
    # Clean latents before frames 2 and 3, whose neighbours 1 and 2 are not known.
    other[1][:, 2:4] += 1
    same, kept = dit(*given, known_BT=known(0, 3, 4)), dit(*other, known_BT=known(0, 3, 4))
    assert torch.equal(same.latents, kept.latents)
    other[1][:, 4] += 1
    assert not torch.equal(same.latents, dit(*other, known_BT=known(0, 3, 4)).latents)


@torch.no_grad()
def test_the_clean_latent_after_a_frame_is_an_input_where_it_is_known():
    dit, given = tiny_dit(infilling=True), inputs(3)
    silent = tiny_dit(infilling=True)
    assert dit.infilling is not None and silent.infilling is not None
    silent.infilling.following_in.weight.zero_()
    # No frame is known: nothing is told of the one after.
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(dit(*given, known_BT=nothing).latents, silent(*given, known_BT=nothing).latents)
    last = known(2, of=3)
    assert not torch.equal(dit(*given, known_BT=last).latents, silent(*given, known_BT=last).latents)


@torch.no_grad()
def test_the_direction_of_time_is_told_row_by_row():
    dit, given = tiny_dit(infilling=True), inputs(3)
    plain = dit(*given).latents
    mixed = dit(*given, backwards_B=torch.tensor([0.0, 1.0])).latents
    torch.testing.assert_close(mixed[0], plain[0], rtol=0, atol=1e-6)
    assert not torch.allclose(mixed[1], plain[1], atol=1e-4)


@pytest.mark.parametrize("option", [{"known_BT": known(0)}, {"backwards_B": torch.zeros(2)}])
def test_a_network_made_without_infilling_says_so(option):
    with pytest.raises(ValueError, match="made without infilling"):
        tiny_dit()(*inputs(5), **option)
