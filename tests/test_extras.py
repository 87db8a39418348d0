"""Extras: the table is that of the package, and a missing package is one line that says what to install."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.datasets.importers.test_lerobot import write_v2
from worldsim import cli
from worldsim.errors import UserError
from worldsim.extras import EXTRAS, MissingPackage, missing_line, missing_packages, require

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_is_that_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[<>=!~ ]", one)[0] for one in wanted} for extra, wanted in declared.items()}
    assert names == {name: set(extra.packages.values()) for name, extra in EXTRAS.items()}


def test_modules_of_installed_packages_are_named_right():
    # Whoever runs this has the extra of the tests.
    assert not missing_packages(EXTRAS["test"])
    for extra in EXTRAS.values():
        for module in extra.packages.keys() & EXTRAS["test"].packages.keys():
            assert require(module, "a test") is sys.modules[module]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(MissingPackage) as caught:
        require("pyarrow.parquet", "reading parquet")
    assert str(caught.value) == "reading parquet needs the package pyarrow: pip install 'worldsim[import]'"
    assert isinstance(caught.value, UserError) and isinstance(caught.value, ModuleNotFoundError)


def test_an_installed_package_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "minari.py").write_text("import cut_short\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "minari", raising=False)
    with pytest.raises(UserError, match=r"needs the package minari \(No module named 'cut_short'\): pip install"):
        require("minari", "reading this")


def test_what_belongs_to_no_extra_is_left_alone():
    assert missing_line(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    line = missing_line(ModuleNotFoundError("No module named 'ray.train'", name="ray.train"))
    assert line == "this needs the package ray: pip install 'worldsim[ray]'"


GYM = ["collect", "source=gym", "episodes=1", "workers=0", "--out", "store"]


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["agent", "eval", "policy=noop"], "stable_baselines3", "rl"),
        (["agent", "watch", "policy=noop"], "stable_baselines3", "rl"),
        (["agent", "train"], "stable_baselines3", "rl"),
        ([*GYM, "env=ALE/Pong-v5"], "ale_py", "atari"),
        (["collect", "source=minerl", "--out", "store"], "gym", "minerl"),
        (["collect", "source=minerl", "--out", "store"], "minerl", "minerl"),
        (["play", "--serve"], "aiohttp", "serve"),
        (["data", "list", "data=memory://nothing"], "fsspec", "remote"),
        (["data", "import", "lerobot", "--out", "store"], "pyarrow", "import"),
    ],
)
def test_a_command_says_in_one_line_what_it_lacks(
    words: list[str],
    package: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    if extra == "import":
        # Written by the very package that is missing when it is read.
        write_v2(tmp_path / "lerobot")
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    # Present, whatever is installed here, where something else of the extra is to be missing.
    if package == "minerl":
        monkeypatch.setitem(sys.modules, "gym", sys)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    [line] = [line for line in error.splitlines() if "needs the package" in line]
    assert f"pip install 'worldsim[{extra}]'" in line and "Traceback" not in error


def test_help_of_a_command_needs_no_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in [name for name in sys.modules if name.startswith(("stable_baselines3", "worldsim.agents.rl"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "worldsim.cli.agent.train", raising=False)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert cli.main(["agent", "train", "--help"]) == 0
    assert "training.rollout" in capsys.readouterr().out


@pytest.mark.slow
def test_the_doctor_lists_every_extra_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "h5py" else find(name, *rest))
    assert cli.main(["doctor"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("play: ready")
    about = {name: next(line for line in lines if line.startswith(f"extra {name}: ")) for name in EXTRAS}
    assert about["import"].startswith("extra import: missing h5py: pip install 'worldsim[import]'")
    assert about["rl"].startswith("extra rl: ready (stable-baselines3 ")


@pytest.mark.parametrize(
    ("missing", "first"),
    [("av", "play: not ready: av not installed; pip install . in the repository"), (None, "play: not ready: no world")],
)
def test_the_doctor_begins_with_why_one_cannot_play(
    missing: str | None, first: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import importlib.util

    import worldsim

    def load() -> None:
        raise FileNotFoundError("no world")

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    monkeypatch.setattr(worldsim, "load", load)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == first
