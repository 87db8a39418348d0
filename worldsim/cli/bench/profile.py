"""What a call spends its time on: matrix products, elementwise work, copies, and what is none of them."""

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from worldsim.cli.bench.machine import synchronise

KINDS = ("products", "elementwise", "copies", "dispatch")
TOP = 12


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operators by what their own time goes to; a trailing underscore (in place) and the library (aten::) are left out.
PRODUCTS = _names(
    "mm addmm bmm baddbmm addbmm mv addmv dot vdot _int_mm _scaled_mm _grouped_mm mkldnn_linear _mkl_linear "
    "_linear_pointwise mkldnn_convolution convolution_backward _convolution_pointwise mkldnn_rnn_layer "
    "_slow_conv2d_forward _slow_conv2d_backward slow_conv3d_forward slow_conv_transpose2d thnn_conv2d "
    "_conv_depthwise2d conv_depthwise3d cudnn_convolution cudnn_convolution_transpose miopen_convolution "
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward "
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_backward "
    "_scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward "
    "convolution_overrideable flex_attention flex_attention_backward _flash_attention_forward "
    "_flash_attention_backward _efficient_attention_forward _efficient_attention_backward"
)
COPIES = _names(
    "copy clone contiguous cat stack _to_copy constant_pad_nd index index_select index_put _index_put_impl gather "
    "scatter slice_scatter select_scatter roll flip repeat repeat_interleave fill zero pixel_shuffle pixel_unshuffle "
    "im2col col2im embedding take masked_select masked_scatter slice_backward select_backward _foreach_copy "
    "mkldnn_reorder_conv2d_weight to_mkldnn to_dense _pin_memory"
)
# Views, memory that is asked for, and operators that only call others.
DISPATCH = _names(
    "view view_as _unsafe_view reshape _reshape_alias transpose t mT numpy_T permute movedim slice select narrow "
    "unsqueeze squeeze expand expand_as as_strided detach alias flatten unflatten split split_with_sizes chunk unbind "
    "tensor_split broadcast_tensors empty empty_like empty_strided new_empty new_empty_strided new_zeros new_full "
    "zeros zeros_like ones ones_like full full_like resize set result_type lift_fresh item _local_scalar_dense "
    "is_nonzero resolve_conj resolve_neg to type_as pad linear matmul einsum conv2d convolution _convolution softmax "
    "scaled_dot_product_attention rms_norm layer_norm group_norm"
)
# What torch.compile makes: several elementwise operators in one loop. Products stay operators of their own.
_FUSED = re.compile(r"Torch-Compiled Region|## Call CompiledFxGraph|CompiledFunction|.*(cpp_fused|triton_)")


def kind_of(operator: str) -> str:
    """Which of ``KINDS`` the own time of an operator of the profiler's table belongs to.

    Operators of PyTorch that no list names compute value by value (sums and norms too); entries that are no operators
    (marks of the program, nodes of the backward pass, calls of a driver) compute nothing.
    """
    if _FUSED.match(operator):
        return "elementwise"
    library, _, name = operator.rpartition("::")
    if not library or "autograd" in library:
        return "dispatch"
    name = name.removesuffix("_")
    named = (kind for kind, names in zip(KINDS, (PRODUCTS, (), COPIES, DISPATCH), strict=True) if name in names)
    return next(named, "elementwise")


@dataclass(frozen=True)
class Profile:
    """Where the time of a call goes.

    Attributes:
        seconds: of a call while it was profiled; small operators are slower then.
        shares: of that time, by ``KINDS``; dispatch is all that the other three are not: Python, PyTorch's dispatcher,
            waiting.
        operators: calls of operators in one call.
        top: the operators with most time of their own, as shares of it.
    """

    seconds: float
    shares: dict[str, float]
    operators: float
    top: list[dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def profiled(call: Callable[[], Any], count: int, device: torch.device) -> Profile:
    """The profile of ``count`` calls."""
    gpu = device.type == "cuda"
    # The profiler's library would write two lines to the terminal each time; it reads this at its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu
    with profile(activities=activities, acc_events=True) as found:
        begun = time.perf_counter()
        for _ in range(count):
            call()
            synchronise(device)
        seconds = time.perf_counter() - begun
    rows = [row for row in found.key_averages() if str(row.device_type).endswith("CPU")]
    own = "self_device_time_total" if gpu else "self_cpu_time_total"
    return summed(((row.key, row.count, getattr(row, own) / 1e6) for row in rows), seconds, count)


def summed(operators: Iterable[tuple[str, int, float]], seconds: float, count: int) -> Profile:
    """A profile of operators (name, calls, seconds of their own) that took so many seconds in ``count`` calls."""
    operators = list(operators)
    shares: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for name, _, own in operators:
        shares[kind_of(name)] += own / seconds
    # Of several threads the times add up to more than the clock's.
    busy = sum(shares[kind] for kind in KINDS[:3])
    shares = {kind: shares[kind] / max(1.0, busy) for kind in KINDS[:3]}
    shares["dispatch"] = max(0.0, 1 - sum(shares.values()))
    top = [
        {"operator": name, "kind": kind_of(name), "share": own / seconds, "calls": calls / count}
        for name, calls, own in sorted(operators, key=lambda each: -each[2])[:TOP]
    ]
    calls = sum(calls for name, calls, _ in operators if "::" in name and "autograd" not in name)
    return Profile(seconds / count, shares, calls / count, top)
