"""The wheel has everything: packages, the engine's files, configurations, assets; and nothing that runs by itself."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    return wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        record = next(name for name in archive.namelist() if name.endswith("RECORD"))
        recorded = {line.split(",")[0] for line in archive.read(record).decode().splitlines()}
        assert recorded == set(archive.namelist())
        return recorded


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["worldsim", "datasets", "envs", "agents", "configs"])
def test_every_source_file_is_in_the_wheel(names: set[str], folder: str):
    prefix = "" if folder == "worldsim" else "worldsim/"
    tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in tracked.splitlines() if not (ROOT / name).is_symlink() and (ROOT / name).exists()]
    assert files and not {prefix + name for name in files} - names


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(names: set[str]):
    """No ``.pth`` file or module beside the package: nothing of it runs before ``import worldsim``."""
    assert {name.split("/")[0] for name in names} == {"worldsim", "worldsim-0.1.0.dist-info"}
    assert not [name for name in names if name.endswith((".pth", ".pyc"))]


@pytest.mark.slow
def test_licences_are_told_for_all_that_the_wheel_holds(wheel: Path, names: set[str]):
    with zipfile.ZipFile(wheel) as archive:
        about = email.message_from_bytes(archive.read("worldsim-0.1.0.dist-info/METADATA"))
        beside = archive.read("worldsim/assets/NOTICE").decode()
    terms = set(about["License-Expression"].split(" AND "))
    assert terms == {"Apache-2.0", "CC-BY-SA-3.0", "LicenseRef-Atari-pictures"}
    files = about.get_all("License-File") or []
    assert {"LICENSE", "NOTICE", "worldsim/assets/NOTICE"} == set(files)
    assert {f"worldsim-0.1.0.dist-info/licenses/{file}" for file in files} <= names
    assert all(term in beside for term in terms)
    # Every folder of assets is spoken of.
    worlds = {name.split("/")[2] for name in names if name.startswith("worldsim/assets/") and name.count("/") > 2}
    assert worlds and all(f"{world}/starts/*.mp4" in beside for world in worlds)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raise RuntimeError", "def x(:", "import not_there"])
def test_gymnasium_does_not_notice_a_broken_worldsim(wheel: Path, tmp_path: Path, fault: str):
    site_packages = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            site_packages, [name for name in archive.namelist() if not name.startswith("worldsim/assets")]
        )
    (site_packages / "worldsim" / "envs" / "registration.py").write_text(fault)
    code = """
import importlib.util, site, sys
site.addsitedir(sys.argv[1])
sys.path.extend(sys.argv[2:])
assert importlib.util.find_spec("worldsim").origin.startswith(sys.argv[1])
import gymnasium
assert "worldsim" not in sys.modules and gymnasium.make("CartPole-v1").reset(seed=0)
assert not [name for name in gymnasium.registry if name.startswith("WorldSim")]
"""
    elsewhere = [path for path in sys.path if path and Path(path).resolve() != ROOT]
    command = [sys.executable, "-I", "-S", "-c", code, str(site_packages), *elsewhere]
    subprocess.run(command, cwd=tmp_path, check=True)
