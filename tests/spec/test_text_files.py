"""Texts, tables and JSON Lines: where lines and cells end, and what a number is."""

import json
import os
from pathlib import Path

import pytest

from tests.timing import little_work
from worldsim.errors import UserError
from worldsim.spec.inside import inside
from worldsim.spec.text_files import csv_rows, json_lines, read_text, table_number, whole_number

TABLE = "left,yaw\n1,0.5\n0,-2\n"
ROWS = [{"left": "1", "yaw": "0.5"}, {"left": "0", "yaw": "-2"}]


def rows_of(path: Path) -> list[dict[str, str]]:
    return [row for _, row in csv_rows(path)[1]]


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.encode("utf-16"),
        b"\xfe\xff" + TABLE.encode("utf-16-be"),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        TABLE.replace(",", ";").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", " , ").encode(),
        TABLE.replace("\n", ",\n").encode(),
        b"\n" + TABLE.replace("\n", "\n \n").encode() + b"\n\n",
        b'"left","yaw"\n"1","0.5"\n"0","-2"\n',
    ],
)
def test_a_table_is_the_same_however_it_was_saved(tmp_path: Path, content: bytes):
    (tmp_path / "a.csv").write_bytes(content)
    rows = [{name: cell.strip() for name, cell in row.items()} for row in rows_of(tmp_path / "a.csv")]
    assert rows == ROWS


def test_lines_of_a_table_are_counted_as_an_editor_counts(tmp_path: Path):
    (tmp_path / "a.csv").write_text('left,note\n\n1,"two\nlines"\n0,a\u2028b\n')
    assert list(csv_rows(tmp_path / "a.csv")[1]) == [
        (4, {"left": "1", "note": "two\nlines"}),
        (5, {"left": "0", "note": "a\u2028b"}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left,left\n", "different names"),
        (",left\n0,1\n", "column 1 has no name"),
        ("left;right,yaw\n", "commas and semicolons"),
        ("left\n1\n\n0\n", "line 3: blank"),
        ("left,yaw\n1,2,3\n", "line 2: more cells"),
        ("left;yaw\n1;2;3\n", "line 2: more cells"),
        (",".join(map(str, range(40_000))) + "\n", "40000 columns"),
    ],
)
def test_what_is_ambiguous_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "a.csv").write_text(text)
    with little_work(1), pytest.raises(UserError, match=message):
        rows_of(tmp_path / "a.csv")


def test_json_lines_are_cut_at_newlines_alone(tmp_path: Path):
    rows = [{"task": "a\u2028b\u2029c\u0085d"}, {"task": "\x0b \x1c"}, {}]
    text = "\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode() + b"\n\n", text.encode("utf-16")):
        (tmp_path / "a.jsonl").write_bytes(content)
        assert json_lines(tmp_path / "a.jsonl") == [(1, rows[0]), (3, rows[1]), (5, rows[2])]


def test_a_torn_line_is_left_out_only_at_the_end_and_if_asked(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": ')
    assert json_lines(tmp_path / "a.jsonl", torn=True) == [(1, {"a": 1})]
    with pytest.raises(UserError, match="line 2: not a JSON object"):
        json_lines(tmp_path / "a.jsonl")
    for text in ('{"a": \n{"a": 1}\n', "null\n{}\n", "[" * 100_000 + "\n{}\n"):
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(UserError, match="line 1: not a JSON object"):
            json_lines(tmp_path / "a.jsonl", torn=True)


@pytest.mark.parametrize(
    ("cell", "number"),
    [("", 0), (" 1 ", 1), ("true", 1), ("FALSE", 0), (True, 1), (None, 0), ("1e3", 1000), ("-.5", -0.5), (2, 2)],
)
def test_numbers(cell: object, number: float):
    assert table_number("a cell", cell) == number


def test_a_decimal_comma_is_one_where_no_thousands_can_be_meant():
    assert table_number("a", "0,125", decimal_comma=True) == 0.125
    assert table_number("a", "-12,5", decimal_comma=True) == -12.5
    with pytest.raises(UserError, match="thousands"):
        table_number("a", "1,250", decimal_comma=True)
    with pytest.raises(UserError, match="must be a number"):
        table_number("a", "0,5")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1e39", "float32"),
        (1e39, "float32"),
        ("1e400", "float32"),
        (10**400, "float32"),
        ("nan", "finite"),
        (float("inf"), "finite"),
        ("1_0", "must be a number"),
        ("\u0661", "must be a number"),
        ([1], "must be a number"),
    ],
)
def test_what_is_no_number_is_told(cell: object, message: str):
    with pytest.raises(UserError, match=message):
        table_number("a cell", cell)


def test_only_whole_files_of_text_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "away.csv"):
        with pytest.raises(FileNotFoundError, match=name):
            read_text(tmp_path / name)
    (tmp_path / "a.csv").write_bytes(b"vorw\xe4rts\n")
    with pytest.raises(UserError, match=r"a\.csv is not UTF-8 text \(byte 4\)"):
        read_text(tmp_path / "a.csv")


def test_what_lies_outside_is_not_read(tmp_path: Path):
    root, away = tmp_path / "root", tmp_path / "away.txt"
    (root / "sub").mkdir(parents=True)
    away.write_text("secret")
    (root / "in.txt").write_text("mine")
    (root / "sub/in.txt").symlink_to("../in.txt")
    (root / "out.txt").symlink_to(away)
    (root / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "alias").symlink_to(root)
    for path in ("in.txt", "sub/in.txt", "sub/../in.txt", "missing.txt"):
        assert inside(root, root / path) == root / path
        inside(tmp_path / "alias", tmp_path / "alias" / path)
    for path in (root / "../away.txt", root / "out.txt", away, root / "sub" / away):
        with pytest.raises(UserError, match="outside of"):
            inside(root, path)


def test_the_blobs_of_a_cached_snapshot_belong_to_it(tmp_path: Path):
    snapshot = tmp_path / "hub/datasets--a--b/snapshots/0f3a"
    blobs = tmp_path / "hub/datasets--a--b/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "c0ffee").write_text("mine")
    (tmp_path / "hub/token").write_text("secret")
    (snapshot / "info.json").symlink_to("../../blobs/c0ffee")
    (snapshot / "token").symlink_to("../../../token")
    inside(snapshot, snapshot / "info.json")
    with pytest.raises(UserError, match="outside of"):
        inside(snapshot, snapshot / "token")


@pytest.mark.parametrize(("value", "number"), [(3, 3), (-4, -4), (5.0, 5), ("7", 7), (" 08 ", 8), ("2.0", 2)])
def test_a_whole_number(value: object, number: int):
    assert whole_number("a count", value) == number


@pytest.mark.parametrize(
    "value",
    ["", None, True, [], {}, "x", "1e3", 0.5, float("nan"), float("inf"), "1_0", "\u0663", 10**40, "9" * 5000],
)
def test_what_is_no_whole_number(value: object):
    with pytest.raises(UserError, match=r"^a count must be a whole number, got "):
        whole_number("a count", value)
