"""``worldsim data import``: exit codes and settings."""

import re
from pathlib import Path

import pytest

from tests.datasets.importers import test_table as test_import_table
from tests.import_film import film, random_actions, write_film
from worldsim import cli
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore
from worldsim.plotting.pictures import write_picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_importing_again_skips_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_film(folder / "in/a.mp4", random_actions(20))
    words = ["data", "import", "in", "--out", "store", "resize=32x16", "fps=5"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "1 episodes, 5 frames" in out and "licence is unknown" in out
    assert cli.main(words) == 0
    assert "1 were there already" in capsys.readouterr().out
    [name] = EpisodeStore("store").names()
    episode = EpisodeStore("store").read(name)
    assert episode.frames.shape == (5, 16, 32, 3) and episode.provenance["native_fps"] == 20


def test_a_broken_recording_among_many_is_named_and_the_exit_code_is_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("a", "b", "c"):
        write_film(folder / f"in/{name}.mp4", random_actions(8))
    content = (folder / "in/b.mp4").read_bytes()
    (folder / "in/b.mp4").write_bytes(content[: len(content) // 2])
    assert cli.main(["data", "import", "in", "--out", "store", "licence=CC BY-SA 3.0, adapted"]) == 1
    captured = capsys.readouterr()
    assert EpisodeStore("store").names() == ["a", "c"]
    assert EpisodeStore("store").read("a").provenance["licence"] == "CC BY-SA 3.0, adapted"
    assert re.search(r"left out in/b\.mp4: .*not a whole video", captured.err) and "1 left out" in captured.out


def test_pictures_take_the_actions_of_the_store_or_of_keys(folder: Path):
    test_import_table.write_recording(folder, "a", test_import_table.actions_of(8))
    write_film(folder / "in/b.mp4", random_actions(8), fps=30)
    (folder / "one").mkdir()
    write_picture(folder / "one/c.png", film(random_actions(2))[1])
    assert cli.main(["data", "import", "a.mp4", "--out", "store"]) == 0
    assert cli.main(["data", "import", "in", "--out", "store"]) == 0
    assert cli.main(["data", "import", "one", "--out", "store"]) == 0
    # One form of all three: they can be trained on together.
    form = recording_format(EpisodeStore("store"))
    assert form.spec.keys == test_import_table.KEYS and form.spec.camera and form.fps == 30
    assert cli.main(["data", "import", "in", "--out", "other", "keys=up,down,pitch,yaw"]) == 0
    spec = recording_format(EpisodeStore("other")).spec
    assert spec.keys == ("up", "down") and spec.camera


MISTAKES = [
    ["in"],
    ["nowhere", "--out", "store"],
    ["empty", "--out", "store"],
    ["broken", "--out", "store"],
    ["in", "--out", "store", "format=film"],
    ["in", "--out", "store", "format=minari"],
    ["in", "--out", "store", "format=lerobot"],
    ["in", "--out", "store", "format=minerl"],
    ["in", "--out", "store", "format=vpt"],
    ["in", "--out", "store", "format=table"],
    ["in", "--out", "store", "resize=big"],
    ["in", "--out", "store", "resize=0x10"],
    ["in", "--out", "store", "fps=60"],
    ["in", "--out", "store", "fps=-1"],
    ["in", "--out", "store", "split=some"],
    ["in", "--out", "store", "keys=a,a"],
    ["in", "--out", "store", "rate=often"],
    ["in", "--out", "store", "prefix=../x"],
    ["in", "--out", "store", "episode_frames=1"],
    ["in", "--out", "store", "lisence=MIT"],
]


@pytest.mark.slow
@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    write_film(folder / "in/a.mp4", random_actions(4))
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken/a.mp4").write_bytes(b"nothing")
    before = sorted(folder.rglob("*"))
    assert cli.main(["data", "import", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("worldsim: ") and captured.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
