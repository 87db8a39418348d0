"""The wheel has everything: packages, the engine's files, configurations, assets, and the registration at start-up."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that no build folder is left in the checkout and none is taken from it.
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    if not tracked:
        pytest.skip("not a git checkout")
    source = folder / "source"
    for name in filter(None, tracked.split("\0")):
        if not (ROOT / name).exists():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (source / name).symlink_to((ROOT / name).readlink())
        else:
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        record = next(name for name in archive.namelist() if name.endswith("RECORD"))
        recorded = {line.split(",")[0] for line in archive.read(record).decode().splitlines()}
        assert recorded == set(archive.namelist())
        return recorded


@pytest.mark.parametrize("folder", ["worldsim", "datasets", "envs", "agents", "configs"])
def test_every_source_file_is_in_the_wheel(names: set[str], folder: str):
    prefix = "" if folder == "worldsim" else "worldsim/"
    tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in tracked.splitlines() if not (ROOT / name).is_symlink() and (ROOT / name).exists()]
    assert files and not {prefix + name for name in files} - names


def test_the_wheel_registers_environments_when_python_starts(names: set[str]):
    assert {"worldsim_autoload.pth", "_worldsim_autoload.py"} <= names


def test_the_wheel_holds_nothing_else(names: set[str]):
    strange = [
        n for n in names if not n.startswith(("worldsim/", "worldsim-", "worldsim_autoload", "_worldsim_autoload"))
    ]
    assert not strange
