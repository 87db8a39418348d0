"""``worldsim bench env``: steps a second alone, in batches and in processes; what snapshots cost."""

import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import count
from queue import Empty
from typing import Any

import numpy as np
import torch

from worldsim.asides import scratch_folder
from worldsim.cli.bench.machine import machine, matrix_product
from worldsim.cli.bench.peers.published import DIAMOND, MEASURED_ON
from worldsim.cli.bench.timing import WARM_UP, timed
from worldsim.cli.bench.world import step_flops
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import folder_setting, setting, threads_setting, world_setting
from worldsim.errors import UserError
from worldsim.processes import interrupts_stay_here
from worldsim.progress import Display, display


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
        ceilings = [_matrix_rates(env.world.bf16)]
        single = timed(lambda: env.step(noop), config.steps)
        batch = timed(lambda: envs.step(np.stack([noop] * config.rows)), config.steps)
        ceilings.append(_matrix_rates(env.world.bf16))
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
        "steps_per_second": {
            "one row": 1 / single.median,
            "batch": config.rows / batch.median,
            "processes": sum(rates),
        },
        "cpu_seconds_per_step": {"one row": single.cpu_median, "batch": batch.cpu_median / config.rows},
        "processes": config.processes,
        "step_gflop": flops / config.rows / 1e9,
        "matrix_gflops": ceiling / 1e9,
        "share_of_matrix_ceiling": flops / batch.median / ceiling,
        "share_of_matrix_ceiling_by_cpu_time": flops / batch.cpu_median / ceiling_cpu,
        "snapshots": snapshots,
        "diamond": asdict(DIAMOND),
        "null_test": null,
    }
    (folder / "bench_env.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results)))
    print(folder / "bench_env.json")


def _matrix_rates(bf16: bool) -> tuple[float, float]:
    """Floating-point operations a second, and a second of CPU time, in a large matrix product."""
    product, flop = matrix_product(torch.bfloat16 if bf16 else torch.float32, torch.device("cpu"))
    times = timed(product, 5)
    return flop / times.median, flop / times.cpu_median


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
            "snapshot_ms": timed(env.snapshot, 30),
            "restore_ms": timed(lambda: env.restore(moment), 30),
            "fork_16_ms": timed(lambda: env.fork(16), 10),
            "copy_ms": timed(ring.clone, 30),
            "rows_restore_ms": timed(lambda: envs.restore(moment), 10),
            "save_ms": timed(lambda: moment.save(path), 3),
            "load_ms": timed(lambda: Snapshot.load(path), 5),
        }
        costs = {name: 1000 * times.median for name, times in costs.items()}
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
        f"{DIAMOND.name} takes {DIAMOND.gflop} GFLOP a step, {DIAMOND.gflop / gflop:.1f} times as many:",
        f"  at most {ceiling / DIAMOND.gflop:.1f} steps/s here; measured on {MEASURED_ON}:",
        f"  {DIAMOND.fp32_row} in fp32, {DIAMOND.row} in bf16, {DIAMOND.rows_16} with 16 rows",
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
