"""The whole road of each format: import, check, sample, train a tiny tokenizer and tiny dynamics for a few steps."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.importers import test_lerobot as test_import_lerobot
from tests.datasets.importers import test_minari as test_import_minari
from tests.datasets.importers import test_minerl as test_import_minerl
from tests.datasets.importers import test_table as test_import_table
from tests.datasets.importers import test_vpt as test_import_vpt
from tests.import_film import film, random_actions, write_film
from tests.tiny_training import walk
from worldsim import cli
from worldsim.plotting.pictures import write_picture

FRAMES = 40


def write_source(kind: str, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few short recordings in a format."""
    actions = random_actions(FRAMES, seed)
    if kind == "vpt":
        actions[0] = 0
        test_import_vpt.write_recording(folder, actions, f"player-{seed}-20220401-224517")
    elif kind == "minerl":
        test_import_minerl.write_recording(folder / f"MineRLTreechop-v0/v3_{seed}", actions)
    elif kind == "minari":
        monkeypatch.setattr(test_import_minari, "STEPS", FRAMES)
        choose = lambda number: np.random.default_rng((seed, number)).integers(4, size=FRAMES)  # noqa: E731
        return test_import_minari.write(monkeypatch, folder, acts=choose)
    elif kind == "lerobot":
        monkeypatch.setattr(test_import_lerobot, "LENGTHS", (FRAMES, FRAMES + seed, FRAMES))
        test_import_lerobot.write_v3(folder)
    elif kind == "table":
        folder.mkdir()
        test_import_table.write_recording(folder, f"a{seed}", test_import_table.actions_of(FRAMES, seed))
    elif kind == "video":
        write_film(folder / f"a{seed}.mp4", actions)
    else:
        folder.mkdir()
        for i, picture in enumerate(film(actions)[1:]):
            write_picture(folder / f"{seed}-{i}.png", picture)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["vpt", "minerl", "minari", "lerobot", "table", "video", "images"])
def test_the_whole_road(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    source = write_source(kind, tmp_path / "in", 0, monkeypatch)
    words = [str(source), "--out", "store", "split=train", "licence=CC0-1.0", "consent=no person recorded"]
    assert cli.main(["data", "import", *words]) == 0
    assert f"in the format {kind}" in capsys.readouterr().out
    form = walk(tmp_path / "store", tmp_path, length=1 if kind == "images" else 8)
    assert (form.width, form.height) == (64, 32)
