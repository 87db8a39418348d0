from dataclasses import replace

import pytest
import torch

from tests.tiny_world import CHANNELS, shaken, tiny_dit, tiny_world
from worldsim.models.attention import attend, attend_fused
from worldsim.models.dit import COPIED, DiTConfig, WorldDiT
from worldsim.models.patchify import SpacetimePatchifier
from worldsim.simulation.world_model import WorldModel


def inputs(frames, grid=(4, 6), batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noisy = torch.randn(batch, frames, CHANNELS, *grid, generator=generator)
    previous = torch.randn(batch, frames, CHANNELS, *grid, generator=generator)
    tau, step = torch.rand(batch, frames, generator=generator), torch.zeros(batch, frames)
    actions = torch.randn(batch, frames, 2, 22, generator=generator)
    present = torch.ones(batch, frames, dtype=torch.bool)
    present[:, 0] = False
    return [noisy, previous, tau, step, actions, present]


@pytest.mark.parametrize(("window", "frames"), [(6, 5), (6, 7), (3, 4)])
@torch.no_grad()
def test_cached_equals_uncached(window, frames):
    dit = tiny_dit(window)
    given = inputs(frames)
    whole = dit(*given)
    cache = dit.empty_cache(2, (4, 6))
    for t in range(frames):
        out = dit(*(x[:, t : t + 1] for x in given), cache=cache)
        torch.testing.assert_close(out.latents[:, 0], whole.latents[:, t], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out.heads.motion[:, 0], whole.heads.motion[:, t], rtol=1e-4, atol=1e-5)
        cache.write(out.keys, out.values)


@torch.no_grad()
def test_ring_keeps_the_first_frame_and_the_last_ones():
    dit = tiny_dit(window=3)
    cache = dit.empty_cache(1, (4, 6))
    for t in range(9):
        shape = (1, cache.keys.shape[2], 2, 1, 8)
        cache.write([torch.full(shape, float(t))] * 2, [torch.full(shape, float(t))] * 2)
        held = cache.positions()[0]
        expected = {0} | set(range(max(1, t - 2), t + 1))
        assert set(held[held >= 0].tolist()) == expected
        for slot, index in enumerate(held.tolist()):
            if index >= 0:
                assert float(cache.keys[0, 0, 0, 0, slot, 0]) == index


@torch.no_grad()
def test_the_first_frame_is_seen_from_beyond_the_window():
    """With one temporal layer nothing passes on what it saw: only the sink can reach past the window."""
    dit = tiny_dit(window=3)
    dit.blocks[1].temporal.out.weight.zero_()  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess, reportCallIssue]
    given = inputs(8, batch=1)

    def last(changed):
        noisy = given[0].clone()
        noisy[:, changed] += 1
        cache = dit.empty_cache(1, (4, 6))
        for t in range(7):
            out = dit(*(x[:, t : t + 1] for x in (noisy, *given[1:])), cache=cache)
            cache.write(out.keys, out.values)
        return dit(*(x[:, 7:8] for x in (noisy, *given[1:])), cache=cache).latents

    plain = last(slice(0, 0))
    assert not torch.allclose(last(0), plain, atol=1e-6), "the sink"
    assert not torch.allclose(last(5), plain, atol=1e-6), "inside the window"
    assert torch.equal(last(2), plain), "beyond the window"


@torch.no_grad()
def test_the_future_does_not_change_the_past():
    dit = tiny_dit()
    given = inputs(6)
    whole = dit(*given)
    later = [x.clone() for x in given]
    for x in (later[0], later[1], later[4]):
        x[:, 4:] += torch.randn_like(x[:, 4:])
    changed = dit(*later)
    torch.testing.assert_close(changed.latents[:, :4], whole.latents[:, :4], rtol=0, atol=0)
    assert not torch.allclose(changed.latents[:, 4:], whole.latents[:, 4:])


@torch.no_grad()
def test_actions_matter_unless_absent():
    dit = tiny_dit()
    given = inputs(4)
    other = [x.clone() for x in given]
    other[4][:, 2] += 1
    assert not torch.allclose(dit(*given).latents[:, 2], dit(*other).latents[:, 2])
    for g in (given, other):
        g[5] = torch.zeros_like(g[5])
    torch.testing.assert_close(dit(*given).latents, dit(*other).latents, rtol=0, atol=0)


@torch.no_grad()
def test_a_still_is_a_one_frame_video():
    dit = tiny_dit()
    given = inputs(3)
    given[5][:] = False
    alone = dit(*given, temporal=False)
    single = dit(*(x[:, :1] for x in given), temporal=False)
    torch.testing.assert_close(alone.latents[:, 0], single.latents[:, 0], rtol=1e-5, atol=1e-6)
    changed = [x.clone() for x in given]
    changed[0][:, 0] += 1
    torch.testing.assert_close(dit(*changed, temporal=False).latents[:, 1:], alone.latents[:, 1:], rtol=0, atol=0)


@pytest.mark.parametrize("grid", [(4, 4), (4, 8), (8, 4)])
@torch.no_grad()
def test_one_set_of_weights_for_all_aspect_ratios(grid):
    dit = tiny_dit()
    out = dit(*inputs(3, grid))
    assert out.latents.shape == (2, 3, CHANNELS, *grid) and bool(out.latents.isfinite().all())


@torch.no_grad()
def test_rows_of_a_batch_are_independent():
    dit = tiny_dit()
    given = inputs(4)
    whole = dit(*given).latents
    for row in range(2):
        torch.testing.assert_close(dit(*(x[row : row + 1] for x in given)).latents[0], whole[row], rtol=1e-4, atol=1e-5)


def test_cells_of_tokens_lie_where_their_latents_do():
    patchifier = SpacetimePatchifier(channels=1, patch=2)
    latents = torch.randn(2, 3, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(patchifier.cells(patchifier.tokens(latents), (2, 3)), latents)


def test_patchifier_round_trip_and_errors():
    patchifier = SpacetimePatchifier(channels=3)
    latents = torch.randn(2, 3, 3, 4, 6)
    tokens = patchifier.tokens(latents)
    assert tokens.shape == (2, 3, 6, 12)
    torch.testing.assert_close(patchifier.latents(tokens, (2, 3)), latents, rtol=0, atol=0)
    with pytest.raises(ValueError, match="not divisible"):
        patchifier.grid(5, 6)


def test_config_and_length_errors():
    with pytest.raises(ValueError, match="not divisible by heads"):
        DiTConfig(channels=4, keys=1, camera=True, chunk=2, width=30, heads=4)
    with pytest.raises(ValueError, match="latent frames at once"):
        tiny_dit(window=3)(*inputs(5))


def test_activations_computed_again_give_the_same_gradients():
    dit, given = tiny_dit(window=6), inputs(5)
    gradients = []
    for recompute in (False, True):
        dit.recompute = recompute
        dit.zero_grad()
        dit(*given).latents.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in dit.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_computes_where_its_weights_are():
    """Any tensor made on the CPU amid the others would be an error on the device without memory, as it is on a GPU."""
    dit = tiny_dit(window=6).to("meta")
    given = [x.to("meta") for x in inputs(5)]
    assert dit(*given).latents.device.type == "meta"
    cache = dit.empty_cache(2, (4, 6))
    cache = type(cache)(*(t.to("meta") for t in (cache.keys, cache.values, cache.count)))
    out = dit(*(x[:, :1] for x in given), cache=cache)
    assert out.heads.motion.device.type == "meta" and out.keys[0].device.type == "meta"


@pytest.mark.parametrize(("heads", "kv_heads", "lead"), [(4, 4, (3,)), (6, 2, (2, 5)), (4, 1, (1, 2))])
def test_fused_attention_is_the_written_out_one(heads: int, kv_heads: int, lead: tuple[int, ...]):
    q = torch.randn(*lead, heads, 3, 8)
    k, v = torch.randn(2, *lead, kv_heads, 7, 8)
    mask = torch.zeros(3, 7).masked_fill(torch.rand(3, 7) < 0.4, float("-inf"))
    mask[:, 0] = 0
    for given in (None, mask[None]):
        torch.testing.assert_close(attend_fused(q, k, v, given), attend(q, k, v, given))


@pytest.mark.parametrize("clean_past", [True, False])
@torch.no_grad()
def test_the_previous_frame_is_an_input_where_the_network_has_a_clean_past(clean_past):
    dit = shaken(WorldDiT(replace(tiny_dit().config, clean_past=clean_past)), 0)
    noisy, previous, *rest = inputs(4)
    first, second = (dit(noisy, frames, *rest).latents for frames in (previous, previous + 1))
    assert torch.equal(first[:, 0], second[:, 0])
    assert torch.equal(first[:, 1:], second[:, 1:]) is not clean_past


def test_a_world_without_a_clean_past_must_not_fold():
    world = tiny_world()
    dit = shaken(WorldDiT(replace(world.dit.config, clean_past=False)), 0)
    with pytest.raises(ValueError, match="reuse_last_eval_for_cache=false"):
        WorldModel(world.config, world.tokenizer, dit, bf16=False)  # pyright: ignore[reportArgumentType]
    unfolded = replace(
        world.config, prompts=(), sampling=replace(world.config.sampling, reuse_last_eval_for_cache=False)
    )
    WorldModel(unfolded, world.tokenizer, dit, bf16=False)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def test_what_a_memory_draws_is_an_input_and_may_be_copied():
    given, drawn = inputs(4), torch.randn(2, 4, CHANNELS + 1, 4, 6, generator=torch.Generator().manual_seed(5))
    fresh = WorldDiT(replace(tiny_dit().config, drawn=True))
    shaken(fresh, 0)
    assert fresh.drawn_in is not None and fresh.copied is not None
    fresh.drawn_in.weight.zero_()
    fresh.copied.weight.zero_()
    fresh.copied.bias.fill_(COPIED)
    # At first a share of what is covered is taken from the drawing, and nothing else differs.
    share = torch.sigmoid(torch.tensor(COPIED)) * drawn[:, :, -1:]
    expected = torch.lerp(fresh(*given).latents, drawn[:, :, :-1], share)
    torch.testing.assert_close(fresh(*given, drawn_BTDHW=drawn).latents, expected)
    dit = tiny_dit(drawn=True)
    plain, seeing = dit(*given).latents, dit(*given, drawn_BTDHW=drawn).latents
    assert torch.equal(plain, dit(*given, drawn_BTDHW=torch.zeros_like(drawn)).latents)
    # Of frame 2 alone: it and what follows change, what was before does not.
    late = drawn * (torch.arange(4) == 2)[:, None, None, None]
    changed = (dit(*given, drawn_BTDHW=late).latents - plain).abs().amax((0, 2, 3, 4))
    torch.testing.assert_close(changed[:2], torch.zeros(2), atol=1e-6, rtol=0)
    assert bool((changed[2:] > 1e-4).all()) and not torch.equal(plain, seeing)
    with pytest.raises(ValueError, match="without a memory"):
        tiny_dit()(*given, drawn_BTDHW=drawn)


@torch.no_grad()
def test_drawn_one_by_one_equals_drawn_together():
    dit, given = tiny_dit(drawn=True), inputs(5)
    drawn = torch.randn(2, 5, CHANNELS + 1, 4, 6, generator=torch.Generator().manual_seed(5))
    whole, cache = dit(*given, drawn_BTDHW=drawn), dit.empty_cache(2, (4, 6))
    for t in range(5):
        out = dit(*(x[:, t : t + 1] for x in given), cache=cache, drawn_BTDHW=drawn[:, t : t + 1])
        torch.testing.assert_close(out.latents[:, 0], whole.latents[:, t], rtol=1e-4, atol=1e-5)
        cache.write(out.keys, out.values)
