"""Situations from bug reports of this field: what a spreadsheet, an editor, a phone or a recorder really hands over."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.datasets.importers import test_lerobot as lerobot
from tests.datasets.importers import test_vpt as vpt
from tests.datasets.importers.test_any_source import taken_in
from tests.import_film import random_actions, write_film
from tests.video_files import levels
from worldsim.spec.actions import MINECRAFT

FRAMES = 6
HELD, TURNED = [0, 1, 0, 1, 0, 0], [0, 0.5, 1, 1.5, 2, 0]
PLAIN = "frame,forward,yaw\n" + "".join(f"{t},{t % 2},{t / 2}\n" for t in range(FRAMES))
DECIMALS = "frame;forward;yaw\n" + "".join(f"{t};{t % 2};{t / 2}\n".replace(".", ",") for t in range(FRAMES))
QUOTED = "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in PLAIN.splitlines())
FLOATS = "frame,forward,yaw\n" + "".join(f"{t}.0,{t % 2}.0,{t / 2}\n" for t in range(FRAMES))
TRUTH = "frame,forward,yaw\n" + "".join(f"{t},{t % 2 == 1},{t / 2}\n" for t in range(FRAMES))
TABLES: dict[str, bytes] = {
    "plain": PLAIN.encode(),
    "a byte order mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "CR LF": PLAIN.replace("\n", "\r\n").encode(),
    "CR": PLAIN.replace("\n", "\r").encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "semicolons and decimal commas": DECIMALS.encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "quotes": QUOTED.encode(),
    "blanks after commas": PLAIN.replace(",", ", ").encode(),
    "blank lines at the end": (PLAIN + "\n\n").encode(),
    "a comma at the end of each line": PLAIN.replace("\n", ",\n").encode(),
    "whole numbers as floats": FLOATS.encode(),
    "True and False": TRUTH.encode(),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_film(path, random_actions(FRAMES))
    return path.read_bytes()


def beside(folder: Path, film: bytes, table: bytes, suffix: str = "csv") -> Path:
    folder.mkdir()
    (folder / "a.mp4").write_bytes(film)
    (folder / f"a.{suffix}").write_bytes(table)
    return folder


def test_a_table_is_one_recording_however_it_was_saved(tmp_path: Path, film: bytes):
    for number, (name, table) in enumerate(TABLES.items()):
        store, report = taken_in(beside(tmp_path / f"in{number}", film, table), tmp_path / f"out{number}")
        assert report.broken == [], name
        episode = store.read("a")
        assert episode.provenance["keys"] == ["forward"], name
        assert episode.actions[:, 0].tolist() == HELD and episode.actions[:, -1].tolist() == TURNED, name


@pytest.mark.parametrize("name", ["vorwärts", "for\u2028ward", "数据", "two words"])
def test_names_of_keys_stand_as_they_are(tmp_path: Path, film: bytes, name: str):
    table = PLAIN.replace("forward", name).encode()
    store, report = taken_in(beside(tmp_path / "in", film, table), tmp_path / "out")
    assert report.broken == [] and store.read("a").provenance["keys"] == [name]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (("# recorded by me\n" + PLAIN).encode(), "line 2: more cells than columns"),
        (PLAIN.replace("forward", "vorwärts").encode("cp1252"), "not UTF-8 text"),
        (PLAIN.replace("\n5,", "\n6,").encode(), "frame 6 stands in the row of frame 5"),
        (PLAIN.replace("frame", "").encode(), "column 1 has no name"),
        (PLAIN.replace("frame", "Frame").encode(), "write 'frame'"),
        (PLAIN.replace("2.5", "nan").encode(), "line 7: yaw must be finite"),
        (b"", "0 rows for 6 frames"),
        (b"frame,forward\n", "0 rows for 6 frames"),
    ],
)
def test_what_is_no_table_says_where(tmp_path: Path, film: bytes, table: bytes, reason: str):
    _, report = taken_in(beside(tmp_path / "in", film, table), tmp_path / "out", "table")
    assert reason in report.broken[0][1]


LINES = [{"frame": t, "forward": t % 2, "yaw": t / 2} for t in range(FRAMES)]
JSON_LINES: dict[str, Callable[[], str]] = {
    "plain": lambda: "\n".join(map(json.dumps, LINES)),
    "a byte order mark": lambda: "\ufeff" + "\n".join(map(json.dumps, LINES)),
    "CR LF": lambda: "\r\n".join(map(json.dumps, LINES)) + "\r\n",
    "blank lines": lambda: "\n\n".join(map(json.dumps, LINES)) + "\n\n",
    "truth values": lambda: "\n".join(json.dumps(line | {"forward": line["forward"] == 1}) for line in LINES),
    "null for nothing": lambda: "\n".join(json.dumps(line | {"state.x": None}) for line in LINES),
}


def test_json_lines_are_one_recording_however_they_were_saved(tmp_path: Path, film: bytes):
    for number, (name, text) in enumerate(JSON_LINES.items()):
        source = beside(tmp_path / f"in{number}", film, text().encode(), "jsonl")
        store, report = taken_in(source, tmp_path / f"out{number}")
        assert report.broken == [], name
        assert store.read("a").actions[:, 0].tolist() == HELD, name
        assert store.read("a").actions[:, -1].tolist() == TURNED, name


@pytest.mark.parametrize("value", ["a\u2028b", {"x": 1}, [1]])
def test_values_that_are_no_numbers_are_told(tmp_path: Path, film: bytes, value: Any):
    text = "\n".join(json.dumps(line | {"yaw": value}, ensure_ascii=False) for line in LINES)
    _, report = taken_in(beside(tmp_path / "in", film, text.encode(), "jsonl"), tmp_path / "out", "table")
    assert "a.jsonl, line 1: yaw must be a number" in report.broken[0][1]


TICKS = [vpt.line(t, mouse={"dx": 2.0 * t}) for t in range(FRAMES)]
VPT: dict[str, Callable[[], str]] = {
    "a byte order mark": lambda: "\ufeff" + "\n".join(map(json.dumps, TICKS)),
    "CR LF": lambda: "\r\n".join(map(json.dumps, TICKS)),
    "a blank line": lambda: "\n".join(json.dumps(tick) + "\n" * (t == 2) for t, tick in enumerate(TICKS)),
    "a separator in a chat": lambda: "\n".join(
        json.dumps(tick | {"keyboard": tick["keyboard"] | {"chars": "a\u2028b\u0085"}}, ensure_ascii=False)
        for tick in TICKS
    ),
    "without isGuiOpen": lambda: "\n".join(
        json.dumps({name: value for name, value in tick.items() if name != "isGuiOpen"}) for tick in TICKS
    ),
}


def test_ticks_are_read_however_they_were_saved(tmp_path: Path, film: bytes):
    for number, (name, text) in enumerate(VPT.items()):
        source = beside(tmp_path / f"in{number}", film, text().encode(), "jsonl")
        store, report = taken_in(source, tmp_path / f"out{number}")
        assert report.broken == [], name
        turned = [0.3 * t for t in range(FRAMES - 1)] + [0]
        np.testing.assert_allclose(store.read("a").actions[:, -1], turned, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: "\n".join("null" if t == 3 else json.dumps(tick) for t, tick in enumerate(TICKS)), "line 4"),
        (lambda: "\n".join(json.dumps(vpt.line(t, mouse={"dx": float("nan")} if t == 3 else {})) for t in range(6)),
         "line 4: not a VPT tick"),
        (lambda: json.dumps(TICKS, indent=1), "line 1: not a JSON object"),
    ],
)  # fmt: skip
def test_ticks_that_are_none_say_where(tmp_path: Path, film: bytes, change: Callable[[], str], reason: str):
    source = beside(tmp_path / "in", film, change().encode(), "jsonl")
    _, report = taken_in(source, tmp_path / "out", "vpt")
    assert reason in report.broken[0][1]


def test_pictures_with_odd_sides_keep_them(tmp_path: Path):
    (tmp_path / "in").mkdir()
    pictures = levels(4, height=47, width=33)
    with av.open(str(tmp_path / "in/a.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 33, 47, "yuv444p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "in/a.csv").write_text("left\n0\n1\n0\n0\n")
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == [] and store.read("a").frames.shape == (4, 47, 33, 3)
    assert abs(store.read("a").frames.astype(int) - pictures).max() < 12


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 95), (95, 63)])
def test_images_of_any_size_are_episodes(tmp_path: Path, width: int, height: int):
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in/up.PNG")
    store, report = taken_in(tmp_path / "in", tmp_path / "out")
    assert report.broken == []
    np.testing.assert_array_equal(store.read("up").frames, pixels[None])


def test_what_is_empty_or_has_no_pictures_is_named_and_the_rest_comes_in(tmp_path: Path, film: bytes):
    source = beside(tmp_path / "in", film, PLAIN.encode())
    (source / "empty.mp4").touch()
    (source / "empty.csv").touch()
    with av.open(str(source / "sound.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    (source / "sound.csv").write_text("left\n0\n")
    write_film(source / "one.mp4", random_actions(1))
    (source / "one.csv").write_text("forward\n1\n")
    store, report = taken_in(source, tmp_path / "out")
    assert store.names() == ["a", "one"] and not store.read("one").actions.any()
    assert {Path(origin).stem for origin, _ in report.broken} == {"empty", "sound"}


def test_numbers_of_episodes_may_have_gaps(tmp_path: Path):
    root, numbers = tmp_path / "in", (0, 3, 1005)
    lerobot.write_v2(root)
    lines = [json.loads(line) for line in (root / "meta/episodes.jsonl").read_text().splitlines()]
    for line, number in zip(lines, numbers, strict=True):
        old = line["episode_index"]
        line["episode_index"] = number
        rows = lerobot.rows_of(number, line["length"], 0) | {"action": lerobot.actions_of(line["length"], old).tolist()}
        (root / f"data/chunk-000/episode_{old:06d}.parquet").unlink()
        chunk = f"chunk-{number // 1000:03d}"
        lerobot.save(root / f"data/{chunk}/episode_{number:06d}.parquet", rows)
        film = root / f"videos/{chunk}/{lerobot.CAMERA}/episode_{number:06d}.mp4"
        film.parent.mkdir(parents=True, exist_ok=True)
        (root / f"videos/chunk-000/{lerobot.CAMERA}/episode_{old:06d}.mp4").replace(film)
    (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    store, report = taken_in(root, tmp_path / "out")
    assert report.broken == [] and [len(store.read(name)) for name in store.names()] == list(lerobot.LENGTHS)


def test_a_turn_that_no_hand_makes_is_dropped_and_counted(tmp_path: Path, film: bytes):
    ticks = [vpt.line(t, mouse={"dx": 3000.0 if t == 2 else 2.0}) for t in range(FRAMES)]
    source = beside(tmp_path / "in", film, "\n".join(map(json.dumps, ticks)).encode(), "jsonl")
    episode = taken_in(source, tmp_path / "out")[0].read("a")
    np.testing.assert_allclose(episode.actions[:, -1], [0.3, 0.3, 0, 0.3, 0.3, 0], rtol=1e-5)
    assert episode.provenance["dropped_turns"] == 1 and len(episode.provenance["keys"]) == len(MINECRAFT.keys)
