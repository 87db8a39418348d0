"""Freed memory is kept: taking it again costs no page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from worldsim.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
# The heap grows until it holds what lies between such tensors, too.
for _ in range(20):
    torch.ones(16 << 20)
before = faults()
for _ in range(5):
    torch.ones(16 << 20)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_taking_freed_memory_again_costs_no_page_faults():
    faults = {}
    for how in ("keep", "leave"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    # 64 MiB taken five times; huge pages make it 160 faults, small ones 80,000.
    assert faults["keep"] * 10 < faults["leave"]
