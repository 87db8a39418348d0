"""What the benches run on: the machine, its memory, and how fast it multiplies large matrices."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from worldsim.models.precision import fast_bf16


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; a CPU is never ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# Rows and columns of a large matrix, by the kind of device.
LARGE = {"cpu": 2048, "cuda": 8192}


def matrix_product(dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], object], float]:
    """A large matrix product to call, and its floating-point operations."""
    size = LARGE[device.type]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: torch.matmul(a, b), 2.0 * size**3


def matrix_ceiling(dtype: torch.dtype, device: torch.device, seconds: float = 1.5) -> float:
    """Floating-point operations per second in a large matrix product."""
    product, flop = matrix_product(dtype, device)
    product()
    synchronise(device)
    count, begun = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - begun < seconds:
        product()
        synchronise(device)
        count += 1
    return flop * count / (time.perf_counter() - begun)


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1000
    import resource

    # Not Linux: the peak, in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16": fast_bf16(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
