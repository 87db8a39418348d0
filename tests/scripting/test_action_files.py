"""Files of actions: what a row means, and one clear line for every kind of mistake."""

from pathlib import Path

import numpy as np
import pytest

from worldsim.errors import UserError
from worldsim.scripting.action_files import branch_name, read_actions
from worldsim.spec.actions import MINECRAFT


def write(folder: Path, text: str) -> Path:
    (folder / "a.csv").write_text(text)
    return folder / "a.csv"


def test_rows_become_action_vectors(tmp_path: Path):
    actions = read_actions(write(tmp_path, "forward, yaw,repeat\n1,2.5,2\n,-1,\n"), MINECRAFT)
    expected = [MINECRAFT.vector({"forward": 1, "camera": (0, 2.5)})] * 2 + [MINECRAFT.vector({"camera": (0, -1)})]
    np.testing.assert_array_equal(actions, np.stack(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no actions"),
        ("forward\n", "no actions"),
        ("fly\n1\n", "unknown column 'fly'"),
        ("forward,forward\n1,1\n", "different names"),
        ("forward\n2\n", "line 2: forward must be 0 or 1"),
        ("yaw\nabc\n", "line 2: yaw must be a number"),
        ("yaw\n1\nnan\n", "line 3: yaw must be finite"),
        ("forward,repeat\n1,0.5\n", "repeat must be a whole number"),
        ("forward,repeat\n1,999999\n", "more than"),
        ("forward\n1,2\n", "more cells than columns"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        read_actions(write(tmp_path, text), MINECRAFT)


def test_missing_and_binary_files_are_told(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"b\.csv"):
        read_actions(tmp_path / "b.csv", MINECRAFT)
    (tmp_path / "c.csv").write_bytes(bytes(range(255)))
    with pytest.raises(UserError, match="not UTF-8"):
        read_actions(tmp_path / "c.csv", MINECRAFT)


def test_scripts_are_read_from_files_and_as_text(tmp_path: Path):
    (tmp_path / "walk.script").write_text("forward 2 # ahead\nyaw +10 x 0.1s\n")
    from_file = read_actions(tmp_path / "walk.script", MINECRAFT, fps=20)
    np.testing.assert_array_equal(from_file, read_actions("forward 2; yaw +5/frame x 2", MINECRAFT))
    assert from_file.shape == (4, MINECRAFT.size)
    assert branch_name(tmp_path / "walk.script") == "walk" and branch_name(tmp_path / "a.csv") == "a"
    assert branch_name("forward 2; " * 90) == "forward 2; forward 2;..."


def test_mistakes_in_scripts_are_told_with_file_line_and_column(tmp_path: Path):
    for text, message in [("forward\nfly 3", "line 2, column 1: unknown key"), ("yaw", "line 1, column 4: expected")]:
        (tmp_path / "walk.script").write_text(text)
        with pytest.raises(UserError, match=rf"walk\.script, {message}"):
            read_actions(tmp_path / "walk.script", MINECRAFT)
    with pytest.raises(FileNotFoundError, match="no such script"):
        read_actions(tmp_path / "run.script", MINECRAFT)
    (tmp_path / "b.script").write_bytes(bytes(range(255)))
    with pytest.raises(UserError, match="not UTF-8"):
        read_actions(tmp_path / "b.script", MINECRAFT)
