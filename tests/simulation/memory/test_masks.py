"""Masks of 0 and 1 say what comparisons say, and select what ``torch.where`` selects, to the bit."""

import pytest
import torch
import torch.nn.functional as F

from worldsim.simulation.memory.masks import at_least, box_mean, extreme, greater, less, positive, select


def planes(seed: int, shape: tuple[int, ...] = (3, 17, 23)) -> torch.Tensor:
    """Few values, so that many are equal."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)) / 7


@pytest.mark.parametrize("other", [planes(1), planes(1)[:, :1], 1 / 7])
def test_masks_are_comparisons(other: torch.Tensor | float):
    values = planes(0)
    for mask, said in ((greater, values > other), (at_least, values >= other), (less, values < other)):
        found = mask(values, other)
        assert found.dtype == values.dtype and torch.equal(found.bool(), said)
        assert set(found.unique().tolist()) <= {0.0, 1.0}
    counts = torch.randint(0, 3, (4, 5), dtype=torch.uint8)
    assert torch.equal(positive(counts), (counts > 0).float())


def test_masks_of_what_has_a_gradient_have_none():
    values = planes(0).requires_grad_()
    assert not greater(values, 0.0).requires_grad
    (values * at_least(values, 0.0)).sum().backward()
    assert torch.equal(values.grad, (values >= 0).float())  # pyright: ignore[reportArgumentType]


def test_selecting_is_exact():
    generator = torch.Generator().manual_seed(0)
    one, other = (
        torch.randn(5, 999, generator=generator) * 10.0 ** torch.randint(-20, 20, (5, 999), generator=generator)
        for _ in range(2)
    )
    mask = (torch.rand(5, 999, generator=generator) < 0.5).float()
    assert torch.equal(select(mask, one, other), torch.where(mask.bool(), one, other))


@pytest.mark.parametrize("shape", [(2, 9, 13), (1, 2, 2), (2, 1, 5), (2, 5, 1), (3, 4, 3, 7)])
def test_extremes_are_those_of_nine_neighbours(shape: tuple[int, ...]):
    values = planes(2, shape)
    flat = values.flatten(0, -3)[:, None]
    assert torch.equal(extreme(values, "max"), F.max_pool2d(flat, 3, 1, 1).view(shape))
    assert torch.equal(extreme(values, "min"), -F.max_pool2d(-flat, 3, 1, 1).view(shape))


@pytest.mark.parametrize("side", [1, 3, 5, 9, 13])
def test_a_box_mean_counts_what_lies_within_the_picture(side: int):
    values = torch.randn(2, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    pooled = F.avg_pool2d(values, side, 1, side // 2, count_include_pad=False)
    torch.testing.assert_close(box_mean(values, side), pooled, rtol=0, atol=1e-6)
    assert torch.equal(box_mean(values, side)[1:], box_mean(values[1:], side)), "a row depends on its batch"
