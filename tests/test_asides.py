"""What killed processes left beside their files is removed by the next writer; all else stays."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from worldsim.asides import SCRATCH, abandoned, aside_of, scratch_folder, whole_file, write_whole, writer
from worldsim.datasets.loading.latent_cache import ARRAYS, write_cache
from worldsim.datasets.recording.recorder import Recorder
from worldsim.datasets.store.folder import LocalFolder
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import VideoWriter
from worldsim.models.checkpoint import save_tensors

KILLED = "import os, sys\n{code}\nos.kill(os.getpid(), 9)\n"


def killed(code: str, folder: Path) -> None:
    """Run code in a process that is killed right after it."""
    ended = subprocess.run([sys.executable, "-c", KILLED.format(code=code)], cwd=folder, check=False)
    assert ended.returncode == -9


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is no more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def write_weights(folder: Path) -> None:
    save_tensors(folder / "state.safetensors", {"x": torch.zeros(3)})


def write_film(folder: Path) -> None:
    with VideoWriter(folder / "watch.mp4") as video:
        video.append(np.zeros((16, 16, 3), np.uint8))


def write_index(folder: Path) -> None:
    LocalFolder(folder).replace("index.npz", b"whole")


def write_latents(folder: Path) -> None:
    write_cache(folder / "cache", [{name: np.zeros((2, 1), np.float16) for name in ARRAYS}], {}, None)


@pytest.mark.parametrize(
    ("name", "suffix", "write"),
    [
        ("state.safetensors", ".tmp", write_weights),
        ("watch.mp4", ".mp4", write_film),
        ("index.npz", ".tmp", write_index),
        ("cache", "", write_latents),
    ],
)
def test_a_killed_writers_file_is_removed_by_the_next_one(name: str, suffix: str, write, tmp_path: Path, dead: int):
    host = writer().rpartition("-")[0]
    left = [f".{name}.{host}-{dead}.0123abcd{suffix}", f".{name}.{dead}{suffix}"]
    kept = [f".{name}.{host}-1.0123abcd{suffix}", f".{name}.elsewhere-{dead}.0123abcd{suffix}", f".other.{dead}.tmp"]
    for one in left + kept:
        if name == "cache":
            (tmp_path / one).mkdir()
            (tmp_path / one / "latents.raw").write_bytes(b"half")
        else:
            (tmp_path / one).write_bytes(b"half")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name, *kept}


def test_a_writer_that_is_killed_leaves_one_file_and_the_next_none(tmp_path: Path):
    code = (
        "from pathlib import Path\nfrom worldsim.asides import aside_of\naside_of(Path('w.bin')).write_bytes(b'half')"
    )
    killed(code, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    mine = aside_of(tmp_path / "w.bin")
    assert not list(tmp_path.iterdir())
    mine.write_bytes(b"being written")
    # This process is alive: another writer of the file leaves alone what is being written.
    other = aside_of(tmp_path / "w.bin")
    assert other != mine and mine.read_bytes() == b"being written"


def test_scratch_of_killed_processes_is_removed(tmp_path: Path):
    code = "from worldsim.asides import scratch_folder\nscratch = scratch_folder('.')\nscratch.__enter__()"
    killed(code, tmp_path)
    [left] = tmp_path.iterdir()
    assert left.name.startswith(SCRATCH)
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as two:
        assert {path.name for path in tmp_path.iterdir()} == {one.name, two.name} and not left.exists()
    assert not list(tmp_path.iterdir())


def test_who_is_gone(dead: int):
    host = writer().rpartition("-")[0]
    assert abandoned(str(dead)) and abandoned(f"{host}-{dead}")
    assert not any(map(abandoned, (writer(), str(os.getpid()), f"elsewhere-{dead}", "somebody", "", f"{host}-")))


def test_whoever_writes_into_a_store_removes_what_killed_writers_left(tmp_path: Path, dead: int):
    host = writer().rpartition("-")[0]
    mine, others = tmp_path / "unfinished" / f"a.{host}-{dead}.0123abcd", f"b.elsewhere-{dead}.0123abcd"
    mine.mkdir(parents=True)
    (mine / "half").write_bytes(b"half")
    (tmp_path / "unfinished" / others).mkdir()
    with Recorder(tmp_path, ("left",), fps=10, source="test") as recorder:
        for number in range(3):
            recorder.add(np.full((16, 16, 3), number, np.uint8), [0])
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == [others]
    assert len(EpisodeStore(tmp_path)) == 1


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "new/a.json"
    assert write_whole(path, "ä\n") == path and path.read_bytes() == "ä\n".encode()
    write_whole(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    with pytest.raises(KeyError), whole_file(path, ".json") as aside:
        assert aside.suffix == ".json" and aside.parent == path.parent
        aside.write_text("half")
        raise KeyError
    assert path.read_bytes() == b"\0\1" and list(path.parent.iterdir()) == [path]
