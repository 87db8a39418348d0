import torch

from worldsim.diffusion.infilling import PATTERNS, sample_infilling, sample_known


def test_every_pattern_of_known_frames_is_drawn_and_leaves_something_to_fill_in():
    known = sample_known((4000, 8), torch.Generator().manual_seed(0))
    assert known.shape == (4000, 8) and not known.all(1).any()
    assert torch.equal(known, sample_known((4000, 8), torch.Generator().manual_seed(0)))
    turns = (known[:, 1:] != known[:, :-1]).sum(1)
    beginning, ending = known[:, 0] & ~known[:, -1] & (turns == 1), ~known[:, 0] & known[:, -1] & (turns == 1)
    ends = known[:, 0] & known[:, -1] & (turns == 2)
    scattered = turns > 2
    shares = [float(kind.float().mean()) for kind in (beginning, ending, ends, scattered)]
    assert all(share > 0.4 / len(PATTERNS) for share in shares), shares
    # Wherever a frame stands, it is known about as often as not.
    assert bool((known.float().mean(0) - 0.5).abs().max() < 0.2)
    assert not sample_known((100, 1), torch.Generator().manual_seed(0)).any()


def test_known_frames_stay_as_they_are_and_the_others_arrive_at_what_is_predicted():
    generator = torch.Generator().manual_seed(0)
    data, noise, wanted = (torch.randn(2, 5, 3, 2, 2, generator=generator) for _ in range(3))
    known = torch.tensor([[True, False, False, True, True], [False, False, True, False, True]])
    levels = []

    def predict(x, tau):
        assert torch.equal(x[known], data[known]) and bool((tau[known] == 1).all())
        levels.append(tau[~known].unique().tolist())
        return wanted

    out = sample_infilling(predict, torch.where(known[..., None, None, None], data, torch.nan), known, noise, 4)
    assert torch.equal(out[known], data[known])
    torch.testing.assert_close(out[~known], wanted[~known])
    assert levels == [[0.0], [0.25], [0.5], [0.75]]
