"""``worldsim bench``: how fast a world runs on this machine."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch

from worldsim.cli.bench.load import busy_processes, load_setting
from worldsim.cli.bench.machine import machine, matrix_ceiling, resident_mb
from worldsim.cli.bench.tables import loaded_lines
from worldsim.cli.bench.timing import compared, counted_flop, timed, timed_beside
from worldsim.cli.bench.walk import Walk
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, setting, threads_setting, world_setting
from worldsim.progress import display
from worldsim.simulation.devices import device_of
from worldsim.simulation.world_model import WorldModel

WARM_UP = 8
# Decoding is measured apart from stepping, at most so many times.
DECODES = 50


@dataclass(kw_only=True)
class Bench:
    """Settings of ``worldsim bench``."""

    world: str = world_setting()
    steps: int = setting(200, help="timed steps", minimum=10)
    sampling_steps: int | None = setting(
        None, help="network evaluations a latent frame; default: the world's own", minimum=1
    )
    batch: int = setting(1, help="worlds side by side", minimum=1)
    minutes: float = setting(0.0, help="afterwards run that long and watch the memory", unit="minutes", minimum=0)
    load: int = load_setting()
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("bench")


def bench(config: Bench) -> None:
    """``worldsim bench``."""
    from worldsim.envs.learned.initial_context import resolve

    use_threads(config.threads)
    world, starts = resolve(config.world, None, device_of(config.device))
    if config.sampling_steps is not None:
        world = world.with_sampling(steps=config.sampling_steps)
    walk = Walk(world, starts, config.batch)
    out = walk.steps(WARM_UP)
    with busy_processes(config.load) as busy, display() as show:
        done = count(1)
        total = config.steps * (2 if config.load else 1)
        steps, beside = timed_beside(
            walk.step, config.steps, busy, device=world.device, tell=lambda: show("stepping", next(done), total)
        )
        show("decoding", 0)
        decodes = timed(lambda: world.decode(out.latents[:, None], walk.state.decoder), min(config.steps, DECODES))
    ceiling = matrix_ceiling(torch.bfloat16 if world.bf16 else torch.float32, world.device)
    flops = step_flops(world, config.batch)
    figures = compared(steps, beside, walk.frames)
    results: dict[str, Any] = {
        "machine": machine(),
        "device": str(world.device),
        "batch": config.batch,
        "steps": config.steps,
        "sampling_steps": world.config.sampling.steps,
        "step_p50_ms": figures["p50_ms"],
        "step_p95_ms": figures["p95_ms"],
        "frames_per_second": figures["frames_per_second"],
        "decode_share": decodes.median / steps.median,
        "matrix_gflops": ceiling / 1e9,
        "step_gflop": flops / 1e9,
        "share_of_matrix_ceiling": flops / statistics.mean(steps.wall) / ceiling,
        "resident_mb": resident_mb(),
    }
    if beside is not None:
        results["load"] = {"processes": config.load, "step": figures}
    if config.minutes:
        results["memory"] = watch_memory(walk.step, config.minutes)
    folder = run_folder("bench", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results, world)))
    print(folder / "bench.json")


def _lines(results: Mapping[str, Any], world: WorldModel) -> list[str]:
    """For people."""
    chunk_ms = 1000 * world.chunk / world.config.fps
    lines = [
        f"{results['frames_per_second']:.1f} frames/s, decode included; sampling steps {results['sampling_steps']}, "
        f"batch {results['batch']}, {results['machine']['threads']} threads, {results['device']}",
        f"step latency p50 {results['step_p50_ms']:.1f} ms, p95 {results['step_p95_ms']:.1f} ms; "
        f"a chunk lasts {chunk_ms:.0f} ms; decoding is {results['decode_share']:.0%} of a step",
        f"{results['step_gflop']:.2f} GFLOP a step, at {results['share_of_matrix_ceiling']:.0%} of the "
        f"{results['matrix_gflops']:.0f} GFLOP/s that large matrix products reach here",
        f"resident memory {results['resident_mb']:.0f} MB",
    ]
    if "load" in results:
        lines += loaded_lines(results["load"]["processes"], {"step": results["load"]["step"]})
    if "memory" in results:
        memory = results["memory"]
        lines.append(
            f"over {memory['minutes']:g} minutes: {memory['first_mb']:.0f} MB after a tenth of them, "
            f"{memory['last_mb']:.0f} MB at the end, {memory['most_mb']:.0f} MB at most, "
            f"{memory['steps_per_second']:.1f} steps/s"
        )
    return lines


def step_flops(world: WorldModel, batch: int) -> float:
    """Operations of one step's matrix products and convolutions, counted by PyTorch."""
    frames = np.zeros((batch, 1, world.config.height, world.config.width, 3), np.uint8)
    state = world.prefill(frames, np.zeros((batch, 0, world.spec.size), np.float32), [0] * batch)
    return counted_flop(lambda: world.step(state, np.zeros((batch, world.chunk, world.spec.size), np.float32)))


def watch_memory(step: Callable[[], Any], minutes: float) -> dict[str, float]:
    """Step for some minutes; resident memory after a tenth of them, at the end and at most, in MB."""
    begun, readings, count = time.monotonic(), [], 0
    seconds = max(1, int(minutes * 60))
    with display() as show:
        for second in range(seconds):
            while time.monotonic() - begun < second + 1:
                step()
                count += 1
            readings.append(resident_mb())
            show(f"watching memory for {minutes:g} min", second + 1, seconds)
    return {
        "minutes": minutes,
        "first_mb": readings[len(readings) // 10],
        "last_mb": readings[-1],
        "most_mb": max(readings),
        "steps_per_second": count / (time.monotonic() - begun),
    }
