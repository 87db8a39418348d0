"""The figures of experiments: CSV files with the cells of the tables in the records.

``python -m docs.tools.figures`` writes the files anew from the tables.
"""

import csv
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
EXPERIMENTS = DOCS / "experiments"
FIGURES = EXPERIMENTS / "figures"


def read_table(name: str) -> list[list[str]]:
    """The rows of ``figures/NAME.csv``, the first one its header."""
    with (FIGURES / f"{name}.csv").open(newline="") as file:
        return list(csv.reader(file))


def numbers(cell: str) -> list[float]:
    """The numbers of a cell in order; those of an interval in brackets are left out."""
    return [float(one) for one in re.findall(r"(?<![\w.])[+-]?\d*\.?\d+(?![\w.]*\w)", _plain(cell))]


def row(table: list[list[str]], first: str) -> list[float]:
    """The first number of each cell of the row that begins with ``first``.

    Raises:
        KeyError: there is no such row.
    """
    for cells in table:
        if cells[0] == first:
            return [numbers(cell)[0] for cell in cells[1:]]
    raise KeyError(first)


def column(table: list[list[str]], name: str) -> list[str]:
    """The cells below a header.

    Raises:
        KeyError: there is no such column.
    """
    if name not in table[0]:
        raise KeyError(name)
    at = table[0].index(name)
    return [cells[at] for cells in table[1:]]


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The tables of a page that hold figures, as rows of cells without marks of Markdown."""
    found: list[list[list[str]]] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip().replace("**", "") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            found.append(rows)
            rows = []
    return found


def has_figures(table: list[list[str]]) -> bool:
    """Whether a cell below the header has a digit."""
    return any(re.search(r"\d", cell) for cells in table[1:] for cell in cells)


def write(folder: Path = EXPERIMENTS) -> list[str]:
    """Write the CSV file of every table with figures of every record in a folder; the files' names."""
    written = []
    for path in sorted(folder.glob("2*.md")):
        for number, table in enumerate(markdown_tables(path.read_text()), 1):
            if has_figures(table):
                file = folder / "figures" / f"{path.stem}-{number}.csv"
                file.parent.mkdir(exist_ok=True)
                with file.open("w", newline="") as out:
                    csv.writer(out, lineterminator="\n").writerows(table)
                written.append(file.name)
    return written


def _plain(cell: str) -> str:
    return re.sub(r"\([^)]*\)", "", cell).replace("+-", " ").replace("1,", "1").replace("dB", "").strip()


if __name__ == "__main__":
    print(f"{len(write())} tables")
