"""Small layers answer a row alike, however many rows stand beside it: to the bit where that was measured."""

import copy

import pytest
import torch

from tests.tiny_world import ROUNDING
from worldsim.models.precision import has_amx
from worldsim.models.rowwise import MKL, ONEDNN, RowConv2d, RowLinear, TokenLinear


@pytest.mark.parametrize("shape", [(16, 1, 64, 96), (16, 1, 2, 40, 32)])
def test_row_linear_is_a_linear_layer_whose_rows_are_alike(shape: tuple[int, ...]):
    torch.manual_seed(0)
    *rows, width, out = shape
    layer, plain = RowLinear(width, out), torch.nn.Linear(width, out)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(*rows, width)
    with torch.inference_mode():
        together = layer(x)
        torch.testing.assert_close(together, plain(x))
        for count in range(1, 16):
            torch.testing.assert_close(layer(x[:count]), together[:count], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(("width", "out"), [(1024, 384), (512, 384), (768, 128), (384, 1152)])
def test_token_linear_is_a_linear_layer_whose_rows_are_alike_in_bf16(width: int, out: int):
    torch.manual_seed(0)
    layer, plain = (kind(width, out, bias=False).bfloat16() for kind in (TokenLinear, torch.nn.Linear))
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(16, 3, 17, width).bfloat16()
    with torch.inference_mode():
        together = layer(x)
        torch.testing.assert_close(together, plain(x))
        for count in range(1, 16):
            alone = layer(x[:count])
            torch.testing.assert_close(alone, together[:count])
            # Elsewhere rows are as they come: what the layer does against rounding it does on AMX alone.
            assert torch.equal(alone, together[:count]) or not has_amx(), count


@pytest.mark.parametrize(("width", "out"), [(384, 1152), (1024, 384), (64, 96)])
def test_packed_weights_give_a_linear_layer_whose_rows_are_alike(width: int, out: int):
    torch.manual_seed(0)
    layer, plain = (kind(width, out, bias=False) for kind in (TokenLinear, torch.nn.Linear))
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(5, 3, 48, width)
    with torch.no_grad():
        layer(x)
        assert layer._laid_out is None, "weights in training are not packed"
        layer.requires_grad_(False)
        together = layer(x)
        torch.testing.assert_close(together, plain(x))
        for rows in (1, 2, 4):
            assert torch.equal(layer(x[:rows]), together[:rows])
        kept = layer._laid_out
        assert (kept is not None) == MKL
        layer(x[:1])
        assert layer._laid_out is kept
        # Fewer tokens, other weights and copies are packed anew.
        torch.testing.assert_close(layer(x[..., :7, :]), plain(x[..., :7, :]))
        twin = copy.deepcopy(layer)
        assert twin._laid_out is None
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x), 2 * plain(x))
        assert torch.equal(twin(x), together)


def test_row_linear_compiles_in_one_graph():
    layer = RowLinear(3, 2)
    x = torch.randn(5, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_row_linear_has_a_linear_layers_gradient():
    layer = RowLinear(3, 2)
    layer(torch.ones(2, 3)).sum().backward()
    torch.testing.assert_close(layer.weight.grad, torch.full((2, 3), 2.0))
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), 2.0))


@pytest.mark.parametrize("kernel", [1, 3])
def test_row_conv_is_a_convolution_whose_rows_are_alike(kernel: int):
    torch.manual_seed(0)
    layer = RowConv2d(8, 16, kernel, padding=kernel // 2)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    plain = torch.nn.Conv2d(8, 16, kernel, padding=kernel // 2)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(16, 8, 6, 10).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        together = layer(x)
        torch.testing.assert_close(together, plain(x))
        for rows in (1, 2, 3):
            torch.testing.assert_close(layer(x[:rows]), together[:rows], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(("size", "stride"), [((160, 160, 5, 9), 1), ((32, 96, 20, 36), 2), ((192, 192, 10, 18), 1)])
def test_fixed_weights_are_laid_out_once_and_give_the_same_bits(size: tuple[int, int, int, int], stride: int):
    given, made, height, width = size
    torch.manual_seed(0)
    layer = RowConv2d(given, made, 3, stride, 1)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    pictures = torch.randn(5, given, height, width).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        # Weights in training are not laid out.
        plain = layer(pictures)
        assert layer._laid_out is None
        layer.requires_grad_(False)
        assert torch.equal(layer(pictures), plain)
        rows = torch.cat([layer(row[None].contiguous(memory_format=torch.channels_last)) for row in pictures])
        assert torch.equal(rows, plain)
        kept = layer._laid_out
        layer(pictures)
        assert layer._laid_out is kept and (kept is not None) == ONEDNN
        # Other weights, and copies, have layouts of their own.
        twin = copy.deepcopy(layer)
        assert twin._laid_out is None
        layer.weight.mul_(2)
        layer.bias.mul_(2)  # pyright: ignore[reportOptionalMemberAccess]
        assert torch.equal(layer(pictures), 2 * plain) and torch.equal(twin(pictures), plain)
