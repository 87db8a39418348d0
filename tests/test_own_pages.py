"""Copies in pages of their own go back to the system when they are let go, wherever they lie."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
import torch

from worldsim.own_pages import LEAST, apart, is_apart, tensors_apart


@pytest.mark.parametrize("size", [0, 1, 100, LEAST // 4, 5 * LEAST])
def test_a_copy_is_equal_writable_and_a_copy(size: int):
    given = np.arange(size, dtype=np.float32).reshape(size, 1)
    copy = apart(given)
    assert copy.dtype == given.dtype and copy.shape == given.shape and not np.shares_memory(copy, given)
    np.testing.assert_array_equal(copy, given)
    copy[...] = 1
    assert size < 3 or given[2] == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.uint8, torch.int64, torch.bool])
def test_tensors_of_all_types_are_copied_to_the_bit(dtype: torch.dtype):
    given = torch.randn(3, 40, 70).mul(99).to(dtype).transpose(1, 2)
    small, copy = tensors_apart([torch.tensor([True]), given])
    assert small.tolist() == [True]
    assert torch.equal(copy, given) and copy.dtype == dtype and copy.data_ptr() != given.data_ptr()
    assert is_apart(copy) and not is_apart(given)
    with torch.inference_mode():
        assert torch.equal(tensors_apart([given.clone()])[0], given)
    assert tensors_apart([]) == []


SCRIPT = """
import sys
import numpy as np
from tests.envs.play.soak import resident
from worldsim.own_pages import apart

copy = {"heap": np.copy, "apart": apart}[sys.argv[1]]
begun = resident()
copies = [copy(np.ones(50_000, np.uint8)) for _ in range(1600)]
kept = copies[::20]
del copies
print(resident() - begun)
assert all(one.all() for one in kept)
"""


@pytest.mark.slow
def test_what_is_let_go_goes_back_though_neighbours_stay():
    """The counter-test is the heap of a fresh process: only with the GNU C Library is it certain."""
    grown = {}
    for name in ("heap", "apart"):
        done = subprocess.run([sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, check=True)
        grown[name] = int(done.stdout.splitlines()[-1])
    assert grown["apart"] < 15e6
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        assert grown["heap"] > 40e6
