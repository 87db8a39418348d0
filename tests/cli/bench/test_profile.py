"""Profiles: operators are told apart by kind, and shares are of the whole time."""

import pytest
import torch
from torch.utils.flop_counter import flop_registry

from worldsim.cli.bench.profile import COPIES, DISPATCH, KINDS, PRODUCTS, kind_of, profiled, summed

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::addmm", "products"), ("aten::convolution_backward", "products"),
        ("mkldnn::_convolution_pointwise", "products"), ("aten::mul_", "elementwise"), ("aten::mul", "elementwise"),
        ("aten::_softmax", "elementwise"), ("aten::sum", "elementwise"), ("aten::_fused_adamw_", "elementwise"),
        ("aten::copy_", "copies"), ("aten::cat", "copies"), ("aten::fill_", "copies"), ("aten::view", "dispatch"),
        ("aten::linear", "dispatch"), ("aten::empty", "dispatch"), ("MmBackward0", "dispatch"),
        ("autograd::engine::evaluate_function: MmBackward0", "dispatch"), ("cudaLaunchKernel", "dispatch"),
        ("torch::autograd::AccumulateGrad", "dispatch"), ("Torch-Compiled Region: 0/0", "elementwise"),
        ("graph_0_cpp_fused_add_mul_1", "elementwise"), ("triton_poi_fused_add_0", "elementwise"),
    ],
)  # fmt: skip
def test_operators_by_kind(operator: str, kind: str):
    assert kind_of(operator) == kind


def test_no_operator_is_of_two_kinds():
    assert not PRODUCTS & COPIES and not PRODUCTS & DISPATCH and not COPIES & DISPATCH
    assert not any(name.endswith("_") for name in PRODUCTS | COPIES | DISPATCH)


def test_what_pytorch_counts_operations_of_are_products():
    # These two only call others, whose time is their own.
    wrappers = {"convolution", "_convolution"}
    counted = {str(operator).rpartition(".")[2] for operator in flop_registry} - wrappers
    assert "mm" in counted
    assert not {name for name in counted if kind_of(f"aten::{name}") != "products"}


def test_shares_are_of_the_whole_time_and_the_rest_is_dispatch():
    operators = [("aten::mm", 2, 0.6), ("aten::copy_", 4, 0.2), ("aten::mul", 6, 0.4), ("aten::view", 2, 0.2)]
    found = summed([*operators, ("MmBackward0", 2, 0.1)], seconds=2.0, count=2)
    assert found.shares == pytest.approx({"products": 0.3, "elementwise": 0.2, "copies": 0.1, "dispatch": 0.4})
    assert found.seconds == 1 and found.operators == 7
    assert found.top[0] == {"operator": "aten::mm", "kind": "products", "share": 0.3, "calls": 1.0}


def test_times_of_several_threads_stay_within_the_whole():
    found = summed([("aten::mm", 1, 3.0), ("aten::mul", 1, 1.0)], seconds=2.0, count=1)
    assert found.shares == pytest.approx({"products": 0.75, "elementwise": 0.25, "copies": 0, "dispatch": 0})


def test_a_call_is_profiled(capfd: pytest.CaptureFixture[str]):
    weight = torch.rand(8, 8, requires_grad=True)
    found = profiled(lambda: (torch.rand(4, 8) @ weight).relu().sum().backward(), 2, CPU)
    assert set(found.shares) == set(KINDS) and sum(found.shares.values()) == pytest.approx(1)
    assert found.operators == int(found.operators) > 4 and found.shares["products"] > 0
    assert all(0 <= each["share"] <= 1 and each["kind"] in KINDS for each in found.top)
    assert capfd.readouterr().err == ""
