"""The Muon optimizer for hidden matrices, in the number format that this machine multiplies fastest in.

PyTorch's own always orthogonalises in bf16, which on a CPU without bf16 instructions takes longer than all else in a
step. Source: Jordan et al. 2024; learning rate scaled to AdamW's as in Liu et al. 2025 (Moonlight).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from worldsim.models.precision import fast_bf16
from worldsim.optim.distributed.engines import by_whole_matrices, local

# Of the quintic iteration: steep at zero, ends between 0.7 and 1.2.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices_KMN: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of each matrix U S V^T, by Newton-Schulz iteration; singular values end between 0.7 and 1.2."""
    tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    x = matrices_KMN.mT if tall else matrices_KMN
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    short, long = x.shape[-2:]
    # From half as long again on, the second way takes fewer operations; bf16 is too coarse for it.
    x = _by_gram(x, steps) if x.dtype == torch.float32 and long > 1.5 * short else _iterated(x, steps)
    return x.mT if tall else x


def _fast_orthogonalised(matrices_KMN: Tensor) -> Tensor:
    """``orthogonalised`` in the fastest format, to float32."""
    fast = matrices_KMN.is_cuda or fast_bf16()
    return orthogonalised(matrices_KMN.bfloat16() if fast else matrices_KMN).float()


def _iterated(x: Tensor, steps: int) -> Tensor:
    """The quintic iteration on matrices themselves."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x


def _by_gram(x: Tensor, steps: int) -> Tensor:
    """The same iteration on X X^T alone: each step multiplies X by a polynomial of it, and these commute."""
    a, b, c = COEFFICIENTS
    gram, product = x @ x.mT, None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if step + 1 < steps:
            gram = factor @ (factor @ gram)
    return x if product is None else product @ x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; matrices of one shape are worked on together.

    Args:
        parameters: matrices.
        rate: learning rate, on AdamW's scale.
        weight_decay: decoupled, times the learning rate.
        momentum: of the gradient's average.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, rate: float, weight_decay: float = 0.01, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay, "momentum": momentum})
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon takes matrices only")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for shape, parameters in alike.items():
                updates = self._updates(parameters, group["momentum"])
                # Of rows alone there is no orthogonalising: sharded matrices are put together, shared out among ranks.
                updates = by_whole_matrices(_fast_orthogonalised, updates, parameters[0])
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                own = local(parameters)
                torch._foreach_mul_(own, 1 - group["lr"] * group["weight_decay"])  # pyright: ignore
                torch._foreach_add_(own, updates.unbind(), alpha=-rate)  # pyright: ignore

    def _updates(self, parameters: list[Tensor], momentum: float) -> Tensor:
        """Nesterov's look ahead for matrices of one shape (K, M, N); of sharded ones, for this rank's rows."""
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        averages = local(self.state[parameter]["momentum_buffer"] for parameter in parameters)
        gradients = local(cast("Tensor", parameter.grad) for parameter in parameters)
        torch._foreach_lerp_(averages, gradients, 1 - momentum)  # pyright: ignore
        return torch.stack(torch._foreach_lerp(gradients, averages, momentum))  # pyright: ignore
