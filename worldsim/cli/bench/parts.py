"""``worldsim bench parts``: each part of play and training beside this machine's matrix products, with its profile."""

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from worldsim.cli.bench.load import BusyProcesses, busy_processes, load_setting
from worldsim.cli.bench.machine import machine, matrix_ceiling, resident_mb
from worldsim.cli.bench.peers.published import CLAIMED, MEASURED, published_lines
from worldsim.cli.bench.pieces import MEMORY, PIECES, Pieces
from worldsim.cli.bench.profile import KINDS, profiled
from worldsim.cli.bench.tables import loaded_lines, table
from worldsim.cli.bench.timing import compared, timed_beside
from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, setting, threads_setting, world_setting
from worldsim.cli.values import suggestion
from worldsim.errors import UserError
from worldsim.progress import Display, display
from worldsim.simulation.devices import device_of

GROUPS = {"all": PIECES, "memory": MEMORY, **{name: (name,) for name in PIECES}}
# Seconds of each measurement of a ceiling, between the pieces.
CEILING_SECONDS = 0.3
COLUMNS = ("rows", "ms p50", "ms p95", "frames/s", "GFLOP", "share", "of", *KINDS)


@dataclass(kw_only=True)
class BenchParts:
    """Settings of ``worldsim bench parts``."""

    world: str = world_setting()
    parts: list[str] = setting(
        ["all"],
        help="what to measure, as parts=[play,batch,training,encoder,decoder,memory,data]; memory: look_ahead, compose "
        "and remember, in worlds that have one",
    )
    rows: int = setting(16, help="of batch: worlds side by side", minimum=1)
    steps: int = setting(12, help="timed calls of each part", minimum=1)
    profiled: int = setting(3, help="calls of each part that are profiled, after the timed ones", minimum=1)
    clips: int = setting(4, help="training, data: clips of a batch", minimum=1)
    frames: int = setting(32, help="training, data: latent frames of a clip", minimum=1)
    compile: bool = setting(False, help="training: compile the network, which takes minutes at first")
    data: str | None = setting(None, help="data: store to draw clips from; default: a small one made for this")
    load: int = load_setting()
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("bench-parts")


def bench_parts(config: BenchParts) -> None:
    """``worldsim bench parts``."""
    from worldsim.envs.learned.initial_context import resolve

    wanted = _wanted(config.parts)
    if config.data is not None and "://" not in config.data:
        existing_path(config.data)
    use_threads(config.threads)
    world, starts = resolve(config.world, None, device_of(config.device))
    pieces = Pieces(
        world=world, starts=starts, rows=config.rows, clips=config.clips, frames=config.frames,
        compile=config.compile, data=config.data, threads=config.threads,
    )  # fmt: skip
    folder = run_folder("bench-parts", config)
    with busy_processes(config.load) as busy, display() as show:
        results = {
            "machine": machine(), "device": str(world.device), "load": config.load, "wanted": wanted,
            **measured(pieces, wanted, config, busy, show), "resident_mb": resident_mb(),
            "others": {"measured": [asdict(one) for one in MEASURED], "claimed": [asdict(one) for one in CLAIMED]},
        }  # fmt: skip
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results)))
    print(folder / "bench.json")


def _wanted(parts: list[str]) -> list[str]:
    """The pieces that ``parts`` name."""
    if unknown := [name for name in parts if name not in GROUPS]:
        raise UserError(f"unknown part {unknown[0]!r}; known: {', '.join(GROUPS)}{suggestion(unknown[0], GROUPS)}")
    return [piece for name in parts for piece in GROUPS[name]]


def measured(
    pieces: Pieces, wanted: list[str], config: BenchParts, busy: BusyProcesses, show: Display
) -> dict[str, Any]:
    """Figures of all wanted pieces, and the ceilings that they are shares of."""
    device = pieces.world.device
    ceilings: list[dict[str, float]] = []
    found: dict[str, dict[str, Any]] = {}
    names = pieces.named(wanted)
    for number, name in enumerate(names):
        show(name, number, len(names))
        ceilings.append(_ceilings(pieces))
        with pieces.open(name) as piece:
            quiet, loaded = timed_beside(piece.call, config.steps, busy, device=device)
            found[name] = {
                "rows": piece.rows, "frames": piece.frames, "format": "bf16" if piece.bf16 else "fp32",
                "gflop": piece.flop / 1e9, **compared(quiet, loaded, piece.frames),
                "profile": profiled(piece.call, config.profiled, device).plain(),
            }  # fmt: skip
    ceilings.append(_ceilings(pieces))
    # Of all: a moment in which something else ran hits one piece, or one ceiling.
    ceiling = {name: statistics.median(each[name] for each in ceilings) for name in ceilings[0]}
    for each in found.values():
        rate = 1e12 * each["gflop"] / each["p50_ms"]
        each["share_of_matrix_ceiling"] = rate / ceiling[each["format"]] if rate else None
    return {"matrix_gflops": {name: rate / 1e9 for name, rate in ceiling.items()}, "parts": found}


def _ceilings(pieces: Pieces) -> dict[str, float]:
    formats = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if pieces.bf16 else {})
    return {name: matrix_ceiling(each, pieces.world.device, CEILING_SECONDS) for name, each in formats.items()}


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    """For people."""
    here, parts = results["machine"], results["parts"]
    ceilings = ", ".join(f"{rate:.0f} in {name}" for name, rate in results["matrix_gflops"].items())
    yield f"{here['cpu']}, {here['threads']} threads, {results['device']}, load average {here['load'] or 0:.1f}"
    yield f"large matrix products reach {ceilings} GFLOP/s here; share: of those"
    yield "products, elementwise, copies, dispatch: where the time of a profiled call goes"
    yield from table(("", *COLUMNS), [_row(name, each) for name, each in parts.items()])
    if results["load"]:
        yield from loaded_lines(results["load"], parts)
    if missing := [name for name in MEMORY if name not in parts and name in results["wanted"]]:
        yield f"this world has no memory: no {', '.join(missing)}"
    yield from published_lines()


def _row(name: str, part: Mapping[str, Any]) -> tuple[str, ...]:
    share, times = part["share_of_matrix_ceiling"], part["profile"]["shares"]
    return (
        name, str(part["rows"]), f"{part['p50_ms']:.1f}", f"{part['p95_ms']:.1f}", f"{part['frames_per_second']:.1f}",
        f"{part['gflop']:.2f}", *(("", "") if share is None else (f"{share:.1%}", part["format"])),
        *(f"{times[kind]:.0%}" for kind in KINDS),
    )  # fmt: skip
