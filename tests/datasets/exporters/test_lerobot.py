"""A store, written as a LeRobot data set and read back by the importer, which reads what LeRobot writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldsim import cli
from worldsim.datasets.exporters.lerobot import export_lerobot
from worldsim.datasets.importers.lerobot import find_lerobot
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore

parquet = pytest.importorskip("pyarrow.parquet")

KEYS = ("jump", "forward")
LENGTHS = (7, 5, 9)


def episode(number: int, frames: int) -> Episode:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (frames, 4, 6, 3), np.uint8)
    actions = np.concatenate([rng.integers(0, 2, (frames, 2)), rng.uniform(-9, 9, (frames, 2))], 1).astype(np.float32)
    actions[-1] = 0
    state = {"position": rng.normal(size=(frames, 3)).astype(np.float32), "in_water": rng.random(frames) < 0.5}
    if number == 1:
        state["only_here"] = np.zeros(frames, np.float32)
    terminated = np.zeros(frames, np.bool_)
    terminated[-1] = number == 2
    return Episode(
        frames=coarse.repeat(8, 1).repeat(8, 2), actions=actions, rewards=np.arange(frames, dtype=np.float32),
        terminated=terminated, state=state, text=("walking", "digging", "walking")[number],
        provenance={"keys": KEYS, "fps": 20, "seed": number, "licence": "CC-BY-4.0"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    store = EpisodeStore(folder / "store")
    for number, frames in enumerate(LENGTHS):
        store.append(episode(number, frames), f"e{number}")
    # The first two episodes share a file.
    assert cli.main(["data", "export", str(folder / "store"), f"out={folder}/out", "frames_per_file=12"]) == 0
    return folder / "out"


def test_what_was_recorded_comes_back(exported: Path):
    recordings = find_lerobot(exported)
    assert len(recordings) == len(LENGTHS)
    for number, (recording, frames) in enumerate(zip(recordings, LENGTHS, strict=True)):
        footage, one = recording.open(), episode(number, frames)
        found = piece(footage, np.stack(list(footage.frames())), 0, {})
        # H.264 is not exact; a picture off by one frame is another one altogether.
        apart = np.abs(found.frames.astype(int) - one.frames).mean((1, 2, 3))
        assert found.frames.shape == one.frames.shape and apart.max() < 25, apart
        scales = np.array([found.provenance["axis_scales"][key] for key in found.provenance["keys"]])
        assert found.provenance["keys"] == ["axis.jump", "axis.forward", "axis.pitch", "axis.yaw"]
        np.testing.assert_allclose(found.actions[:-1] * scales, one.actions[:-1], rtol=1e-5)
        np.testing.assert_allclose(found.rewards[:-1], one.rewards[:-1])
        assert found.terminated.tolist() == one.terminated.tolist()
        assert set(found.state) == {"position", "in_water"}
        np.testing.assert_allclose(found.state["position"], one.state["position"], rtol=1e-6)
        assert found.text == one.text and found.provenance["fps"] == 20
        assert found.provenance["licence"] == "CC-BY-4.0"


def test_tables_and_statistics_agree_with_each_other(exported: Path):
    info, stats = (json.loads((exported / f"meta/{name}.json").read_text()) for name in ("info", "stats"))
    rows = parquet.read_table(exported / "meta/episodes").to_pylist()
    tables = sorted((exported / "data").glob("*/*.parquet"))
    columns = [parquet.read_table(table) for table in tables]
    assert len(tables) == 2 and [table.num_rows for table in columns] == [12, 9]
    assert info["total_frames"] == sum(LENGTHS) and info["total_tasks"] == 2 and info["splits"] == {"train": "0:3"}
    assert set(columns[0].column_names) == {n for n, f in info["features"].items() if f["dtype"] != "video"}
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 7), (7, 12), (12, 21)]
    camera = "videos/observation.images.main"
    assert [round(row[f"{camera}/from_timestamp"] * 20) for row in rows] == [0, 7, 0]
    actions = np.concatenate([np.array(table.column("action").to_pylist()) for table in columns])
    for name, value in (
        ("min", actions.min(0)),
        ("max", actions.max(0)),
        ("mean", actions.mean(0)),
        ("std", actions.std(0)),
    ):
        np.testing.assert_allclose(stats["action"][name], value, rtol=1e-4, atol=1e-6)
        assert np.shape(stats["observation.images.main"][name]) == (3, 1, 1)
    assert stats["action"]["count"] == [sum(LENGTHS)] and set(stats) == set(info["features"])
    tasks = parquet.read_table(exported / "meta/tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "task": "walking"}, {"task_index": 1, "task": "digging"}]
    origins = json.loads((exported / "meta/worldsim.json").read_text())
    assert [origin["provenance"]["seed"] for origin in origins] == [0, 1, 2]


def test_nothing_is_replaced_and_nothing_half_written(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    store = str(exported.parent / "store")
    assert cli.main(["data", "export", store, f"out={exported}"]) == 2
    assert "is there already" in capsys.readouterr().err

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("worldsim.datasets.exporters.lerobot._save_tasks", fail)
    with pytest.raises(OSError, match="disk full"):
        export_lerobot(EpisodeStore(store), ["e0"], tmp_path / "new")
    assert not list(tmp_path.iterdir())
