"""Plots of the results, drawn from the CSV files of the experiments alone: ``python -m docs.tools.plots``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docs.tools.figures import DOCS, column, numbers, read_table, row
from worldsim.plotting.render import svg
from worldsim.plotting.style import curve_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = DOCS / "media" / "plots"
Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves over one axis.

    Attributes:
        title: what it shows.
        x_label, y_label: of the axes, with units.
        curves: by name, x and y.
        logarithmic: whether the x axis is.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Curve]
    logarithmic: bool = False

    def svg(self) -> str:
        """As the text of a file."""
        return svg(partial(_draw, plot=self), self.title, height=340, standalone=True)


def worlds() -> Plot:
    """How much better than repeating the last frame the worlds were, each on clips of its day."""
    tables = {
        "2026-11-23": "2026-11-23-world-1",
        "2026-11-25, morning": "2026-11-25-world-of-the-morning-2",
        "2026-11-25, evening": "2026-11-25-world-of-the-evening-2",
        "2026-11-26, morning": "2026-11-26-world-of-the-morning-2",
        "2026-11-26, afternoon (samples)": "2026-11-26-twin-noises-2",
        "2026-11-26, night (samples)": "2026-11-26-shipped-world-night-2",
    }
    curves = {}
    for name, file in tables.items():
        table = read_table(file)
        chunks = [numbers(cell)[0] for cell in table[0][1:]]
        kept = [(x, y) for x, y in zip(chunks, row(table, "gain over the last frame"), strict=True) if x <= 20]
        curves[name] = ([x for x, _ in kept], [y for _, y in kept])
    return Plot(
        title="Gain over repeating the last frame", x_label="chunk", y_label="dB of PSNR", curves=curves
    )  # fmt: skip


def memory() -> Plot:
    """PSNR by chunk with and without the memory."""
    table = read_table("2026-11-28-spatial-memory-2")
    rows = [cells for cells in table[1:] if "chunk" in cells[0]]
    chunks = [numbers(cells[0].removeprefix("PSNR "))[0] for cells in rows]
    curves = {
        f"{name} memory": (chunks, [numbers(cells[at])[0] for cells in rows])
        for at, name in ((2, "with"), (1, "without"))
    }
    return Plot(title="PSNR by chunk", x_label="chunk", y_label="PSNR, dB", curves=curves)


def compute() -> Plot:
    """Error of a small network against its training compute, a curve a seed."""
    table = read_table("2026-11-26-scaling-1")
    flops = [numbers(cell)[0] for cell in column(table, "TFLOP")]
    errors = [numbers(cell) for cell in column(table, "x0 error")]
    curves = {
        f"seed {seed}": (
            [x for x, values in zip(flops, errors, strict=True) if seed < len(values)],
            [values[seed] for values in errors if seed < len(values)],
        )
        for seed in range(max(map(len, errors)))
    }
    return Plot(
        title="Error of a small network", x_label="training compute, TFLOP", y_label="x0 error", curves=curves,
        logarithmic=True,
    )  # fmt: skip


def pong() -> Plot:
    """What rollouts of Pong show after a while, under random keys."""
    table = read_table("2026-11-26-agents-that-win-1")
    curves = {}
    for name in table[0][1:]:
        values = numbers(column(table, name)[0])
        curves[name] = ([10 * i + 5.5 for i in range(len(values))], values)
    return Plot(title="Pictures of Pong that show it", x_label="step", y_label="share", curves=curves)


ALL: Mapping[str, Callable[[], Plot]] = {"worlds": worlds, "memory": memory, "compute": compute, "pong": pong}


def write(folder: Path = PLOTS) -> None:
    """Draw all plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in ALL.items():
        (folder / f"{name}.svg").write_text(plot().svg())


def _draw(figure: "Figure", plot: Plot) -> None:
    axes = figure.add_subplot()
    for i, (name, (x, y)) in enumerate(plot.curves.items()):
        axes.plot(x, y, color=curve_colour(i), marker="o", markersize=4, label=name)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    if plot.logarithmic:
        axes.set_xscale("log")
    figure.legend(loc="outside upper left", ncols=2)


if __name__ == "__main__":
    write()
