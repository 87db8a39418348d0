"""What pyproject.toml claims about versions: each requirement has a lowest one, and the tested versions are within."""

import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MINIMUMS = runpy.run_path(str(ROOT / ".ci" / "minimums.py"))
EXTRAS = [name for name in PROJECT["optional-dependencies"] if name != "test"]


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(one) for one in (*PROJECT["dependencies"], *(one for extra in extras for one in extra))]


def test_every_requirement_has_a_lowest_version_that_it_allows(capsys: pytest.CaptureFixture[str]):
    MINIMUMS["main"](EXTRAS)
    lines = capsys.readouterr().out.split()
    lowest = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert lowest["numpy"] == "2.2" and lowest["stable-baselines3"] == "2.6" and lowest["gym"] == "0.17.3"  # pyright: ignore
    for one in requirements():
        name = canonicalize_name(one.name)
        if name in lowest:
            assert Version(lowest[name]) in one.specifier, one
    with pytest.raises(ValueError, match="'torch<3' has no lowest version"):
        MINIMUMS["minimum"]("torch<3")


def test_the_versions_that_are_tested_are_within_what_is_claimed():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    versions = {canonicalize_name(name): Version(version) for name, version in pinned.items()}
    # MineRL and classic Gym are in an environment of their own (make test-minerl); transformers is not in the tests.
    unpinned = {"minerl", "gym", "transformers", "tokenizers"}
    assert {canonicalize_name(one.name) for one in requirements()} - versions.keys() == unpinned
    for one in requirements():
        if canonicalize_name(one.name) in versions:
            assert versions[canonicalize_name(one.name)] in one.specifier, one
