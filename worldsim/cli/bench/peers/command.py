"""``worldsim bench peers``: a world beside other world models that are here, in turns, in one run."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from worldsim.cli.bench.machine import machine, matrix_ceiling
from worldsim.cli.bench.peers.peer import Peer
from worldsim.cli.bench.peers.published import CLAIMED, MEASURED, published_lines
from worldsim.cli.bench.tables import table
from worldsim.cli.bench.timing import counted_flop
from worldsim.cli.bench.walk import Walk
from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import folder_setting, setting, threads_setting, world_setting
from worldsim.errors import UserError
from worldsim.models.precision import fast_bf16
from worldsim.progress import Display, display

CPU = torch.device("cpu")
CEILING_SECONDS = 0.3


@dataclass(kw_only=True)
class BenchPeers:
    """Settings of ``worldsim bench peers``."""

    world: str = world_setting()
    diamond: str | None = setting(
        None, help="folder of a checkout of DIAMOND (main or csgo), whose modules are imported; default: none"
    )
    rows: int = setting(16, help="of the batch; one row is measured too", minimum=2)
    rounds: int = setting(3, help="turns of each, of which the medians are taken", minimum=1)
    seconds: float = setting(2.0, help="length of a turn, and at least one call", unit="seconds", above=0)
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("bench-peers")


def bench_peers(config: BenchPeers) -> None:
    """``worldsim bench peers``: on the CPU."""
    use_threads(config.threads)
    others = found_peers(config)
    ours = _ours(config.world)
    folder = run_folder("bench-peers", config)
    with display() as show:
        compared = {str(rows): in_turns([ours, *others], rows, config, show) for rows in (1, config.rows)}
    results = {
        "machine": machine(), "format": "bf16" if fast_bf16() else "fp32",
        "peers": {peer.name: {"parameters": peer.parameters} for peer in (ours, *others)}, "rows": compared,
        "others": {"measured": [asdict(one) for one in MEASURED], "claimed": [asdict(one) for one in CLAIMED]},
    }  # fmt: skip
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results)))
    print(folder / "bench.json")


def found_peers(config: BenchPeers) -> list[Peer]:
    """Those that are here.

    Raises:
        UserError: there is none.
    """
    from worldsim.cli.bench.peers.diamond import diamond
    from worldsim.cli.bench.peers.dreamer4 import dreamer4

    found = [diamond(existing_path(config.diamond))] if config.diamond is not None else []
    if (installed := dreamer4()) is not None:
        found.append(installed)
    if not found:
        raise UserError("no other world model is here: pip install dreamer4, or diamond=FOLDER for a checkout of it")
    return found


def _ours(name: str) -> Peer:
    from worldsim.envs.learned.initial_context import resolve

    world, starts = resolve(name, None, "cpu")
    size = f"{world.config.width}x{world.config.height}, {world.config.sampling.steps} passes"
    memory = "" if world.memory is None else ", with memory"
    about = f"WorldSim {Path(name).name}, {size}{memory}"
    return Peer(about, world.modules(), world.chunk, lambda rows: Walk(world, starts, rows).step)


def in_turns(peers: Sequence[Peer], rows: int, config: BenchPeers, show: Display) -> dict[str, Any]:
    """Figures by name of so many rows: each world's turn follows the other's, and matrix products end the round."""
    calls = [peer.begin(rows) for peer in peers]
    flops = [counted_flop(call) / rows / peer.frames for call, peer in zip(calls, peers, strict=True)]
    for call in calls:
        call()
    rates: list[list[float]] = []
    ceilings: list[float] = []
    for number in range(config.rounds):
        show(f"rows: {rows}", number, config.rounds)
        rates.append(
            [rows * each.frames * _rate(call, config.seconds) for call, each in zip(calls, peers, strict=True)]
        )
        ceilings.append(matrix_ceiling(torch.bfloat16 if fast_bf16() else torch.float32, CPU, CEILING_SECONDS))
    ceiling = statistics.median(ceilings)
    figures = {
        peer.name: {
            "gflop_a_frame": flop / 1e9,
            "frames_per_second": statistics.median(each[i] for each in rates),
            "share_of_matrix_ceiling": statistics.median(
                each[i] * flop / top for each, top in zip(rates, ceilings, strict=True)
            ),
            "ours_by_theirs": statistics.median(each[0] / each[i] for each in rates),
        }
        for i, (peer, flop) in enumerate(zip(peers, flops, strict=True))
    }
    return {"matrix_gflops": ceiling / 1e9, "figures": figures}


def _rate(call: Callable[[], Any], seconds: float) -> float:
    """Calls a second, of at least one."""
    done, begun = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begun < seconds:
        call()
        done += 1
    return done / (time.perf_counter() - begun)


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    """For people."""
    here, peers = results["machine"], results["peers"]
    yield (
        f"{here['cpu']}, {here['threads']} threads, {results['format']}; others with random weights; in turns, load "
        f"average {here['load'] or 0:.1f}"
    )
    for rows, found in results["rows"].items():
        ceiling = f"{found['matrix_gflops']:.0f} GFLOP/s of large matrix products in the same turns"
        yield f"rows: {rows}; share: of the {ceiling}"
        columns = ("", "M parameters", "GFLOP a frame", "frames/s", "share", "WorldSim, times")
        yield from table(columns, [_row(name, peers[name], each) for name, each in found["figures"].items()])
    yield from published_lines()


def _row(name: str, peer: Mapping[str, Any], figures: Mapping[str, float]) -> tuple[str, ...]:
    return (
        name, f"{peer['parameters'] / 1e6:.1f}", f"{figures['gflop_a_frame']:.2f}",
        f"{figures['frames_per_second']:.2f}", f"{figures['share_of_matrix_ceiling']:.1%}",
        f"{figures['ours_by_theirs']:.2f}",
    )  # fmt: skip
