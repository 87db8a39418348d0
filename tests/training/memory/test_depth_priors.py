"""Errors that the prior of depth completion is trained with."""

import torch

from tests.training.memory.walks import LENS, ROWS, walks
from worldsim.simulation.memory.depth import DepthCompletion, DepthCompletionConfig, encode_depth
from worldsim.simulation.memory.observe import MemoryConfig
from worldsim.simulation.memory.unet import CELL
from worldsim.training.memory.depth_priors import moved_sources, own_depth, punched, remembered, wrong_depth

SMALL = DepthCompletionConfig(channels=(16, 16, 32), blocks=(1, 1, 1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_wrong_depth_has_the_strength_asked_for_and_is_smooth():
    depth = torch.full((20, 2, 80, 144), 0.2)
    torch.testing.assert_close(wrong_depth(depth, 0.0, generator()), depth)
    error = encode_depth(wrong_depth(depth, 0.3, generator())) - encode_depth(depth)
    # Bilinear upsampling makes it somewhat weaker; the mean of squared strengths is 4/3 of the squared mean.
    assert 0.2 < error.square().mean().sqrt() < 0.36
    assert error.diff(dim=-1).square().mean() < 0.3 * error.square().mean()


def test_poses_err_with_their_age():
    sources = walks(count=1, frames=40).sources([(0, 30)] * 200, [[1, 20]] * 200, 3)
    gaps = torch.tensor([1, 20, 0]).expand(200, -1)
    moved = moved_sources(sources, gaps, 0.01, 0.1, generator())
    error = (moved.poses - sources.poses).square().mean(0).sqrt()
    torch.testing.assert_close(error[0, :3].mean(), torch.tensor(0.01), rtol=0.2, atol=0)
    torch.testing.assert_close(error[1, 3:].mean(), torch.tensor(2.0), rtol=0.2, atol=0)
    assert not error[2].any()


def test_holes_are_punched_up_to_their_share():
    covered = torch.ones(200, 32, 48, dtype=torch.bool)
    covered[:, :8] = False
    left = punched(covered, 0.5, generator())
    assert not left[:, :8].any()
    share = left[:, 8:].float().mean()
    assert 0.7 < share < 0.8 and torch.equal(punched(covered, 0.0, generator()), covered)


def test_own_depth_draws_only_what_the_network_is_sure_of():
    network = DepthCompletion(SMALL)
    sources = walks(count=1, frames=40).sources([(0, 30)], [[1, 20]], 3)
    half = own_depth(network, sources, 0.5)
    # Untrained it says 8 metres and a half.
    torch.testing.assert_close(half.inverse_depth[0, :2], torch.full((2, 32, 48), 0.1225), atol=3e-3, rtol=0)
    assert (half.confidence[0, :2, :ROWS] == 255).all() and not half.confidence[0, 2].any()
    assert not own_depth(network, sources, 0.51).confidence.any()


def test_what_is_remembered_is_completed_from_older_frames():
    network = DepthCompletion(SMALL)
    some = walks(count=1, frames=40)
    # So close together that the newest frame sees most of what both others saw.
    sources = some.sources([(0, 30)], [[1, 2, 3]], 3)
    # Before training the network says what is drawn; the bias of the oldest frame's code is thus said of all.
    memory = MemoryConfig()
    oldest = remembered(network, LENS, sources, some.fixed, memory)
    with torch.no_grad():
        network.leave.bias[: CELL**2] += 0.5  # pyright: ignore
    later = remembered(network, LENS, sources, some.fixed, memory)
    steps = (encode_depth(later.inverse_depth) - encode_depth(oldest.inverse_depth)).flatten(2).median(-1).values[0]
    # Each frame adds to what it is told by the older ones.
    assert 0.4 < steps[2] < 0.6 and steps[1] > steps[2] + 0.3 and steps[0] > steps[1] + 0.3
