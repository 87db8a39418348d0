"""What a LeRobot data set says of itself: its rate and features, episodes, tasks, licence, and where files lie.

Every path comes from the data set's own files: none may lead out of its folder, and patterns are filled in here, since
``str.format`` obeys whatever a pattern asks for.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.spec.damage import check_declared
from worldsim.spec.inside import inside
from worldsim.spec.text_files import json_lines, read_json, read_text, whole_number

INFO = "meta/info.json"
# Rows of one table.
MOST_ROWS = 5_000_000
# Bytes of a value in a column's memory, and of what is made of it here.
_VALUE_BYTES = 8

Row = Mapping[str, Any]
_PLACE = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


def read_info(source: Path) -> dict[str, Any]:
    """``meta/info.json``.

    Raises:
        UserError: it cannot be read, or lacks the features or the rate.
    """
    try:
        info = read_json(inside(source, source / INFO))
        if not isinstance(info["features"], dict) or not 0 < float(info["fps"]) < math.inf:
            raise ValueError("features or fps are missing")
        if not all(isinstance(feature, dict) and "dtype" in feature for feature in info["features"].values()):
            raise ValueError("a feature has no dtype")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{source / INFO} cannot be read: {error}") from error
    return info


def episode_rows(source: Path, version: str) -> list[dict[str, Any]]:
    """What is known of each episode, by its number; at least ``episode_index`` and ``length``.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    rows = _episodes_v3(source) if version.startswith("v3.") else _episodes_v2(source)
    for row in rows:
        if not all(isinstance(row.get(name), int) and row[name] >= 0 for name in ("episode_index", "length")):
            raise UserError(f"{source}/meta: an episode has no episode_index or length")
    return sorted(rows, key=lambda row: row["episode_index"])


def task_names(source: Path) -> dict[int, str]:
    """Tasks by ``task_index``: from ``meta/tasks.jsonl`` (version 2) or ``meta/tasks.parquet`` (version 3)."""
    lines, table = source / "meta/tasks.jsonl", source / "meta/tasks.parquet"
    if lines.is_file():
        rows: list[dict[str, Any]] = [row for _, row in json_lines(inside(source, lines))]
    elif table.is_file():
        rows = read_table(source, table).to_pylist()
    else:
        return {}
    # In version 3 the text is the index of a data frame: its column has any name.
    texts = [next((value for value in row.values() if isinstance(value, str)), "") for row in rows]
    where = f"{source}/meta: task_index"
    return {
        whole_number(where, row.get("task_index", i)): text
        for i, (row, text) in enumerate(zip(rows, texts, strict=True))
    }


def licence_of(source: Path) -> str:
    """The licence in the data set card's header, "" where there is none."""
    readme = source / "README.md"
    if not readme.is_file():
        return ""
    try:
        text = read_text(inside(source, readme))
    except UserError:
        return ""
    header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([^'\"\n]+)", header.group(1), re.MULTILINE) if header else None
    return found.group(1).strip() if found else ""


def data_path(source: Path, info: Row, row: Row, kind: str, camera: str = "") -> Path:
    """A file's path from the pattern in ``info.json``: by episode in version 2, by chunk and file in version 3.

    Raises:
        UserError: the pattern has unknown places, or leads out of the data set.
    """
    number, about = row["episode_index"], f"{source}/meta"
    size = whole_number(f"{source / INFO}: chunks_size", info.get("chunks_size", 1000))
    values: dict[str, int | str] = {
        "episode_index": number,
        "episode_chunk": number // max(1, size),
        "video_key": camera,
        "chunk_index": whole_number(f"{about}: chunk_index", row.get(f"{kind}/chunk_index", 0)),
        "file_index": whole_number(f"{about}: file_index", row.get(f"{kind}/file_index", 0)),
    }
    pattern = str(info.get("video_path" if camera else "data_path"))

    def fill(place: re.Match[str]) -> str:
        value = values.get(place[1])
        if value is None:
            raise UserError(f"{source / INFO}: unknown place {place[0]} in the path {pattern[:80]!r}")
        return f"{value:0{place[2]}d}" if place[2] and isinstance(value, int) else str(value)

    path = _PLACE.sub(fill, pattern)
    if "{" in path or "}" in path:
        raise UserError(f"{source / INFO}: the path {pattern[:80]!r} is not understood")
    return inside(source, source / path)


def data_tables(source: Path) -> Iterator[Path]:
    """Tables of the data set that are files of its own."""
    for path in sorted((source / "data").glob("*/*.parquet")):
        try:
            inside(source, path)
        except UserError:
            # Told when an episode asks for it.
            continue
        if path.is_file():
            yield path


def read_table(source: Path, path: Path, **options: Any) -> Any:
    """A parquet file of the data set as a pyarrow table.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no whole parquet file, has too many rows, or lies elsewhere.
    """
    if not inside(source, path).is_file():
        raise FileNotFoundError(f"{path} is missing")
    parquet = _parquet()
    try:
        about = parquet.read_metadata(path)
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} is not a whole parquet file: {error}") from error
    if about.num_rows > MOST_ROWS:
        raise ValueError(f"{path.name} declares {about.num_rows} rows, more than {MOST_ROWS}")
    # Run lengths make billions of equal values fit into a few bytes.
    check_declared(path.name, _VALUE_BYTES * values, path.stat().st_size, slack=2**22)
    try:
        return parquet.read_table(path, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} is not a whole parquet file: {error}") from error


def _episodes_v2(source: Path) -> list[dict[str, Any]]:
    path = source / "meta/episodes.jsonl"
    try:
        return [row for _, row in json_lines(inside(source, path))]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _episodes_v3(source: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted((source / "meta/episodes").glob("*/*.parquet")):
        try:
            names = _parquet().read_schema(inside(source, path)).names if path.is_file() else []
            columns = [name for name in names if not name.startswith("stats/")]
            rows += read_table(source, path, columns=columns).to_pylist()
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise UserError(f"{source}/meta/episodes holds no episodes")
    return rows


def _parquet() -> Any:
    return require("pyarrow.parquet", "reading parquet")
