"""The optimizer of hidden matrices, against PyTorch's own and its defining properties."""

import pytest
import torch

from worldsim.optim.muon import COEFFICIENTS, Muon, orthogonalised


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (1, 24, 8)])
def test_singular_values_end_near_one_and_directions_stay(shape):
    given = matrix(*shape)
    u, _, vh = torch.linalg.svd(given, full_matrices=False)
    out = orthogonalised(given)
    assert ((s := torch.linalg.svdvals(out)) > 0.3).all() and (s < 1.3).all()
    # In the basis of the given matrix's singular vectors nothing but the singular values has changed.
    inner = u.mT @ out @ vh.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("shape", "rank"), [((2, 48, 130), 48), ((1, 130, 48), 48), ((1, 48, 200), 5)])
def test_iterating_on_the_gram_matrix_is_the_iteration_in_double_precision(shape, rank):
    rows, columns = shape[-2:]
    given = matrix(*shape[:-1], rank) @ matrix(rank, columns, seed=1) if rank < 48 else matrix(*shape)
    exact = given.double() / given.double().norm(dim=(-2, -1), keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        gram = exact @ exact.mT
        exact = a * exact + (b * gram + c * gram @ gram) @ exact
    # So wide or tall that single precision goes by the Gram matrix.
    assert max(rows, columns) > 1.5 * min(rows, columns)
    torch.testing.assert_close(orthogonalised(given).double(), exact, atol=1e-4, rtol=1e-3)


def test_steps_are_those_of_pytorchs_own():
    start, gradients = matrix(12, 8), [matrix(12, 8, seed=i) for i in (1, 2, 3)]
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    mine = Muon([ours], rate=0.02)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    # Theirs rounds to bf16 inside.
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_matrices_of_one_shape_do_not_mix():
    first, second = torch.nn.Parameter(matrix(6, 6)), torch.nn.Parameter(matrix(6, 6, seed=1))
    alone = torch.nn.Parameter(first.detach().clone())
    first.grad, second.grad, alone.grad = matrix(6, 6, seed=2), 100 * matrix(6, 6, seed=3), matrix(6, 6, seed=2)
    Muon([first, second], rate=0.1).step()
    Muon([alone], rate=0.1).step()
    torch.testing.assert_close(first, alone)


def test_takes_matrices_only():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], rate=0.1)
