"""``worldsim bench env``: steps a second alone, in batches and in processes; what snapshots cost."""

import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from queue import Empty
from typing import Any

import numpy as np
import torch

from worldsim.asides import scratch_folder
from worldsim.cli.bench.machine import machine
from worldsim.cli.bench.world import step_flops
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import folder_setting, setting, threads_setting, world_setting
from worldsim.errors import UserError
from worldsim.processes import interrupts_stay_here
from worldsim.progress import Display, display

WARM_UP = 3
# DIAMOND (Alonso et al. 2024), its own code with random weights, 64x64 pixels, 3 Euler steps, one thread of an AMD EPYC
# (Zen 4, AVX512-bf16) where large fp32 products reach 75 to 100 GFLOP/s: FLOP and seconds a step, steps/s of 16 rows.
DIAMOND = {"gflop": 18.3, "fp32_seconds": 0.26, "bf16_seconds": 0.19, "rows_16_steps_per_second": 6.2}


@dataclass(kw_only=True)
class BenchEnv:
    """Settings of ``worldsim bench env``."""

    world: str = world_setting()
    steps: int = setting(20, help="timed steps", minimum=3)
    rows: int = setting(16, help="rows of the batch", minimum=2)
    processes: int = setting(
        2, help="each with an environment of its own, at the same time; 0 measures none", minimum=0
    )
    null_steps: int = setting(
        0, help="steps of the null test: same seed, same actions, again, in another process, in a batch", minimum=0
    )
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("bench-env")


def bench_env(config: BenchEnv) -> None:
    """``worldsim bench env``."""
    from worldsim.envs.learned.env import WorldSimEnv
    from worldsim.envs.learned.vector_env import WorldSimVectorEnv

    use_threads(config.threads)
    env, envs = WorldSimEnv(config.world), WorldSimVectorEnv(config.rows, config.world)
    folder = run_folder("bench-env", config)
    env.reset(seed=0)
    envs.reset(seed=0)
    noop: Any = env.actions.nearest(env.world.spec.noop())
    with display() as show:
        show("one row and a batch", 0)
        ceilings = [_matrix_product(env.world.bf16)]
        single = _medians(lambda: env.step(noop), config.steps)
        batch = _medians(lambda: envs.step(np.stack([noop] * config.rows)), config.steps)
        ceilings.append(_matrix_product(env.world.bf16))
        show(f"{config.processes} processes", 0)
        rates = _process_rates(config.world, config.processes, config.steps)
        show("snapshots", 0)
        snapshots = _snapshot_costs(env, envs, noop)
        null = _null_test(config, show) if config.null_steps else None
    ceiling, ceiling_cpu = (statistics.mean(each) for each in zip(*ceilings, strict=True))
    flops = step_flops(env.world, config.rows)
    results: dict[str, Any] = {
        "machine": machine(),
        "rows": config.rows,
        "steps_per_second": {"one row": 1 / single[0], "batch": config.rows / batch[0], "processes": sum(rates)},
        "cpu_seconds_per_step": {"one row": single[1], "batch": batch[1] / config.rows},
        "processes": config.processes,
        "step_gflop": flops / config.rows / 1e9,
        "matrix_gflops": ceiling / 1e9,
        "share_of_matrix_ceiling": flops / batch[0] / ceiling,
        "share_of_matrix_ceiling_by_cpu_time": flops / batch[1] / ceiling_cpu,
        "snapshots": snapshots,
        "diamond": DIAMOND,
        "null_test": null,
    }
    (folder / "bench_env.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results)))
    print(folder / "bench_env.json")


def _medians(call: Callable[[], Any], times: int) -> tuple[float, float]:
    """Median seconds of a call, and of CPU time, which other work on the machine hardly changes."""
    for _ in range(WARM_UP):
        call()
    seconds = []
    for _ in range(times):
        begun = time.perf_counter(), time.process_time()
        call()
        seconds.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    wall, cpu = zip(*seconds, strict=True)
    return statistics.median(wall), statistics.median(cpu)


def _matrix_product(bf16: bool, size: int = 2048) -> tuple[float, float]:
    """Floating-point operations a second, and a second of CPU time, in a large matrix product."""
    a, b = (torch.randn(size, size).to(torch.bfloat16 if bf16 else torch.float32) for _ in range(2))
    wall, cpu = _medians(lambda: torch.matmul(a, b), 5)
    return 2 * size**3 / wall, 2 * size**3 / cpu


def _process_rates(world: str, processes: int, steps: int) -> list[float]:
    """Steps a second of each of several processes that step an environment of their own at the same time."""
    if not processes:
        return []
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_step_alone, args=(world, steps, barrier, rates)) for _ in range(processes)]
    found: list[float] = []
    try:
        with interrupts_stay_here():
            for worker in workers:
                worker.start()
        while len(found) < processes:
            try:
                found.append(rates.get(timeout=5))
            except Empty as error:
                if any(worker.exitcode for worker in workers):
                    raise UserError("a process of the measurement died; is there enough memory?") from error
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()
    return found


def _step_alone(world: str, steps: int, barrier: Any, rates: Any) -> None:
    from worldsim.envs.learned.env import WorldSimEnv

    torch.set_num_threads(1)
    env = WorldSimEnv(world)
    env.reset(seed=os.getpid())
    noop: Any = env.actions.nearest(env.world.spec.noop())
    for _ in range(WARM_UP):
        env.step(noop)
    barrier.wait()
    begun = time.perf_counter()
    for _ in range(steps):
        env.step(noop)
    rates.put(steps / (time.perf_counter() - begun))


def _snapshot_costs(env: Any, envs: Any, noop: Any) -> dict[str, float]:
    """Milliseconds and bytes. A shared snapshot costs its copy when somebody goes on: ``copy_ms``."""
    from worldsim.envs.learned.snapshot import Snapshot

    moment = env.snapshot()
    ring = moment.state.cache
    with scratch_folder() as folder:
        path = folder / "moment.safetensors"
        costs = {
            "snapshot_ms": _medians(env.snapshot, 30),
            "restore_ms": _medians(lambda: env.restore(moment), 30),
            "fork_16_ms": _medians(lambda: env.fork(16), 10),
            "copy_ms": _medians(ring.clone, 30),
            "rows_restore_ms": _medians(lambda: envs.restore(moment), 10),
            "save_ms": _medians(lambda: moment.save(path), 3),
            "load_ms": _medians(lambda: Snapshot.load(path), 5),
        }
        costs = {name: 1000 * seconds[0] for name, seconds in costs.items()}
        shared = moment.state.cache.keys.data_ptr() == env.snapshot().state.cache.keys.data_ptr()
        return costs | {
            "ring_bytes": ring.keys.nbytes + ring.values.nbytes,
            "snapshot_bytes": moment.nbytes(),
            "new_bytes_when_taken": 0 if shared else moment.nbytes(),
            "file_bytes": path.stat().st_size,
        }


def _null_test(config: BenchEnv, show: Display) -> dict[str, Any]:
    from worldsim.evaluation.determinism import check_determinism

    done = count(1)
    return check_determinism(
        config.world,
        config.null_steps,
        config.rows,
        lambda: show("null test", next(done), 3 * config.null_steps),
    )


def _lines(results: Mapping[str, Any]) -> list[str]:
    """For people."""
    rate, rows, costs = results["steps_per_second"], results["rows"], results["snapshots"]
    gflop, ceiling, cpu = results["step_gflop"], results["matrix_gflops"], results["cpu_seconds_per_step"]
    lines = [
        f"one environment: {rate['one row']:.1f} steps/s; {rows} rows in one batch: {rate['batch']:.1f} steps/s, "
        f"{results['machine']['threads']} threads",
        f"CPU time a step: {1000 * cpu['one row']:.0f} ms alone, {1000 * cpu['batch']:.0f} ms in the batch",
        f"the batch reaches {results['share_of_matrix_ceiling']:.0%} of the {ceiling:.0f} GFLOP/s of large matrix "
        f"products, {results['share_of_matrix_ceiling_by_cpu_time']:.0%} by CPU time;",
        f"  all of them, at {gflop:.2f} GFLOP a step, would be {ceiling / gflop:.1f} steps/s",
    ]
    if results["processes"]:
        more = "" if results["processes"] == rows else f"; {rows} of them would share the same cores"
        lines.append(
            f"{results['processes']} processes with an environment each: {rate['processes']:.1f} steps/s; the batch "
            f"makes {rate['batch'] / rate['processes']:.1f} times as many{more}"
        )
    lines += [
        f"DIAMOND's Atari world (64x64 pixels, 3 Euler steps) takes {DIAMOND['gflop']} GFLOP a step, "
        f"{DIAMOND['gflop'] / gflop:.1f} times as many:",
        f"  at most {ceiling / DIAMOND['gflop']:.1f} steps/s here; measured on one thread of a Zen 4 EPYC: "
        f"{1 / DIAMOND['fp32_seconds']:.1f} in fp32, {1 / DIAMOND['bf16_seconds']:.1f} in bf16, "
        f"{DIAMOND['rows_16_steps_per_second']} with 16 rows",
        f"snapshot {costs['snapshot_ms']:.3f} ms, restore {costs['restore_ms']:.3f} ms, fork(16) "
        f"{costs['fork_16_ms']:.2f} ms, the copy once somebody goes on {costs['copy_ms']:.2f} ms, save "
        f"{costs['save_ms']:.0f} ms, load {costs['load_ms']:.0f} ms",
        f"bytes of a snapshot: {costs['new_bytes_when_taken']} new when taken; once the environment goes on "
        f"{costs['snapshot_bytes']:,}, {costs['ring_bytes']:,} of them the key/value ring",
    ]
    for name, found in (results["null_test"] or {}).items():
        same = "equal to the bit" if found["first_different_step"] is None else (
            f"differs from step {found['first_different_step']} on: latents by {found['latents']:.1e} at most, pose by "
            f"{found['pose']:.1e}, pictures by {found['grey_levels']} grey levels"
        )  # fmt: skip
        lines.append(f"null test, {found['steps']} steps, {name}: {same}")
    return lines
