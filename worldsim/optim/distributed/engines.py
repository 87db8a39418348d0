"""The engines that exchange gradients: DDP, and FSDP2 where weights are sharded; and tensors that may be sharded.

A sharded weight is a ``DTensor``: its rows are spread over the ranks. K matrices, M rows, N columns.
"""

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from worldsim.models.precision import fast_precision
from worldsim.optim.distributed.ranks import ranks

R = TypeVar("R")


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is spread over ranks."""
    return hasattr(tensor, "to_local")


def whole(tensor: Tensor) -> Tensor:
    """A tensor, gathered from all ranks where it is sharded; called on all of them."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this rank has of tensors, all of them sharded or none: for arithmetic element by element, in place too."""
    found = list(tensors)
    if not found or not is_sharded(found[0]):
        return found
    return [t.to_local() for t in found]  # pyright: ignore[reportAttributeAccessIssue]


def spread_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every rank has, sharded as another one is."""
    if not is_sharded(like) or is_sharded(tensor) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharding: Any = like
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, sharding.device_mesh, sharding.placements, src_data_rank=None)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state with whole tensors; called on all ranks."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}


def by_whole_matrices(change: Callable[[Tensor], Tensor], matrices_KMN: Tensor, like: Tensor) -> Tensor:
    """Apply a function of whole matrices to a stack of which this rank has the rows that it has of ``like`` (M, N).

    Each rank gets some of the matrices whole, changes these, and hands the rows back to who has them.
    """
    if not is_sharded(like):
        return change(matrices_KMN)
    from torch.distributed.tensor import DTensor, Shard

    mesh = like.device_mesh  # pyright: ignore[reportAttributeAccessIssue]
    shape = torch.Size((len(matrices_KMN), *like.shape))
    stride = (shape[1] * shape[2], shape[2], 1)
    rows = DTensor.from_local(matrices_KMN, mesh, [Shard(1)], run_check=False, shape=shape, stride=stride)
    own = rows.redistribute(placements=[Shard(0)]).to_local()
    changed = change(own) if len(own) else own
    back = DTensor.from_local(changed.contiguous(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)
    return back.redistribute(placements=[Shard(1)]).to_local()


class _Call(nn.Module):
    """A module whose forward pass is any function that runs a network: DDP then sees which weights the result uses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., R], *args: Any) -> R:
        return function(*args)


class Engine:
    """Runs functions of a network whose gradients ranks average.

    Args:
        network: on its device; where ``shard``, sharded already.
        shard: FSDP2 exchanges gradients; else DDP does. Alone, nobody.
    """

    def __init__(self, network: nn.Module, shard: bool = False) -> None:
        self._ddp: Any = None
        if not (shard or ranks().alone):
            from torch.nn.parallel import DistributedDataParallel

            # What a step does not use (heads, where frames are images) gets no gradient, as in one process.
            self._ddp = DistributedDataParallel(_Call(network), find_unused_parameters=True)

    def __call__(self, function: Callable[..., R], *args: Any) -> R:
        """The function's result; its first tensors' ``backward`` averages gradients over ranks."""
        return function(*args) if self._ddp is None else self._ddp(function, *args)

    def part(self, last: bool) -> AbstractContextManager[object]:
        """Around forward and backward pass of a part of a step: DDP averages what all of them gave at the last."""
        return nullcontext() if last or self._ddp is None else self._ddp.no_sync()


def shard(network: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """Spread weights, and with them gradients and all that optimizers keep, over the ranks (FSDP2).

    Weights stay fp32; where matrix products run in bf16, ranks send them to each other in bf16 and gradients in fp32.

    Args:
        network: on its device, the same weights on every rank.
        blocks: of it, in the order of computation: each is gathered when it computes, and given back after.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    device = next(network.parameters()).device
    policy = MixedPrecisionPolicy()
    if fast_precision(device)._enabled:
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (ranks().count,))
    # It warns of changes in place to what a block returns: there are none.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    # Given back after every pass, the outermost weights too: averaging and saving then find all of them sharded.
    for module in (*blocks, network):
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
