"""Tables of figures for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; the first column is names, the others are numbers and stand at their right edge."""
    cells = [tuple(columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *numbers)).rstrip()


def loaded_lines(count: int, figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Latency of what was measured, by its name, on the quiet machine and beside ``count`` busy processes.

    Each value is of ``timing.compared``.
    """
    yield f"quiet, and in turns with that beside {count} busy processes ({count} load), ms:"
    columns = ("", *(f"{p} {which}" for p in ("p50", "p95") for which in ("quiet", "load", "ratio")))
    yield from table(columns, [(name, *_loaded(each)) for name, each in figures.items()])


def _loaded(figures: Mapping[str, Any]) -> Iterator[str]:
    for p in ("p50", "p95"):
        yield f"{figures[f'{p}_ms']:.1f}"
        yield f"{figures['loaded'][f'{p}_ms']:.1f}"
        yield f"{figures['loaded'][f'ratio_{p}']:.2f}"
