"""Tables and files of actions with damage and of any text: finite numbers by name, or a mistake that names the file."""

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.bounds import fuzzed, outcome
from tests.fuzz.damage import altered, damaged
from worldsim.datasets.importers.table import read_rows
from worldsim.scripting.action_files import read_actions
from worldsim.spec.actions import MINECRAFT

CSV = 'frame,forward,pitch,yaw,reward,"state.x"\n' + "".join(f"{t},{t % 2},0.5,-1e1,.1,{t}\n" for t in range(6))
PLAY = "forward,yaw,repeat\n1,0,20\n,-3.5,10\n0,1e2,\n"
ROWS = [{"frame": t, "forward": t % 2, "yaw": 1.5, "state.x": None, "jump": True} for t in range(5)]

CELLS = (
    "", "0", "1", "-1", "1,5", "1.5", "1e39", "nan", "inf", "1_0", "true", "yes", '"', '"a\nb"', "9" * 5000, "\u0661",
    "\0", "0x1", "1e-400", "-0",
)  # fmt: skip
NAMES = ("forward", "yaw", "frame", "time", "reward", "Reward", "state.x", "axis.a", "", " ", "repeat", "ü", "a b")


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table of odd names and cells, in any form in which programs save one."""
    comma, end = draw(st.sampled_from((",", ";", "\t", ", "))), draw(st.sampled_from(("\n", "\r\n", "\r", "\n\n")))
    rows = [draw(st.lists(st.sampled_from(NAMES), max_size=5))]
    rows += draw(st.lists(st.lists(st.sampled_from(CELLS), max_size=5), max_size=4))
    text = end.join(comma.join(row) for row in rows) + draw(st.sampled_from(("", end)))
    return text.encode(draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16"))))


csvs = tables() | damaged(CSV.encode()) | damaged(PLAY.encode())
lines = damaged("\n".join(map(json.dumps, ROWS)).encode()) | altered(ROWS).map(
    lambda rows: "\n".join(map(json.dumps, rows if isinstance(rows, list) else [rows])).encode()
)


@fuzzed(csvs, 2500)
def test_any_csv_is_numbers_or_a_mistake(drawn: bytes, tmp_path_factory):
    path = place(tmp_path_factory, "a.csv", drawn)
    rows = outcome(lambda: read_rows(path))
    if isinstance(rows, Exception):
        assert "a.csv" in str(rows)
    else:
        assert all(np.isfinite(np.float32(value)) for row in rows for value in row.values())
    actions = outcome(lambda: read_actions(path, MINECRAFT))
    if isinstance(actions, Exception):
        assert "a.csv" in str(actions)
    else:
        assert len(actions) <= 100_000 and np.isfinite(actions).all()
        assert set(np.unique(actions[:, :-2])) <= {0, 1}


@fuzzed(lines, 1500)
def test_any_json_lines_are_numbers_or_a_mistake(drawn: bytes, tmp_path_factory):
    path = place(tmp_path_factory, "a.jsonl", drawn)
    rows = outcome(lambda: read_rows(path))
    if isinstance(rows, Exception):
        assert "a.jsonl" in str(rows)
    else:
        assert all(np.isfinite(np.float32(value)) for row in rows for value in row.values())


def place(factory, name: str, content: bytes) -> Path:
    path = factory.getbasetemp() / name
    path.write_bytes(content)
    return path
