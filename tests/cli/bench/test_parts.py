"""``worldsim bench parts``: every part of a tiny world is measured, with its profile, beside busy processes too."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_starts, tiny_world
from worldsim import cli
from worldsim.cli.bench import parts, timing
from worldsim.cli.bench.machine import LARGE
from worldsim.cli.bench.pieces import MEMORY, PIECES, Pieces
from worldsim.cli.bench.profile import KINDS
from worldsim.datasets.loading.starts import save_starts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "remembering"
    remembering_world().save(folder)
    save_starts(folder / "starts", tiny_starts())
    return folder


def pieces(world: Any, **changes: Any) -> Pieces:
    settings = {"rows": 2, "clips": 2, "frames": 4, "compile": False, "data": None, "threads": 1}
    return Pieces(world=world, starts=tiny_starts(), **settings | changes)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch):
    """Small matrices for a moment, and one turn: figures are not what is tested."""
    monkeypatch.setitem(LARGE, "cpu", 64)
    monkeypatch.setattr(parts, "CEILING_SECONDS", 0.0)
    monkeypatch.setattr(timing, "TURNS", 1)
    monkeypatch.setattr(timing, "WARM_UP", 1)


@pytest.mark.slow
def test_every_part_is_measured(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [f"world={world}", "rows=2", "steps=1", "profiled=1", "clips=1", "frames=4", f"folder={tmp_path}"]
    assert cli.main(["bench", "parts", *words]) == 0
    results, out = json.loads((tmp_path / "bench.json").read_text()), capsys.readouterr().out
    assert tuple(results["parts"]) == PIECES and results["load"] == 0
    for name, part in results["parts"].items():
        assert sum(part["profile"]["shares"].values()) == pytest.approx(1) and set(part["profile"]["shares"]) == {
            *KINDS
        }
        assert 0 < part["p50_ms"] <= part["p95_ms"] and "loaded" not in part
        assert (part["share_of_matrix_ceiling"] is None) == (part["gflop"] == 0) == (name == "data")
        assert part["format"] in results["matrix_gflops"]
    assert results["parts"]["training"]["profile"]["shares"]["products"] > 0
    assert results["parts"]["batch"]["gflop"] > results["parts"]["play"]["gflop"]
    table = {line.split()[0]: line for line in out.splitlines() if line.partition(" ")[0] in PIECES}
    assert tuple(table) == PIECES and "busy" not in out
    # Others' figures stand beside, with where they come from.
    assert {one["name"].split(",")[0] for one in results["others"]["measured"]} >= {"DIAMOND", "open-oasis"}
    assert all(one["source"] in out for one in results["others"]["claimed"])


@pytest.mark.slow
def test_parts_are_compared_beside_busy_processes(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [f"world={world}", "parts=[decoder,look_ahead]", "steps=2", "load=1", f"folder={tmp_path}"]
    assert cli.main(["bench", "parts", *words]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())["parts"]
    assert list(found) == ["decoder", "look_ahead"]
    for part in found.values():
        for p in ("p50", "p95"):
            assert part["loaded"][f"ratio_{p}"] == pytest.approx(part["loaded"][f"{p}_ms"] / part[f"{p}_ms"])
    assert "beside 1 busy processes" in capsys.readouterr().out


def test_a_world_without_memory_has_no_parts_of_it():
    plain = pieces(tiny_world())
    assert plain.named(PIECES) == [name for name in PIECES if name not in MEMORY]
    assert plain.named(["compose", "play"]) == ["play"]


@pytest.mark.slow
def test_parts_are_of_what_was_asked_for():
    some = pieces(tiny_world(), rows=3)
    with some.open("play") as play, some.open("batch") as batch:
        assert (play.rows, batch.rows) == (1, 3) and batch.frames == 3 * play.frames
        # Few rows are filled up with zeros, which are multiplied too.
        assert 2.5 * play.flop < batch.flop <= 3 * play.flop
    with some.open("data") as data:
        clips = data.call()
        # Latent frames are of two video frames each.
        assert clips["frames"].shape[:2] == (2, 8) and data.frames == 16 and data.flop == 0
    with some.open("training") as training:
        assert training.frames == 2 * 4 and training.flop > 0


@pytest.mark.parametrize("words", [["parts=[plya]"], ["data=nowhere"], ["rows=0"], ["load=-1"]], ids=" ".join)
def test_mistakes_are_one_line(words: list[str], world: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "parts", f"world={world}", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and ("plya" not in words[0] or "did you mean play" in error)
