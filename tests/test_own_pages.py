"""Copies in pages of their own go back to the system when they are let go, wherever they lie."""

import ctypes
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from worldsim.own_pages import LEAST, BlobPool, apart


@pytest.mark.parametrize("size", [0, 1, 100, LEAST // 4, 5 * LEAST])
def test_a_copy_is_equal_writable_and_a_copy(size: int):
    given = np.arange(size, dtype=np.float32).reshape(size, 1)
    copy = apart(given)
    assert copy.dtype == given.dtype and copy.shape == given.shape and not np.shares_memory(copy, given)
    np.testing.assert_array_equal(copy, given)
    copy[...] = 1
    assert size < 3 or given[2] == 2


def test_equal_bytes_are_there_once_as_long_as_somebody_holds_them():
    pool, rng = BlobPool(), np.random.default_rng(0)
    given = rng.integers(0, 255, 3 * LEAST, np.uint8)
    one, again, other = pool.blob(given), pool.blob(given.copy()), pool.blob(given[1:])
    assert one is again and not np.shares_memory(one, given)
    np.testing.assert_array_equal(one, given)
    np.testing.assert_array_equal(other, given[1:])
    held = weakref.ref(one)
    del one, again
    gc.collect()
    assert held() is None
    np.testing.assert_array_equal(pool.blob(given), given)


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
