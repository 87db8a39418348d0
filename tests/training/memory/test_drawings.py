"""What memory draws from recorded frames."""

import torch

from tests.training.memory.walks import LENS, ROWS, walks
from worldsim.simulation.memory.depth import DepthCompletion, DepthCompletionConfig
from worldsim.training.memory.drawings import own_depth, punched

SMALL = DepthCompletionConfig(channels=(16, 16, 32), blocks=(1, 1, 1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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
    half = own_depth(network, LENS, sources, 0.5)
    # Untrained it says 8 metres and a half.
    torch.testing.assert_close(half.inverse_depth[0, :2], torch.full((2, 32, 48), 0.1225), atol=3e-3, rtol=0)
    assert (half.confidence[0, :2, :ROWS] == 255).all() and not half.confidence[0, 2].any()
    assert not own_depth(network, LENS, sources, 0.51).confidence.any()
