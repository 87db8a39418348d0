"""Files of actions: a CSV with a column per action, one row per video frame (or per ``repeat`` frames).

Columns are the names of keys (0 or 1), ``pitch`` and ``yaw`` (degrees per video frame; down and right are positive) and
``repeat`` (how many frames the row lasts). Columns left out and empty cells are 0 (``repeat``: 1).

    forward,yaw,repeat
    1,0,20
    1,3,10
"""

import csv
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.actions import ActionSpec
from worldsim.errors import UserError

LONGEST = 100_000


def read_actions(path: str | os.PathLike[str], spec: ActionSpec) -> NDArray[np.float32]:
    """Actions (N, A), one row per video frame.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: an unknown column, a value that is no number or not allowed, or no rows; says which line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of actions: {path}")
    columns = {key: i for i, key in enumerate(spec.keys)}
    if spec.camera:
        columns |= {"pitch": spec.size - 2, "yaw": spec.size - 1}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if unknown := [name for name in names if name not in columns and name != "repeat"]:
                raise UserError(f"{path}: unknown column {unknown[0]!r}; known: {', '.join(columns)}, repeat")
            if len(set(names)) < len(names):
                raise UserError(f"{path}: a column stands twice: {', '.join(names)}")
            rows = [_row(path, reader.line_num, dict(row), columns, spec) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV text file: {error}") from error
    if not rows:
        raise UserError(f"{path} has no actions")
    lengths = [repeat for _, repeat in rows]
    if sum(lengths) > LONGEST:
        raise UserError(f"{path}: {sum(lengths)} frames are more than {LONGEST}")
    return np.repeat(np.stack([vector for vector, _ in rows]), lengths, axis=0)


def _row(
    path: Path, line: int, row: dict[str, str | None], columns: dict[str, int], spec: ActionSpec
) -> tuple[NDArray[np.float32], int]:
    vector, repeat = spec.noop(), 1
    if None in row:
        raise UserError(f"{path}, line {line}: more cells than columns")
    for name, cell in row.items():
        text = (cell or "").strip()
        try:
            value = float(text) if text else (1.0 if name == "repeat" else 0.0)
        except ValueError:
            raise UserError(f"{path}, line {line}: {name} must be a number, got {text!r}") from None
        if not math.isfinite(value):
            raise UserError(f"{path}, line {line}: {name} must be finite, got {text}")
        if name == "repeat":
            if value < 1 or value != int(value):
                raise UserError(f"{path}, line {line}: repeat must be a whole number from 1, got {text}")
            repeat = int(value)
        elif name in spec.keys and value not in (0.0, 1.0):
            raise UserError(f"{path}, line {line}: {name} must be 0 or 1, got {text}")
        else:
            vector[columns[name]] = value
    return vector, repeat
