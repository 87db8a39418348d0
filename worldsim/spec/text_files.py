"""Texts, tables and JSON Lines from anybody's programs: the one reader of all of them.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one. Lines end at newlines and nowhere else (U+2028,
U+2029 and U+0085 stay inside strings); blank lines are left out. Cells of a CSV are parted by commas, or, where its
header has none, by semicolons or tabs; with these a comma in a number is a decimal one.
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldsim.errors import UserError

MOST_BYTES = 256 * 2**20
MOST_COLUMNS = 4096
MOST_LINES = 1_000_000
# The largest number that float32 holds.
LARGEST = 3.4028234663852886e38
# Digits alone: ``float`` also takes underscores, and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_WORDS = {"": 0.0, "true": 1.0, "false": 0.0}


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A text file of at most so many bytes, without its byte order mark.

    Raises:
        FileNotFoundError: there is no such file (a named pipe or a folder is none).
        UserError: it is neither UTF-8 nor marked UTF-16, or too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if (size := path.stat().st_size) > most:
        raise UserError(f"{path.name} has {size} bytes, more than {most}")
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not {'UTF-16' if wide else 'UTF-8'} text (byte {error.start})") from error


def text_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank with their numbers, counted from 1."""
    number, begin = 0, 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        number, line, begin = number + 1, text[begin:end], end + 1
        if line.strip():
            yield number, line.rstrip("\r")


def parse_json(text: str | bytes) -> Any:
    """A JSON value; text nested too deeply is no JSON either.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no JSON.
    """
    try:
        return parse_json(read_text(path))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}") from error


def json_lines(path: Path, *, most: int = MOST_LINES, torn: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with the numbers of their lines.

    Args:
        path: of the file.
        most: objects that there may be.
        torn: leave out a last line that is no object, as a killed writer leaves one.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no text, has too many lines, or a line is no JSON object; says which.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    lines = text_lines(read_text(path))
    for number, line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            if torn and rows and next(lines, None) is None:
                break
            raise UserError(f"{path.name}, line {number}: not a JSON object")
        if len(rows) == most:
            raise UserError(f"{path.name} has more than {most} lines")
        rows.append((number, row))
    return rows


def csv_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]], bool]:
    """Names of a CSV's columns; its rows, cells by name, with the numbers of their lines; whether commas are decimal.

    A cell that a row lacks is "".

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no text, columns have no or equal names, or a row has too many cells; says in which line.
    """
    text = read_text(path)
    head = next((line for _, line in text_lines(text)), "")
    bare = re.sub(r'"[^"]*"', "", head)
    found = [mark for mark in ",;\t" if mark in bare]
    if {",", ";"} <= set(found):
        raise UserError(f"{path.name}: its header has commas and semicolons: quote names that hold one")
    delimiter = found[0] if found else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        first = next((row for row in reader if any(cell.strip() for cell in row)), [])
    except csv.Error as error:
        raise UserError(f"{path.name} is not a CSV text file: {error}") from error
    names = [name.strip() for name in first]
    # A separator at the end of each line makes a last column of nothing.
    while names and not names[-1]:
        names.pop()
    if len(names) > MOST_COLUMNS:
        raise UserError(f"{path.name} has {len(names)} columns, more than {MOST_COLUMNS}")
    if "" in names:
        raise UserError(f"{path.name}: column {names.index('') + 1} has no name")
    if len(set(names)) < len(names):
        raise UserError(f"{path.name}: columns need different names, got {', '.join(names)}")
    return names, _cells(path, reader, names), delimiter != ","


def _cells(path: Path, reader: Any, names: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    blank = 0
    try:
        for cells in reader:
            if not "".join(cells).strip() and len(cells) < 2:
                blank = blank or reader.line_num
                continue
            if blank and len(names) == 1:
                raise UserError(f"{path.name}, line {blank}: blank; in a table of one column write 0 for nothing")
            if any(cell.strip() for cell in cells[len(names) :]):
                raise UserError(f"{path.name}, line {reader.line_num}: more cells than columns")
            cells += [""] * (len(names) - len(cells))
            yield reader.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise UserError(f"{path.name} is not a CSV text file: {error}") from error


def table_number(where: str, value: Any, *, decimal_comma: bool = False) -> float:
    """The number in a cell: of text, or of JSON; nothing is 0, true is 1, false is 0.

    Args:
        where: the cell, for messages.
        value: of the cell.
        decimal_comma: whether "1,5" is one and a half.

    Raises:
        UserError: it is no number, not finite, or beyond float32.
    """
    text = str(value if value is not None else "").strip()
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    plain = text
    if decimal_comma and (found := re.fullmatch(r"([+-]?)(\d+),(\d+)", text)):
        if len(found[3]) == 3 and found[2].strip("0"):
            raise UserError(f"{where}: {text} may mean thousands or thousandths: write a decimal point")
        plain = text.replace(",", ".")
    if isinstance(value, dict | list) or not _NUMBER.fullmatch(plain):
        raise UserError(f"{where} must be a number, got {text[:60]!r}")
    number = float(plain)
    if math.isnan(number) or plain.strip("+-").lower().startswith("inf"):
        raise UserError(f"{where} must be finite, got {text}")
    if abs(number) > LARGEST:
        raise UserError(f"{where} is beyond what float32 holds: {text[:60]}")
    return number


def whole_number(where: str, value: Any) -> int:
    """A count or an index of a table or a JSON file: 3, 3.0 or "3".

    Args:
        where: it stands, for messages.
        value: as it was read.

    Raises:
        UserError: it is no whole number of at most 18 digits.
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    if not re.fullmatch(r"[+-]?\d{1,18}(\.0*)?", text, re.ASCII):
        raise UserError(f"{where} must be a whole number, got {str(value)[:60]!r}")
    return int(text.partition(".")[0])
