"""Tree files: both forms say the same, lengths add up, and a mistake is told with its line and column."""

import time
from pathlib import Path

import numpy as np
import pytest

from worldsim.envs.rollouts.tree_files import read_tree
from worldsim.errors import UserError
from worldsim.simulation.branch_tree import Node
from worldsim.spec.actions import MINECRAFT

TEXT = """\
# Walk, then decide.
straight: forward 20
  left: yaw -90 x 10   # to the left
    forward 20
    back 20
  policy walk 40
  turn.csv
wait 1s; jump 2
"""
YAML = """\
- play: forward 20
  name: straight
  branches:
    - name: left
      play: |
        yaw -90 x 10
      branches: [forward 20, "back 20"]
    - policy walk 2s
    - turn.csv
- wait 1s; jump 2
"""
JSON = """\
[{"play": "straight: forward 20", "branches": [
   {"name": "left", "play": "yaw -90 x 10", "branches": ["forward 20", "back 20"]}, "policy walk 40", "turn.csv"]},
 "wait 1s; jump 2"]
"""


class Nobody:
    def choose(self, state, frame, count):
        raise AssertionError


def players(name: str):
    if name != "walk":
        raise UserError(f"unknown policy {name!r}")
    return Nobody


def read(folder: Path, text: str, name: str = "a.tree") -> tuple[Node, ...]:
    (folder / name).write_text(text)
    (folder / "turn.csv").write_text("yaw,repeat\n3,4\n")
    return read_tree(folder / name, MINECRAFT, fps=20, players=players)


def outline(nodes: tuple[Node, ...]) -> list:
    return [
        (n.name, n.frames if n.actions is None else n.actions.tolist(), n.player is not None, outline(n.branches))
        for n in nodes
    ]


def test_the_forms_say_the_same(tmp_path: Path):
    text, yaml, json = (
        outline(read(tmp_path, content, name))
        for content, name in [(TEXT, "a.tree"), (YAML, "a.yaml"), (JSON, "a.json")]
    )
    assert text == yaml == json


def test_what_a_tree_says(tmp_path: Path):
    straight, wait = read(tmp_path, TEXT)
    left, walk, turn = straight.branches
    assert [n.name for n in (straight, wait, left, walk, turn)] == [
        "straight",
        "wait 1s; jump 2",
        "left",
        "walk",
        "turn",
    ]
    assert [b.name for b in left.branches] == ["forward 20", "back 20"]
    assert straight.actions is not None and left.actions is not None and turn.actions is not None
    assert len(straight.actions) == 20 and left.actions[:, -1].tolist() == [-9.0] * 10
    assert walk.player is not None and walk.frames == 40 and isinstance(walk.player(), Nobody)
    assert turn.actions[:, -1].tolist() == [3.0] * 4 and wait.actions is not None and len(wait.actions) == 22
    np.testing.assert_array_equal(straight.actions[0], MINECRAFT.vector({"forward": 1}))


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("forward 20\n  left: fly 3\n", (2, 9), "unknown key 'fly'"),
        ("forward 20\n  forward 3; yaw + x 2\n", (2, 18), "unexpected|expected degrees"),
        ("forward 20\n    back 2\n  left 2\n", (3, 3), "stands deeper or less deep"),
        ("  forward 20\nback 2\n", (2, 1), "stands deeper or less deep"),
        ("forward 20\n\tback 2\n", (2, 1), "not tabs"),
        ("forward 20\n  turn:\n", (2, 8), "nothing to play"),
        ("forward 20\n  policy walk\n", (2, 3), "policy NAME FRAMES"),
        ("forward 20\n  policy walk 1.5\n", (2, 3), "whole number of frames"),
        ("forward 20\n  policy run 10\n", (2, 3), "unknown policy 'run'"),
        ("# nothing\n\n", (1, 1), "no branches"),
    ],
)
def test_mistakes_in_text_are_told_with_their_place(tmp_path: Path, text: str, place: tuple[int, int], reason: str):
    with pytest.raises(UserError, match=rf"a\.tree, line {place[0]}, column {place[1]}: .*({reason})"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("- forward 20\n- play: back 2\n  branches:\n    - fly 2\n", (4, 7), "unknown key 'fly'"),
        ("- forward 20\n- 'go: back 2; fly 2'\n", (2, 16), "unknown key 'fly'"),
        ("- play: |\n    forward 2\n    fly 3\n", (3, 5), "unknown key 'fly'"),
        ("- play: forward 20\n  branch: [back 2]\n", (2, 3), "'branch' is unknown"),
        ("- play: forward 20\n  play: back 2\n", (2, 3), "'play' stands twice"),
        ("- name: a\n", (1, 3), "play is missing"),
        ("- play: [forward 2]\n", (1, 9), "must be text"),
        ("- play: forward 2\n  branches: back 2\n", (2, 13), "expected a list"),
        ("forward 20\n", (1, 1), "expected a list"),
        ("- [forward 2]\n", (1, 3), "expected a script"),
        ("- forward 2\n- {\n", (3, 1), ""),
        ("- ''\n", (1, 3), "nothing to play"),
        ("", (1, 1), "no branches"),
    ],
)
def test_mistakes_in_yaml_are_told_with_their_place(tmp_path: Path, text: str, place: tuple[int, int], reason: str):
    with pytest.raises(UserError, match=rf"a\.yaml, line {place[0]}, column {place[1]}: .*{reason}"):
        read(tmp_path, text, "a.yaml")


def test_files_that_are_not_there_or_wrong(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such tree"):
        read_tree(tmp_path / "b.tree", MINECRAFT, fps=20, players=players)
    with pytest.raises(FileNotFoundError, match=r"away\.csv"):
        read(tmp_path, "forward 2\n  away.csv\n")
    (tmp_path / "bad.script").write_text("forward 2\nfly 2\n")
    with pytest.raises(UserError, match=r"bad\.script, line 2, column 1: unknown key"):
        read(tmp_path, "forward 2\n  bad.script\n")
    (tmp_path / "c.tree").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"not UTF-\d+ text"):
        read_tree(tmp_path / "c.tree", MINECRAFT, fps=20, players=players)


def no_player(name: str):
    raise AssertionError(f"no player {name} is asked for")


@pytest.mark.parametrize("text", ["../away.csv", "{tmp}/away.csv", "link.csv"])
def test_a_tree_reads_nothing_outside_of_its_folder(tmp_path: Path, text: str):
    (tmp_path / "in").mkdir()
    (tmp_path / "away.csv").write_text("forward\n1\n")
    (tmp_path / "in/link.csv").symlink_to(tmp_path / "away.csv")
    (tmp_path / "in/a.tree").write_text(text.replace("{tmp}", str(tmp_path)) + "\n")
    with pytest.raises(UserError, match="outside of"):
        read_tree(tmp_path / "in/a.tree", MINECRAFT, fps=20, players=no_player)


def test_a_script_in_a_tree_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forward 2").write_text("back\n1\n")
    (tmp_path / "a.tree").write_text("forward 2\n")
    [node] = read_tree(tmp_path / "a.tree", MINECRAFT, fps=20, players=no_player)
    assert node.actions is not None and node.actions[:, MINECRAFT.keys.index("forward")].tolist() == [1, 1]


def test_trees_that_grow_by_aliases_are_refused_at_once(tmp_path: Path):
    lines = ["- &a0 {play: forward 1}"]
    lines += [f"- &a{i} {{play: forward 1, branches: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 30)]
    begun = time.process_time()
    for text, message in (("\n".join(lines), "at most"), ("[" * 5_000, "nested too deeply")):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(UserError, match=message):
            read_tree(tmp_path / "a.yaml", MINECRAFT, fps=20, players=no_player)
    assert time.process_time() - begun < 5
    (tmp_path / "a.yaml").write_text("- &walk forward 2\n- play: jump 1\n  branches: [*walk]\n")
    assert [node.name for node in read_tree(tmp_path / "a.yaml", MINECRAFT, fps=20, players=no_player)] == [
        "forward 2",
        "jump 1",
    ]
