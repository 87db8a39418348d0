"""Figures of other world models: what was measured of their own code, and what their authors say."""

from collections.abc import Iterator
from dataclasses import dataclass

from worldsim.cli.bench.tables import table

MEASURED_ON = "one thread of an Intel Xeon with AMX"
# Large matrix products there, in bf16, GFLOP/s.
CEILING = 1295


@dataclass(frozen=True)
class Measured:
    """A system's own code with random weights, paired with WorldSim's in one run on 2026-11-28, ``MEASURED_ON``.

    Attributes:
        name: with the size of its pictures and its passes.
        parameters: in millions.
        gflop: of a frame, 10^9 operations.
        row: frames/s of one row in bf16.
        row_share: of what that machine's matrix products reach.
        rows_16: frames/s of 16 rows in bf16; None: not measured.
        rows_16_share: of the same.
        fp32_row: frames/s of one row in fp32.
    """

    name: str
    parameters: float
    gflop: float
    row: float
    row_share: float
    rows_16: float | None
    rows_16_share: float | None
    fp32_row: float


@dataclass(frozen=True)
class Claimed:
    """What a system's authors say of its speed, on hardware of theirs; not measured here.

    Attributes:
        name: and size.
        rate: frames/s, with the hardware where it is named.
        source: where that is said.
    """

    name: str
    rate: str
    source: str


DIAMOND = Measured("DIAMOND, Atari, 64x64, 3 Euler steps", 4.4, 18.3, 12.9, 0.17, 20.9, 0.29, 5.7)
MEASURED = (
    Measured("WorldSim minecraft, 144x80, no memory", 19.2, 1.34, 73.9, 0.079, 205.0, 0.21, 48.5),
    Measured("WorldSim pong, 80x80", 1.6, 0.29, 95.2, 0.02, 248.0, 0.053, 97.2),
    DIAMOND,
    Measured("dreamer4 0.20.2 (PyPI), 256x256, 4 + 1 passes", 228.0, 13.3, 6.6, 0.064, 12.5, 0.12, 4.2),
    Measured("open-oasis, 640x360, 2 frames of context", 837.0, 3668.0, 0.1, 0.3, None, None, 0.04),
)
CLAIMED = (
    Claimed("DIAMOND, CS:GO, 381 M", "10", "its repository"),
    Claimed("Dreamer-MC, 1.7 B, 640x360", "20 (one H200)", "its repository"),
    Claimed("MIRA, 1 B and 5 B", "20", "its repository"),
    Claimed("Waypoint 1.5, 1.2 B, 720p", "56 (RTX 5090)", "its repository"),
    Claimed("MineWorld, .3 to 1.2 B", "4 to 7", "its paper"),
    Claimed("GameNGen, 860 M (closed)", "20 (TPU)", "its paper"),
    Claimed("Matrix-Game 3, 5 B, 720p", "40", "arXiv 2604.08995"),
    Claimed("Genie 3 (closed), 720p", "24", "its announcement"),
)


def published_lines() -> Iterator[str]:
    """For people."""
    yield f"others, measured on {MEASURED_ON}, 2026-11-28: their own code with random weights, in bf16;"
    yield f"share: of the {CEILING} GFLOP/s of large matrix products there"
    columns = ("", "M parameters", "GFLOP a frame", "frames/s", "share", "of 16 rows", "share")
    yield from table(columns, [_row(one) for one in MEASURED])
    yield "what their authors say, on hardware of theirs:"
    yield from table(("", "frames/s", "source"), [(one.name, one.rate, one.source) for one in CLAIMED])


def _row(one: Measured) -> tuple[str, ...]:
    rows = ("", "") if one.rows_16 is None else (f"{one.rows_16:g}", f"{one.rows_16_share:.1%}")
    return (one.name, f"{one.parameters:g}", f"{one.gflop:g}", f"{one.row:g}", f"{one.row_share:.1%}", *rows)
