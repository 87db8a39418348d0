"""Sources as strangers hand them over: odd names, links, bombs and damage. The good recordings beside them come in."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.importers import test_lerobot as lerobot
from tests.datasets.importers import test_minari as minari_sets
from tests.datasets.importers import test_minerl as minerl
from tests.datasets.importers import test_vpt as vpt
from tests.import_film import random_actions, write_film
from tests.timing import little_work
from tests.video_files import levels, shown_levels, turn_video, write_stamped
from worldsim import cli
from worldsim.datasets.importers.formats import detect_format, find_recordings
from worldsim.datasets.importers.importer import ImportOptions, ImportReport, import_recordings
from worldsim.datasets.importers.recording import episode_name, names_of, state_name
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import write_video
from worldsim.errors import UserError
from worldsim.plotting.pictures import write_picture
from worldsim.spec.actions import MINECRAFT

GREY = np.full((16, 24, 3), 90, np.uint8)


def taken_in(source: Path, out: Path, kind: str | None = None, **options) -> tuple[EpisodeStore, ImportReport]:
    store = EpisodeStore(out)
    recordings = find_recordings(source, kind or detect_format(source))
    return store, import_recordings(store, recordings, ImportOptions(**options))


def test_names_that_are_no_unicode_come_in_and_are_told_readably(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "in"
    for name in ("good.mp4", "gr\udcf6\udcdfe.mp4", "a%03d [1] http:x.mp4"):
        write_film(source / "plain.mp4", random_actions(4))
        (source / "plain.mp4").replace(source / name)
    (source / "sch\udcf6n.mp4").write_text("no video")
    assert cli.main(["data", "import", str(source), "--out", str(tmp_path / "out"), "split=train"]) == 1
    assert len(EpisodeStore(tmp_path / "out").names()) == 3
    assert "sch\\udcf6n.mp4" in capsys.readouterr().err


def test_names_stay_apart_and_short():
    long = ["x" * 300 + end for end in "ab"]
    names = [episode_name(text) for text in [*long, "gr\udcf6", "gr\udcfc", "a/b", "a.b"]]
    assert len(set(names)) == 6 and max(map(len, names)) < 140
    assert [state_name(text) for text in ("health", "compass.angle", "größe")] == ["health", "compass.angle", "größe"]
    odd = [state_name(text) for text in ("zarr.json", "c", "..", "a/b", ".x", "y" * 300, "gr\udcf6")]
    assert len(set(odd)) == 7 and not {"zarr.json", "c"} & set(odd) and max(map(len, odd)) < 140
    paths = [Path(f"/r/{i}.mp4") for i in range(20_000)] + [Path(f"/r/{i}.mkv") for i in range(20_000)]
    with little_work(5):
        assert len(set(names_of(paths, Path("/r")))) == 40_000


def test_odd_state_names_are_kept_under_safe_ones(tmp_path: Path):
    arrays = minerl.arrays_of(minerl.actions_of(6)) | {"observation$zarr.json": np.arange(7.0)}
    minerl.write_recording(tmp_path / "in/task/rec", minerl.actions_of(6), arrays)
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert (report.imported, report.episodes, report.broken) == (1, 1, [])
    state = store.read(store.names()[0]).state
    [name] = [name for name in state if name.startswith("zarr.json")]
    assert state[name].tolist() == list(range(7))


def test_what_was_written_meanwhile_is_told_as_there(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(4))
    recordings = find_recordings(tmp_path / "in", "video")
    late = EpisodeStore(tmp_path / "out")

    def faster(message: tuple[str, object]) -> None:
        if message[0] == "frames":
            import_recordings(EpisodeStore(tmp_path / "out"), recordings)

    report = import_recordings(late, recordings, listen=faster)
    assert (report.imported, report.there, report.episodes) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["video", "images", "table", "vpt"])
def test_links_out_of_the_source_are_named_and_not_read(tmp_path: Path, kind: str):
    source, away = tmp_path / "in", tmp_path / "away"
    for folder in (source, away):
        for name in ("good",) if folder is source else ("secret",):
            if kind == "images":
                folder.mkdir()
                write_picture(folder / f"{name}.png", GREY)
            elif kind == "vpt":
                vpt.write_recording(folder, random_actions(8), name)
            else:
                write_film(folder / f"{name}.mp4", random_actions(4))
            if kind == "table":
                (folder / f"{name}.csv").write_text("left,secret\n" + "0,0\n" * 4)
    (source / "good.csv").write_text("left\n" + "0\n" * 4) if kind == "table" else None
    for path in away.iterdir():
        (source / path.name).symlink_to(path)
    store, report = taken_in(source, tmp_path / "out", kind)
    assert store.names() == ["good"] and [Path(origin).stem for origin, _ in report.broken] == ["secret"]
    assert "outside of" in report.broken[0][1]
    if kind == "table":
        assert store.manifest("good")["provenance"]["keys"] == ["left"]


def test_a_caption_may_not_be_a_link_out(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    write_film(tmp_path / "in/a.mp4", random_actions(4))
    (tmp_path / "in/a.txt").symlink_to(tmp_path / "secret.txt")
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert store.names() == [] and "outside of" in report.broken[0][1]


def test_an_index_file_may_not_lead_out(tmp_path: Path):
    vpt.write_recording(tmp_path / "away", random_actions(8), "secret")
    vpt.write_recording(tmp_path / "in", random_actions(8), "good")
    paths = ["data/good.mp4", "../away/secret.mp4", str(tmp_path / "away/secret.mp4")]
    (tmp_path / "in/index.json").write_text(json.dumps({"basedir": "https://x/", "relpaths": paths}))
    store, report = taken_in(tmp_path / "in/index.json", tmp_path / "out")
    assert store.names() == ["good"] and all("outside of" in reason for _, reason in report.broken)
    assert len(report.broken) == 2


@pytest.mark.parametrize("place", ["../../away/a.mp4", "{tmp}/away/a.mp4", "videos/link.mp4"])
def test_paths_of_a_lerobot_set_may_not_lead_out(tmp_path: Path, place: str):
    lerobot.write_v2(tmp_path / "in")
    write_video(tmp_path / "away/a.mp4", levels(12))
    (tmp_path / "in/videos/link.mp4").symlink_to(tmp_path / "away/a.mp4")
    change_info(tmp_path / "in", video_path=place.replace("{tmp}", str(tmp_path)))
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert store.names() == [] and all("outside of" in reason for _, reason in report.broken) and report.broken


@pytest.mark.parametrize("pattern", ["{episode_index:>1999999999}", "{nope}", "{episode_index.__class__}", "{}", "{{"])
def test_patterns_of_paths_cannot_do_anything(tmp_path: Path, pattern: str):
    lerobot.write_v2(tmp_path / "in")
    change_info(tmp_path / "in", data_path=pattern)
    with little_work(5):
        store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert len(report.broken) == 3 and store.names() == []
    assert all("in the path" in reason or "the path" in reason for _, reason in report.broken)


def change_info(source: Path, **changes: object) -> None:
    info = json.loads((source / "meta/info.json").read_text())
    (source / "meta/info.json").write_text(json.dumps(info | changes))


@pytest.mark.parametrize("where", ["tasks.jsonl", "tasks.parquet"])
def test_tasks_are_found_where_the_version_keeps_them(tmp_path: Path, where: str):
    lerobot.write_v2(tmp_path / "in")
    meta, text = tmp_path / "in/meta", "stack\u2028the cups"
    rows = [json.loads(line) for line in (meta / "episodes.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("tasks")
    (meta / "episodes.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    (meta / "tasks.jsonl").unlink(missing_ok=True)
    if where == "tasks.jsonl":
        (meta / where).write_text(json.dumps({"task_index": 0, "task": text}, ensure_ascii=False), encoding="utf-8")
    else:
        lerobot.save(meta / where, {"task_index": [0], "__index_level_0__": [text]})
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == [] and {store.read(name).text for name in store.names()} == {text}


@pytest.mark.parametrize("how", ["link", "storage"])
def test_hdf5_may_not_lead_out(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch):
    root = minari_sets.write(monkeypatch, tmp_path / "in")
    h5py = minari_sets.h5py
    shape = (minari_sets.STEPS + 1, 32, 64, 3)
    with h5py.File(tmp_path / "away.hdf5", "w") as file:
        file["o"] = np.full(shape, 99, np.uint8)
    (tmp_path / "away.bin").write_bytes(b"X" * int(np.prod(shape)))
    with h5py.File(root / "data/main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        if how == "link":
            file["episode_0/observations"] = h5py.ExternalLink(str(tmp_path / "away.hdf5"), "/o")
        else:
            outside = [(str(tmp_path / "away.bin"), 0, int(np.prod(shape)))]
            file.create_dataset("episode_0/observations", shape=shape, dtype=np.uint8, external=outside)
    store, report = taken_in(root, tmp_path / "out")
    assert len(store.names()) == 1 and [reason for _, reason in report.broken if "another file" in reason]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tables_of_a_minari_set_may_not_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = minari_sets.write(monkeypatch, tmp_path / "in", data_format="parquet")
    path = next(path for path in (root / "data").rglob("*") if path.is_file() and path.suffix != ".json")
    path.replace(tmp_path / "away")
    path.symlink_to(tmp_path / "away")
    with pytest.raises(UserError, match="outside of"):
        find_recordings(root, "minari")


def test_hdf5_that_declares_more_than_it_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = minari_sets.write(monkeypatch, tmp_path / "in")
    with minari_sets.h5py.File(root / "data/main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file.create_dataset("episode_0/rewards", shape=(10**12,), chunks=(1000,), dtype=np.float64)
    with little_work(10):
        store, report = taken_in(root, tmp_path / "out")
    assert len(store.names()) == 1 and "declares" in report.broken[0][1]


def test_grids_of_symbols_are_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spaces = minari_sets.spaces
    grid = spaces.Dict({"image": spaces.Box(0, 255, (7, 7, 3), np.uint8)})
    root = minari_sets.write(monkeypatch, tmp_path, lambda shown: {"image": shown[:, :7, :7]}, grid)
    with pytest.raises(UserError, match="image is 7x7: a grid of symbols"):
        find_recordings(root, "minari")
    assert len(find_recordings(root, "minari", view="image")) == 2


def test_npz_that_declares_more_than_it_holds_is_refused(tmp_path: Path):
    for name in ("bomb", "good"):
        minerl.write_recording(tmp_path / f"in/task/{name}", minerl.actions_of(6))
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    with zipfile.ZipFile(tmp_path / "in/task/bomb/rendered.npz", "w") as archive:
        archive.writestr("reward.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + b"\0" * 100)
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert len(store.names()) == 1 and "promises (1099511627776,)" in report.broken[0][1]


@pytest.mark.slow
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    folder = minerl.write_recording(tmp_path / "in/task/bomb", minerl.actions_of(6))
    with zipfile.ZipFile(folder / "rendered.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reward.npy", bytes(200 * 2**20))
    _, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert "declares" in report.broken[0][1]


def test_named_pipes_are_not_waited_for(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(4))
    for name in ("b.mp4", "a.csv", "a.jsonl", "a.txt", "c.png", "rendered.npz", "d.json"):
        os.mkfifo(tmp_path / "in" / name)
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert store.names() == ["a"] and report.broken == []
    with pytest.raises(UserError, match="nothing that can be imported"):
        detect_format(tmp_path / "in/b.mp4")


@pytest.mark.parametrize("cell", ["1e39", "1e400", "9" * 400])
def test_numbers_beyond_float32_are_named(tmp_path: Path, cell: str):
    write_film(tmp_path / "in/a.mp4", random_actions(3))
    (tmp_path / "in/a.csv").write_text(f"yaw,reward\n1,0\n{cell},0\n")
    _, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert "a.csv, line 3: yaw is beyond what float32 holds" in report.broken[0][1]


def test_numbers_beyond_float32_in_arrays_are_named(tmp_path: Path):
    arrays = minerl.arrays_of(minerl.actions_of(6)) | {"reward": np.array([0, 0, 1e39, 0, 0, 0])}
    minerl.write_recording(tmp_path / "in/task/rec", minerl.actions_of(6), arrays)
    _, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert "its rewards are not all finite numbers of float32: see frame 2" in report.broken[0][1]


@pytest.mark.parametrize(
    ("missing", "frames", "told"),
    [([], 12, ""), ([5], 11, ""), ([5], 14, "tick 6 follows tick 4"), ([3, 7], 11, "tick 4 follows tick 2")],
)
def test_missing_ticks_that_do_not_explain_the_frames_are_told(
    tmp_path: Path, missing: list[int], frames: int, told: str
):
    lines = [vpt.line(t) for t in range(12) if t not in missing]
    write_film(tmp_path / "in/a.mp4", random_actions(frames))
    vpt.write_lines(tmp_path / "in/a.jsonl", lines)
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert (store.names() == ["a"]) == (not told)
    assert not told or told in report.broken[0][1]


def test_a_missing_tick_shifts_nothing(tmp_path: Path):
    """The video has a frame for it: what is held around it is held, and every later action stays at its frame."""
    keys = [["key.keyboard.w", "key.keyboard.a"], ["key.keyboard.w"]]
    lines = [vpt.line(t, keys=keys[t >= 6], mouse={"dx": 2.0 * t}) for t in range(12)]
    write_film(tmp_path / "in/a.mp4", random_actions(12))
    vpt.write_lines(tmp_path / "in/a.jsonl", [line for t, line in enumerate(lines) if t not in (4, 5, 9)])
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == []
    episode = store.read("a")
    turned = [0.3 * t if t not in (4, 5, 9, 11) else 0.0 for t in range(12)]
    np.testing.assert_allclose(episode.actions[:, -1], turned, rtol=1e-5)
    forward, left = (MINECRAFT.keys.index(name) for name in ("forward", "left"))
    assert episode.actions[:, forward].tolist() == [1] * 11 + [0]
    assert episode.actions[:, left].tolist() == [1] * 4 + [0] * 8
    assert episode.provenance["filled_ticks"] == 3 and episode.provenance["action_lines"] == 9


def test_pictures_and_videos_are_imported_upright(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(GREY).save(tmp_path / "pictures/a.jpg", exif=exif)
    store, _ = taken_in(tmp_path / "pictures", tmp_path / "out")
    assert store.read("a").frames.shape == (1, 24, 16, 3)
    write_film(tmp_path / "videos/v.mp4", random_actions(4))
    turn_video(tmp_path / "videos/v.mp4", "clockwise")
    store, _ = taken_in(tmp_path / "videos", tmp_path / "out", size=(16, 32))
    assert store.read("v").frames.shape == (4, 32, 16, 3)


def test_pictures_in_tables_are_upright_too(tmp_path: Path):
    lerobot.write_v2(tmp_path / "in")
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 8
    Image.fromarray(GREY).save(file, "PNG", exif=exif)
    info = json.loads((tmp_path / "in/meta/info.json").read_text())
    info["features"][lerobot.CAMERA]["dtype"] = "image"
    (tmp_path / "in/meta/info.json").write_text(json.dumps(info))
    for path in (tmp_path / "in/data").rglob("*.parquet"):
        rows = lerobot.parquet.read_table(path).to_pydict()
        rows[lerobot.CAMERA] = [{"bytes": file.getvalue(), "path": None}] * len(rows["frame_index"])
        lerobot.save(path, rows)
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == [] and store.read(store.names()[0]).frames.shape[1:] == (24, 16, 3)


def test_a_table_has_a_row_for_each_frame_that_is_shown(tmp_path: Path):
    (tmp_path / "in").mkdir()
    write_stamped(tmp_path / "in/a.mp4", levels(16), [(t - 5) / 20 for t in range(16)])
    (tmp_path / "in/a.csv").write_text("left,state.level\n" + "".join(f"0,{t}\n" for t in range(5, 16)))
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == []
    episode = store.read("a")
    assert shown_levels(episode.frames) == episode.state["level"].tolist() == list(range(5, 16))


def test_a_rate_that_was_asked_for_is_not_called_variable(tmp_path: Path):
    (tmp_path / "in").mkdir()
    write_stamped(tmp_path / "in/a.mp4", levels(8), [0, 0.05, 0.1, 0.2, 0.25, 0.35, 0.4, 0.5])
    store, _ = taken_in(tmp_path / "in", tmp_path / "native")
    assert store.manifest("a")["provenance"]["rate"] == "variable"
    store, _ = taken_in(tmp_path / "in", tmp_path / "even", fps=10)
    about = store.manifest("a")["provenance"]
    assert "rate" not in about and about["fps"] == 10 and len(store.read("a")) == 6


def test_a_table_without_actions_is_told(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(3))
    (tmp_path / "in/a.csv").write_text("state.health\n1\n2\n")
    _, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert "no column of an action" in report.broken[0][1]


def test_a_reserved_name_in_capitals_is_no_key(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(3))
    (tmp_path / "in/a.csv").write_text("left,Reward\n1,0\n0,1\n")
    _, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert "write 'reward'" in report.broken[0][1]
