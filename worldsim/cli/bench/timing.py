"""How long calls take, on the quiet machine and beside busy processes, and how many operations they are."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from worldsim.cli.bench.load import BusyProcesses
from worldsim.cli.bench.machine import synchronise
from worldsim.models.rowwise import MKL

CPU = torch.device("cpu")
WARM_UP = 3
# Quiet and loaded calls take so many turns each, so that what else changes on the machine changes both.
TURNS = 4


@dataclass(frozen=True)
class Times:
    """Of calls, in seconds: by the clock on the wall, and of all cores together."""

    wall: Sequence[float]
    cpu: Sequence[float]

    def __add__(self, other: "Times") -> "Times":
        return Times([*self.wall, *other.wall], [*self.cpu, *other.cpu])

    @property
    def median(self) -> float:
        """Seconds of a call by the clock."""
        return float(np.median(self.wall))

    @property
    def cpu_median(self) -> float:
        """Seconds of a call on all cores together, which other work on the machine hardly changes."""
        return float(np.median(self.cpu))

    def figures(self, frames: float) -> dict[str, float]:
        """Latency in ms and the rate of calls that make so many frames."""
        p50, p95 = (1000 * float(np.percentile(self.wall, share)) for share in (50, 95))
        return {"p50_ms": p50, "p95_ms": p95, "frames_per_second": frames / float(np.mean(self.wall))}


def timed(
    call: Callable[[], Any],
    count: int,
    *,
    warm_up: int = WARM_UP,
    device: torch.device = CPU,
    tell: Callable[[], object] = lambda: None,
) -> Times:
    """``count`` calls, after ``warm_up`` that are not timed; ``tell`` hears after each timed one."""
    taken: list[tuple[float, float]] = []
    for number in range(-warm_up, count):
        begun = time.perf_counter(), time.process_time()
        call()
        synchronise(device)
        if number >= 0:
            taken.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
            tell()
    wall, cpu = zip(*taken, strict=True)
    return Times(wall, cpu)


def timed_beside(
    call: Callable[[], Any],
    count: int,
    busy: BusyProcesses,
    *,
    device: torch.device = CPU,
    tell: Callable[[], object] = lambda: None,
) -> tuple[Times, Times | None]:
    """At least ``count`` calls on the quiet machine, and as many beside busy processes, in turns.

    Without such processes the second is None.
    """
    if not len(busy):
        return timed(call, count, device=device, tell=tell), None
    quiet, loaded = Times([], []), Times([], [])
    try:
        for turn in range(TURNS):
            for working in (False, True):
                busy.work(working)
                warm_up = 1 if turn else WARM_UP
                some = timed(call, math.ceil(count / TURNS), warm_up=warm_up, device=device, tell=tell)
                quiet, loaded = (quiet, loaded + some) if working else (quiet + some, loaded)
    finally:
        busy.work(False)
    return quiet, loaded


def compared(quiet: Times, loaded: Times | None, frames: float) -> dict[str, Any]:
    """Latency and rate of calls that make so many frames; of ``loaded`` ones the ratio to quiet ones too."""
    here = quiet.figures(frames)
    if loaded is None:
        return here
    beside = loaded.figures(frames)
    ratios = {f"ratio_{name}": beside[f"{name}_ms"] / here[f"{name}_ms"] for name in ("p50", "p95")}
    return {**here, "loaded": beside | ratios}


def counted_flop(call: Callable[[], Any]) -> float:
    """Operations of one call's matrix products and convolutions, counted by PyTorch."""
    with FlopCounterMode(display=False, custom_mapping=_OWN_LAYOUT) as counter:
        call()
    return float(counter.get_total_flops())


def _pointwise_flop(input: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return conv_flop_count(list(input), list(weight), list(out_shape))


def _packed_flop(input: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return 2 * math.prod(input) * out_shape[-1]


# Products with weights in a layout of the library's own, which PyTorch does not count.
_OWN_LAYOUT = {torch.ops.mkldnn._convolution_pointwise: _pointwise_flop} if torch.backends.mkldnn.is_available() else {}
if MKL:
    _OWN_LAYOUT[torch.ops.mkl._mkl_linear] = _packed_flop
