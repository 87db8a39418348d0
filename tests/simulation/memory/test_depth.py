from dataclasses import asdict, replace

import pytest
import torch

from tests.simulation.memory.room import BLOCK, LENS, look, pose, view
from tests.tiny_world import shaken
from worldsim.models.checkpoint import compact, save_tensors
from worldsim.simulation.memory.depth import (
    FILE,
    FORMAT,
    DepthCompletion,
    DepthCompletionConfig,
    decode_depth,
    encode_depth,
    heeding_pitch,
    load_depth_completion,
)
from worldsim.training.memory.depth_losses import (
    COLOUR_SCALE,
    confidence_loss,
    depth_loss,
    reprojection_error,
    self_supervised_loss,
    smoothness_loss,
)

SMALL = DepthCompletionConfig(channels=(16, 16, 32), blocks=(1, 1, 1))
HERE = pose(yaw=10)
NEAR = [pose(x=0.2, yaw=14), pose(z=0.3, x=-0.2, yaw=6)]


def scene() -> dict[str, torch.Tensor]:
    """A picture with its code of depth, and two others from near by, as the losses take them."""
    one, others = look(HERE, blocks=[BLOCK]), look(*NEAR, blocks=[BLOCK])
    return {
        "code": encode_depth(one.inverse_depth),
        "pictures": one.pictures,
        "poses_B5": one.poses,
        "others": others.pictures[None],
        "other_poses": others.poses[None],
    }


def test_codes_of_depth_return():
    depth = torch.tensor([0, 0.001, 0.1, 10])
    torch.testing.assert_close(decode_depth(encode_depth(depth)), depth, atol=1e-6, rtol=1e-5)
    assert decode_depth(torch.tensor(-30.0)) == 0


def test_before_training_it_says_eight_metres_and_is_half_sure():
    code, sure = DepthCompletion(SMALL)(view(HERE)[0][None], LENS.descents(HERE[None]))
    torch.testing.assert_close(decode_depth(code), torch.full((1, LENS.height, LENS.width), 0.1225), atol=3e-3, rtol=0)
    assert (sure == 0).all() and code.shape == sure.shape


def trained(steps: int) -> tuple[DepthCompletion, list[float]]:
    """A small network, taught the depth of two views."""
    torch.manual_seed(0)
    network = DepthCompletion(SMALL)
    seen = look(HERE, pose(yaw=100, pitch=15), blocks=[BLOCK])
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        code, _ = network(seen.pictures, LENS.descents(seen.poses))
        loss = depth_loss(code, seen.inverse_depth, seen.inverse_depth >= 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, losses


def test_it_learns_for_a_moment():
    losses = trained(steps=40)[1]
    assert losses[-1] < 0.35 * losses[0]


def test_the_pitch_tells_how_far_level_ground_is():
    """Grey pictures that say nothing, of level ground as seen at several pitches."""
    torch.manual_seed(0)
    poses = torch.tensor([[0.0, 0, 0, 0, pitch] for pitch in (-20, 0, 25, 60)])
    descents = LENS.descents(poses)
    ground = descents.clamp(min=0) / 1.6
    pictures = torch.full((*descents.shape, 3), 128)
    error = {}
    for inclined in (False, True):
        network = DepthCompletion(replace(SMALL, inclined=inclined))
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        for _ in range(60):
            loss = depth_loss(network(pictures, descents)[0], ground, ground >= 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            error[inclined] = loss.item()
    assert error[True] < 0.4 < 0.5 < error[False]


def test_weights_from_before_the_pitch_was_told_say_what_they_said(tmp_path):
    torch.manual_seed(0)
    before = DepthCompletion(replace(SMALL, inclined=False))
    shaken(before, 0)
    about = {name: value for name, value in asdict(before.config).items() if name != "inclined"}
    save_tensors(tmp_path / FILE, compact(before), {"format": FORMAT, "depth": about})
    loaded = load_depth_completion(tmp_path)
    assert not loaded.config.inclined
    after = DepthCompletion(SMALL)
    after.load_state_dict(heeding_pitch(loaded.state_dict()))
    entered = {}
    for name, network in (("loaded", loaded), ("after", after)):
        network.enter.register_forward_hook(lambda _, __, out, name=name: entered.update({name: out}))
    seen = look(HERE, blocks=[BLOCK])
    for pitch in (0.0, 40.0):
        descents = LENS.descents(torch.cat([seen.poses[:, :4], torch.full((1, 1), pitch)], 1))
        loaded(seen.pictures, descents)
        after(seen.pictures, descents)
        # The border aside, beyond which nothing was told.
        inside = slice(1, -1)
        torch.testing.assert_close(entered["loaded"][..., inside, inside], entered["after"][..., inside, inside])


def test_rows_equal_a_row_alone_to_the_bit():
    network = trained(steps=2)[0].eval()
    seen = look(HERE, pose(yaw=100), pose(yaw=200, pitch=-20), blocks=[BLOCK])
    with torch.inference_mode():
        together = network(seen.pictures, LENS.descents(seen.poses))
        for row in range(3):
            part = slice(row, row + 1)
            alone = network(seen.pictures[part], LENS.descents(seen.poses[part]))
            assert all(torch.equal(a[0], t[row]) for a, t in zip(alone, together, strict=True))


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        DepthCompletion(SMALL)(torch.zeros(1, 80, 84, 3), torch.zeros(1, 80, 84))


@pytest.mark.parametrize("wrong", [{"channels": (16, 16)}, {"blocks": (1, 1)}, {"channels": (16, 16, 20)}])
def test_configurations_that_cannot_be_are_refused(wrong: dict):
    with pytest.raises(ValueError):
        DepthCompletionConfig(**wrong)


def test_the_supervised_loss_is_the_mean_error_where_it_counts():
    depth = torch.full((1, 4, 4), 0.5)
    counts = torch.zeros(1, 4, 4, dtype=torch.bool)
    counts[0, :2] = True
    code = encode_depth(depth)
    code[0, 0] += 0.4
    code[0, 3] += 100
    assert depth_loss(code, depth, counts).item() == pytest.approx(0.2)
    assert depth_loss(code, depth, ~counts & False).item() == 0


def test_true_depth_reprojects_and_wrong_depth_does_not():
    true = scene()
    error, inside = reprojection_error(LENS, **true)  # pyright: ignore
    assert inside.float().mean() > 0.8
    # What is hidden in the other picture stays wrong: the median looks past it.
    assert error[inside].median() < 0.003
    wrong, _ = reprojection_error(LENS, **{**true, "code": true["code"] + 0.5})  # pyright: ignore
    assert wrong[inside].mean() > 2 * error[inside].mean()


def test_depth_is_found_from_pictures_alone():
    true = scene()
    code = (true["code"] + 0.3).requires_grad_()
    before = (code - true["code"]).abs().mean().item()
    optimizer = torch.optim.Adam([code], 0.02)
    for _ in range(60):
        loss = self_supervised_loss(LENS, **{**true, "code": code})  # pyright: ignore
        loss = loss + 0.01 * smoothness_loss(code, true["pictures"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(code).all()
    assert (code - true["code"]).abs().mean().item() < 0.5 * before


def test_what_does_not_move_with_the_camera_teaches_no_depth():
    true = scene()
    pictures, others = true["pictures"].clone(), true["others"].clone()
    stripes = torch.arange(LENS.width) % 9 * 28
    pictures[:, 61:] = others[:, :, 61:] = stripes[:, None].to(torch.uint8)
    code = (true["code"] + 0.2).requires_grad_()
    self_supervised_loss(LENS, **{**true, "code": code, "pictures": pictures, "others": others}).backward()  # pyright: ignore
    assert code.grad is not None
    assert not code.grad[:, 61:].any() and code.grad[:, :50].any()


def test_smoothness_spares_edges_of_colour():
    code = torch.zeros(1, 8, 8)
    code[:, :, 4:] = 1
    flat = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    edge = flat.clone()
    edge[:, :, 4:] = 255
    assert smoothness_loss(torch.ones(1, 8, 8), flat) == 0
    assert smoothness_loss(code, edge) < 0.01 * smoothness_loss(code, flat)


def test_confidence_settles_at_the_share_that_reprojection_gets_right():
    error = torch.tensor([0.0, 0.5, 1, 2]).view(1, 1, 1, 4) * COLOUR_SCALE
    inside = torch.ones_like(error, dtype=torch.bool)
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.2)
    for _ in range(300):
        optimizer.zero_grad()
        confidence_loss(logits, error, inside).backward()
        optimizer.step()
    expected = torch.exp(-error[0, 0, 0] / COLOUR_SCALE)
    torch.testing.assert_close(logits.sigmoid()[0, 0], expected, atol=0.02, rtol=0)
    assert confidence_loss(logits, error, ~inside) == 0
