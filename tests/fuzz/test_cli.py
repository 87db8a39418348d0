"""The command line with any words: what it says fits into a line, the exit code is 2, and no traceback is seen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.datasets.store.test_store import make_episode
from tests.fuzz.bounds import DOCUMENTED, check_message, fuzzed, in_time
from worldsim import cli
from worldsim.cli.command import SettingsCommand
from worldsim.cli.table import COMMANDS
from worldsim.datasets.store.store import EpisodeStore

VALUES = (
    "", "1", "0", "-1", "1e400", "nan", "true", "null", "[", "[1,2", "{a:1}", "a b", "'", '"', "\\", "${x}", "$HOME",
    "???", "data", "../..", "\u2028", "\ud800", "x" * 5000, "9" * 5000, "é", "=", "a=b", "%s", "{}", "*", "1_0", "0x1",
    "train", "[null]", "minecraft", "a:b", "1e5", ".5", "+3",
)  # fmt: skip
FLAGS = (
    "--help",
    "--traceback",
    "--data",
    "--seed",
    "--no-data",
    "--",
    "-",
    "-x",
    "--=",
    "--out",
    "--seed=3",
    "+seed=1",
)
KEYS = (
    "data", "seed", "folder", "out", "world", "training.steps", "training.optimizer.rate", "preset.seed", "threads",
    "model", "episodes", "split", "fps", "resize", "policy", "no_such", "task", "env_kwargs", "9", "a.b.c",
)  # fmt: skip

words = st.lists(
    st.sampled_from(VALUES) | st.sampled_from(FLAGS)
    | st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES))
    | st.builds("--{} {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    max_size=5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings are read and checked as always; what the command does with them is left out."""
    load = SettingsCommand.load
    monkeypatch.setattr(SettingsCommand, "load", lambda self: (lambda settings: 0, load(self)[1]))
    monkeypatch.chdir(tmp_path)
    yield


def said(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capfd.readouterr()
    with in_time():
        try:
            code = cli.main(arguments)
        except DOCUMENTED as error:
            # Raised on where it was asked for: such an error and no other.
            assert "--traceback" in arguments
            check_message(error)
            code = 2
    return code, capfd.readouterr().err


@fuzzed(st.tuples(st.sampled_from([*COMMANDS, "", "help", "nope", "train"]), words), 2500)
def test_any_words_are_settings_or_one_line(drawn: tuple[str, list[str]], capfd: pytest.CaptureFixture[str]):
    command, rest = drawn
    code, error = said([*command.split(), *rest], capfd)
    lines = [line for line in error.splitlines() if line.strip() and "warning:" not in line]
    assert code in (0, 2), (code, error)
    assert "Traceback" not in error or "--traceback" in rest
    if code == 2 and lines and not lines[0].startswith(("Usage", "usage")) and "--traceback" not in rest:
        assert len(lines) == 1 and lines[0].startswith("worldsim: ") and len(lines[0]) > 12, error


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "store"
    EpisodeStore(folder).append(make_episode(6), "e0")
    return folder


READERS = ("data summary", "data list", "data verify", "data card", "data check", "data index", "data sheet")


@fuzzed(st.tuples(st.sampled_from(READERS), st.integers(0, 10**6), st.data()), 400)
def test_commands_that_read_a_damaged_store(drawn: Any, store: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch):
    from tests.fuzz.damage import damaged

    command, number, data = drawn
    monkeypatch.undo()
    folder = store.with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[number % len(files)]
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    out = [f"--out={folder}/out.png"] if command.endswith(("sheet", "card")) else []
    run = [f"folder={folder.with_name('run')}"] if command.endswith("check") else []
    code, error = said([*command.split(), f"data={folder}", *out, *run], capfd)
    assert code in (0, 1, 2) and "Traceback" not in error, error
