"""A second device that is none: its tensors have real values and refuse to meet the CPU's, as those of a GPU do.

PyTorch's meta device lends the name. All operations are seen on their way (``TorchDispatchMode``): what is made there
or moved there is held by a CPU tensor inside of an ``Elsewhere``. So a world that is moved computes the same numbers,
and fails where an operation is given tensors of both devices, or where one is turned to NumPy without being fetched.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

ELSEWHERE = torch.device("meta")
aten = torch.ops.aten
# What GPUs take tensors of the CPU for: copies, and indices.
CROSSING = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor of the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        # Views of weights, which were made outside of inference mode, must be of their kind.
        with torch.inference_mode(False):
            out = torch.Tensor._make_wrapper_subclass(
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
                device=ELSEWHERE,
            )  # fmt: skip
        out.held = held
        return out

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of the context of this device")


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In inference mode, operations come that are made of others, with devices in any place.
        with self:
            parts = func.decompose(*args, **kwargs or {})
        return _computed(func, args, kwargs or {}) if parts is NotImplemented else parts


class _Calls(TorchFunctionMode):
    """What PyTorch does itself for its meta device, or not at all for tensors like these."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].held.tolist()
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == ELSEWHERE:
            if isinstance(args[0], Elsewhere):
                return args[0].to(kwargs.get("dtype") or args[0].dtype)
            return func(*args, **kwargs | {"device": "cpu"}).to(ELSEWHERE)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            # A list of numbers becomes a tensor of the indexed one's device.
            args = (args[0], _indices(args[1]), *args[2:])
        return func(*args, **kwargs)


def _indices(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_indices, index))
    return torch.tensor(index, dtype=torch.long) if isinstance(index, list) else index


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, by the CPU tensors that are held."""
    met = tree_iter((args[0], args[2:], kwargs) if func in INDEXING else (args, kwargs))
    tensors = [x for x in met if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    # A single number may come from the CPU.
    here = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim()]
    if there and here and func not in CROSSING:
        raise RuntimeError(f"{func} was given tensors of two devices: {[tuple(x.shape) for x in here]} of the CPU")
    wanted = kwargs.get("device")
    out = func(*tree_map(_held, args), **tree_map(_held, kwargs) | ({} if wanted is None else {"device": "cpu"}))
    # What an operation writes to stays the object that it is.
    known = {id(x.held): x for x in tree_iter((args, kwargs)) if isinstance(x, Elsewhere)}
    moved = wanted == ELSEWHERE if wanted is not None else bool(there)

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor) or id(x) in known:
            return known.get(id(x), x)
        return Elsewhere(x) if moved else x

    return tree_map(back, out)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Elsewhere) else x


@contextlib.contextmanager
def elsewhere() -> Iterator[torch.device]:
    """A context with the second device; what is cached in it for that device is forgotten."""
    try:
        with _Operations(), _Calls():
            yield ELSEWHERE
    finally:
        for module in [m for n, m in sys.modules.items() if n.startswith(("worldsim.models", "worldsim.simulation"))]:
            for found in vars(module).values():
                if isinstance(found, functools._lru_cache_wrapper):
                    found.cache_clear()


def fetched(x: Any) -> Any:
    """A tensor of either device as an array."""
    return _held(x).numpy()
