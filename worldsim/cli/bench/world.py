"""Measures how fast a world runs on this machine."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from worldsim.cli_config import compose_config, run_folder
from worldsim.cli_train import use_threads
from worldsim.errors import UserError
from worldsim.precision import fast_bf16
from worldsim.world import WorldModel

WARM_UP = 8


def bench(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim bench``."""
    from worldsim.envs.beginnings import choose, prefill, resolve

    config = compose_config("bench", overrides, flags)
    if config.steps < 10 or config.batch < 1 or config.minutes < 0:
        raise UserError("bench needs at least 10 steps, a batch from 1 and no negative minutes")
    use_threads(config.threads)
    world, starts = resolve(config.world, None)
    if config.sampling_steps is not None:
        world = world.with_sampling(steps=config.sampling_steps)
    rng = np.random.default_rng(0)
    state = prefill(world, [choose(world, starts, rng) for _ in range(config.batch)])
    actions = np.tile(world.spec.vector({"forward": 1}), (config.batch, world.chunk, 1))
    steps, decodes = [], []
    for i in track(range(WARM_UP + config.steps), "stepping", transient=True):
        begun = time.perf_counter()
        state, out = world.step(state, actions, donate=True)
        middle = time.perf_counter()
        world.decode(out.latents[:, None], state.decoder)
        if i >= WARM_UP:
            steps.append(middle - begun)
            decodes.append(time.perf_counter() - middle)
    ceiling = matrix_ceiling(torch.bfloat16 if world.bf16 else torch.float32, torch.device("cpu"))
    seconds = statistics.mean(steps)
    flops = step_flops(world, config.batch)
    results: dict[str, Any] = {
        "machine": machine(),
        "batch": config.batch,
        "steps": config.steps,
        "sampling_steps": world.config.sampling.steps,
        "step_p50_ms": 1000 * float(np.percentile(steps, 50)),
        "step_p95_ms": 1000 * float(np.percentile(steps, 95)),
        "frames_per_second": config.batch * world.chunk / seconds,
        "decode_share": statistics.mean(decodes) / seconds,
        "matrix_gflops": ceiling / 1e9,
        "step_gflop": flops / 1e9,
        "share_of_matrix_ceiling": flops / seconds / ceiling,
        "resident_mb": resident_mb(),
    }
    if config.minutes:
        results["memory"] = watch_memory(lambda s: world.step(s, actions, donate=True)[0], state, config.minutes)
    folder = run_folder("bench", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results, world)))
    print(folder / "bench.json")


def _lines(results: Mapping[str, Any], world: WorldModel) -> list[str]:
    """For people."""
    chunk_ms = 1000 * world.chunk / world.config.fps
    lines = [
        f"{results['frames_per_second']:.1f} frames/s, decode included; sampling steps {results['sampling_steps']}, "
        f"batch {results['batch']}, {results['machine']['threads']} threads",
        f"step latency p50 {results['step_p50_ms']:.1f} ms, p95 {results['step_p95_ms']:.1f} ms; "
        f"a chunk lasts {chunk_ms:.0f} ms; decoding is {results['decode_share']:.0%} of a step",
        f"{results['step_gflop']:.2f} GFLOP a step, at {results['share_of_matrix_ceiling']:.0%} of the "
        f"{results['matrix_gflops']:.0f} GFLOP/s that large matrix products reach here",
        f"resident memory {results['resident_mb']:.0f} MB",
    ]
    if "memory" in results:
        memory = results["memory"]
        lines.append(
            f"over {memory['minutes']:g} minutes: {memory['first_mb']:.0f} MB after a tenth of them, "
            f"{memory['last_mb']:.0f} MB at the end, {memory['most_mb']:.0f} MB at most, "
            f"{memory['steps_per_second']:.1f} steps/s"
        )
    return lines


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; a CPU is never ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_ceiling(dtype: torch.dtype, device: torch.device, seconds: float = 1.5) -> float:
    """Floating-point operations per second in a large matrix product."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    torch.matmul(a, b)
    synchronise(device)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        torch.matmul(a, b)
        synchronise(device)
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - begun)


def step_flops(world: WorldModel, batch: int) -> float:
    """Operations of one step's matrix products and convolutions, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    frames = np.zeros((batch, 1, world.config.height, world.config.width, 3), np.uint8)
    state = world.prefill(frames, np.zeros((batch, 0, world.spec.size), np.float32), [0] * batch)
    with FlopCounterMode(display=False) as counter:
        world.step(state, np.zeros((batch, world.chunk, world.spec.size), np.float32))
    return float(counter.get_total_flops())


def watch_memory(step: Callable[[Any], Any], state: Any, minutes: float) -> dict[str, float]:
    """Step for some minutes; resident memory after a tenth of them, at the end and at most, in MB."""
    begun, readings, count = time.monotonic(), [], 0
    with_bar = track(range(max(1, int(minutes * 60))), f"watching memory for {minutes:g} min", transient=True)
    for second in with_bar:
        while time.monotonic() - begun < second + 1:
            state = step(state)
            count += 1
        readings.append(resident_mb())
    return {
        "minutes": minutes,
        "first_mb": readings[len(readings) // 10],
        "last_mb": readings[-1],
        "most_mb": max(readings),
        "steps_per_second": count / (time.monotonic() - begun),
    }


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
