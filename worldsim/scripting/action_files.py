"""Actions from files: a script (``.script``, or its text in place of a file name; see ``action_script``), or a CSV.

A CSV has a column per action and one row per video frame (or per ``repeat`` frames). Columns are the names of keys
(0 or 1), ``pitch`` and ``yaw`` (degrees per video frame; down and right are positive) and ``repeat`` (how many frames
the row lasts). Columns left out and empty cells are 0 (``repeat``: 1).

    forward,yaw,repeat
    1,0,20
    1,3,10
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.scripting.grammar import LONGEST_TEXT, parse_script
from worldsim.scripting.player import script_actions
from worldsim.scripting.syntax_tree import Script
from worldsim.scripting.tokens import ScriptError
from worldsim.spec.actions import ActionSpec
from worldsim.spec.text_files import csv_rows, read_text, table_number

LONGEST = 100_000


def read_actions(source: str | os.PathLike[str], spec: ActionSpec, *, fps: float = 20) -> NDArray[np.float32]:
    """Actions (F, A), one row per video frame.

    Args:
        source: path of a CSV or a script file, or the text of a script.
        spec: the game's actions.
        fps: frames a second, for scripts that count in seconds.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file or the script has a mistake; says where.
    """
    if is_script(source):
        try:
            return script_actions(read_script(source), spec, fps=fps)
        except ScriptError as error:
            raise ScriptError(error.where, error.reason, script_text(source)[1]) from None
    return _read_csv(Path(source), spec)


def read_script(source: str | os.PathLike[str]) -> Script:
    """Read a script from a ``.script`` file, or from the text itself.

    Raises:
        FileNotFoundError: there is no such file.
        ScriptError: it has a mistake; tells line and column.
        UserError: the file is no text.
    """
    text, name = script_text(source)
    return parse_script(text, name)


def script_text(source: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a script and the name of its file ("" for a text given as it is)."""
    if not str(source).endswith(".script"):
        return str(source), ""
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no such script: {path}")
    return read_text(path, LONGEST_TEXT), str(path)


def is_script(source: str | os.PathLike[str]) -> bool:
    """Whether this names a script file or is the text of a script, rather than the path of a CSV."""
    text = str(source)
    if text.endswith(".script"):
        return True
    try:
        return not (text.lower().endswith((".csv", ".txt", ".tsv")) or Path(text).is_file())
    except OSError:  # Longer than a file's name can be.
        return True


def branch_name(source: str | os.PathLike[str], longest: int = 24) -> str:
    """A short name for a branch: of its file, or the beginning of its script."""
    text = str(source)
    if text.endswith(".script") or not is_script(source):
        return Path(text).stem
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _read_csv(path: Path, spec: ActionSpec) -> NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file of actions: {path}")
    columns = {key: i for i, key in enumerate(spec.keys)}
    if spec.camera:
        columns |= {"pitch": spec.size - 2, "yaw": spec.size - 1}
    names, lines, comma = csv_rows(path)
    _check_names(path, names, columns)
    vectors: list[NDArray[np.float32]] = []
    lengths: list[int] = []
    for line, row in lines:
        vector, repeat = _row(f"{path}, line {line}", row, columns, spec, comma)
        vectors.append(vector)
        lengths.append(repeat)
        if len(lengths) > LONGEST:
            break
    if not vectors:
        raise UserError(f"{path} has no actions")
    if (frames := sum(lengths)) > LONGEST:
        raise UserError(f"{path}: {frames} frames are more than {LONGEST}")
    return np.repeat(np.stack(vectors), lengths, axis=0)


def _check_names(path: Path, names: Sequence[str], columns: Mapping[str, int]) -> None:
    if unknown := [name for name in names if name not in columns and name != "repeat"]:
        raise UserError(f"{path}: unknown column {unknown[0]!r}; known: {', '.join(columns)}, repeat")


def _row(
    where: str, row: Mapping[str, str], columns: Mapping[str, int], spec: ActionSpec, comma: bool
) -> tuple[NDArray[np.float32], int]:
    vector, repeat = spec.noop(), 1
    for name, cell in row.items():
        if name == "repeat" and not cell.strip():
            continue
        value = table_number(f"{where}: {name}", cell, decimal_comma=comma)
        if name == "repeat":
            if value < 1 or value != int(value):
                raise UserError(f"{where}: repeat must be a whole number from 1, got {cell.strip()}")
            repeat = int(value)
        elif name in spec.keys and value not in (0.0, 1.0):
            raise UserError(f"{where}: {name} must be 0 or 1, got {cell.strip()}")
        else:
            vector[columns[name]] = value
    return vector, repeat
