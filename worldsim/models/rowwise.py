"""Layers whose answer to one row of a batch does not depend, to the bit, on how many rows there are.

A row of sixteen worlds then dreams what the same world dreams alone. The libraries beneath choose their algorithms by
the size of the batch, and algorithms round differently; the big products, with many tokens a row, were measured to be
alike (MKL, AVX2), which leaves the small ones, and on AMX long sums. N pictures, C channels, H W grid.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.precision import has_amx

# MKL multiplies fewer than 4 rows by other kernels, and deals rows out among threads: each is to get so many, or none.
FEWEST_ROWS = 8
# The same of a 1x1 convolution's cells (measured: 6 cells of one picture differed on AVX512).
FEWEST_CELLS = 32
# oneDNN on AMX splits sums of so many bf16 products where there are fewer rows than columns (measured: from 512 on).
LONG_SUM = 512
# One picture of at most so many values, PyTorch convolves by its own code instead of oneDNN's (use_mkldnn in
# aten/src/ATen/native/Convolution.cpp).
SMALL_PICTURE = 20480
# Elementwise kernels compute whole multiples of so many values alike, whatever follows them.
KERNEL = 64

# Whether oneDNN convolves here with weights in a layout of its own (elsewhere it is not measured that rows stay alike).
ONEDNN = torch.backends.mkldnn.is_available() and "AVX" in torch.backends.cpu.get_cpu_capability()
# Whether products with packed weights are there.
MKL = torch.backends.mkl.is_available() and hasattr(torch.ops.mkl, "_mkl_linear")


class RowLinear(nn.Linear):
    """``nn.Linear`` over vectors (one per world rather than one per token): rows are filled up with zeros."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        # Training, which is what gets compiled, has no rows to keep alike.
        if torch.compiler.is_compiling():
            return super().forward(input)
        return _filled(super().forward, input, -input.shape[:-1].numel() % (FEWEST_ROWS * torch.get_num_threads()))


class _LaidOut(nn.Module):
    """A layer that keeps its weights once more, as the library beneath reads them, while they are fixed."""

    weight: Tensor
    _laid_out: tuple[tuple[int, ...], Tensor] | None = None

    def _has_own_layout(self, input: Tensor) -> bool:
        """Whether a library can be called with weights in its own layout: they are fixed, and no gradient is wanted.

        Weights in training are left alone: sharded ones change without being counted as changed.
        """
        return (
            not torch.compiler.is_compiling()
            and not torch.is_grad_enabled()
            and not self.weight.requires_grad
            and input.dtype == self.weight.dtype == torch.float32
            and input.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
        )

    def _weights_for(self, sizes: tuple[int, ...], lay_out: Callable[[Tensor], Tensor]) -> Tensor:
        """The weights laid out, made anew where they or the sizes of inputs are other ones than before."""
        weight = self.weight.detach()
        # What was made in inference mode counts no changes, and cannot be changed outside of it.
        changes = 0 if weight.is_inference() else weight._version
        of = (weight.data_ptr(), changes, *sizes)
        kept = self._laid_out
        if kept is None or kept[0] != of:
            kept = self._laid_out = (of, lay_out(weight))
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without that layout, which cannot be copied or sent."""
        return {name: value for name, value in self.__dict__.items() if name != "_laid_out"}


class TokenLinear(_LaidOut, nn.Linear):
    """``nn.Linear`` over tokens, frame by frame in inference, with weights packed once as MKL reads them.

    It packs them at every product otherwise, which takes as long as multiplying the few tokens of a frame. Sums of bf16
    products that are too long for AMX get rows of zeros.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., N, in) to (..., N, out)."""
        if MKL and self.bias is None and self._has_own_layout(input):
            tokens, pack = input.shape[-2], torch.ops.mkl._mkl_reorder_linear_weight
            packed = self._weights_for((tokens,), lambda weight: pack(weight, tokens))
            frames = input.reshape(-1, tokens, input.shape[-1]).unbind()
            made = [torch.ops.mkl._mkl_linear(frame, packed, self.weight, None, tokens) for frame in frames]
            return torch.stack(made).view(*input.shape[:-1], self.out_features)
        if self.in_features < LONG_SUM or self.weight.dtype != torch.bfloat16 or not (has_amx() and input.is_cpu):
            return super().forward(input)
        return _filled(super().forward, input, max(0, self.out_features - input.shape[:-1].numel()))


def _filled(linear: Callable[[Tensor], Tensor], input: Tensor, missing: int) -> Tensor:
    """A linear layer's answer to (..., in), given ``missing`` rows of zeros more."""
    if not missing:
        return linear(input)
    rows = F.pad(input.reshape(-1, input.shape[-1]), (0, 0, 0, missing))
    return linear(rows)[:-missing].unflatten(0, input.shape[:-1])


class RowConv2d(_LaidOut, nn.Conv2d):
    """``nn.Conv2d`` over channels-last pictures; in inference with weights laid out once as oneDNN reads them.

    PyTorch lays them out at every call, which takes a quarter to a half of the time of one picture's convolution.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        if self.kernel_size == (1, 1):
            # Contiguous: else few cells of one picture are multiplied by another kernel (measured: AVX512).
            cells = input.movedim(1, -1).contiguous()
            few = max(0, FEWEST_CELLS - cells.shape[:-1].numel())
            return _filled(lambda x: F.linear(x, self.weight.flatten(1), self.bias), cells, few).movedim(-1, 1)
        if ONEDNN and self._has_own_layout(input):
            # The same kernels as below, to the bit (measured).
            convolve, geometry, size = torch.ops.mkldnn._convolution_pointwise, self._geometry(), input.shape[1:]
            reorder = torch._C._nn.mkldnn_reorder_conv2d_weight  # pyright: ignore[reportAttributeAccessIssue]
            own = self._weights_for(tuple(size), lambda weight: reorder(weight.to_mkldnn(), *geometry, [1, *size]))
            return convolve(input, own, self.bias, *geometry, "none", [], "")
        if len(input) == 1 and input.numel() <= SMALL_PICTURE:
            # A copy, not a view: a view is no longer channels-last.
            return super().forward(torch.cat([input, input]))[:1]
        return super().forward(input)

    def _geometry(self) -> tuple[list[int], list[int], list[int], int]:
        """Padding, strides, dilation, groups."""
        assert not isinstance(self.padding, str)
        return list(self.padding), list(self.stride), list(self.dilation), self.groups


def without_remainder(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """An elementwise function of tensors (B, n), computed where its kernel has no remainder, which rounds otherwise."""
    width = inputs[0].shape[1]
    filled = [F.pad(each, (0, -width % KERNEL)) for each in inputs]
    return function(*filled)[:, :width]
