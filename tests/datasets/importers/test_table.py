"""A video with a csv or jsonl: the format for everybody's own game."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.import_film import HEIGHT, WIDTH, assert_aligned, write_film
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.importers.table import find_table
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec

KEYS = ("left", "right", "fire")


def actions_of(frames: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = (rng.random((frames, 5)) < 0.4).astype(np.float32)
    actions[:, -2:] = rng.integers(-20, 21, (frames, 2)) / 4
    actions[-1] = 0
    return actions


def write_recording(folder: Path, name: str, actions: np.ndarray, kind: str = "csv", rows: int | None = None) -> Path:
    write_film(folder / f"{name}.mp4", actions, fps=30)
    names = (*KEYS, "pitch", "yaw")
    table = [
        {"frame": t, "reward": t / 2, "state.health": 20 - t, **dict(zip(names, row.tolist(), strict=True))}
        for t, row in enumerate(actions[:rows])
    ]
    path = folder / f"{name}.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    else:
        # Zeros may be left out.
        path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v or k == "frame"}) for row in table))
    return folder / f"{name}.mp4"


def open_one(source: Path, spec: ActionSpec | None = None):
    [recording] = find_table(source, spec)
    footage = recording.open()
    return piece(footage, np.stack(list(footage.frames())), 0, {})


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("rows", [None, -1])
def test_every_picture_follows_its_action(tmp_path: Path, kind: str, rows: int | None):
    actions = actions_of()
    episode = open_one(write_recording(tmp_path, "a", actions, kind, rows))
    assert set(episode.provenance["keys"]) == set(KEYS) and episode.provenance["fps"] == 30
    order = [KEYS.index(name) for name in episode.provenance["keys"]] + [3, 4]
    np.testing.assert_allclose(episode.actions, actions[:, order])
    if order == list(range(5)):
        assert_aligned(episode)
    assert episode.rewards.tolist() == [*(t / 2 for t in range(15)), 0]
    assert episode.state["health"].tolist() == [20 - min(t, 15 + (rows or 0)) for t in range(16)]


def test_recordings_imported_together_have_the_same_keys(tmp_path: Path):
    write_recording(tmp_path, "a", actions_of())
    write_film(tmp_path / "b.mp4", actions_of())
    (tmp_path / "b.csv").write_text("jump,left\n" + "1,0\n" * 16)
    a, b = (recording.open() for recording in find_table(tmp_path))
    assert a.provenance["keys"] == b.provenance["keys"] == [*KEYS, "jump"]
    assert b.actions[:-1, 3].all() and not b.actions[:, [0, 1, 2, 4, 5]].any()


def test_given_keys_decide_the_order_and_what_is_allowed(tmp_path: Path):
    write_film(tmp_path / "a.mp4", np.zeros((3, 22), np.float32))
    (tmp_path / "a.csv").write_text("yaw,jump\n2,1\n0,0\n0,0\n")
    episode = open_one(tmp_path / "a.mp4", MINECRAFT)
    np.testing.assert_array_equal(episode.actions[0], MINECRAFT.vector({"jump": 1, "camera": (0, 2)}))
    (tmp_path / "a.csv").write_text("yaw,fly\n2,1\n0,0\n0,0\n")
    with pytest.raises(ValueError, match="fly is not among the keys"):
        open_one(tmp_path / "a.mp4", MINECRAFT)


def test_a_game_without_a_mouse_has_none(tmp_path: Path):
    write_film(tmp_path / "a.mp4", np.zeros((2, 22), np.float32))
    (tmp_path / "a.csv").write_text("left,axis.throttle,terminated\n1,-0.5,0\n0,0,true\n")
    episode = open_one(tmp_path)
    assert episode.provenance["keys"] == ["left", "axis.throttle"]
    np.testing.assert_array_equal(episode.actions, np.array([[1, -0.5], [0, 0]], np.float32))
    assert episode.terminated.tolist() == [False, True]


def test_the_text_beside_is_the_caption(tmp_path: Path):
    write_recording(tmp_path, "a", actions_of())
    (tmp_path / "a.txt").write_text("a space ship\n dodging rocks\n")
    assert open_one(tmp_path).text == "a space ship dodging rocks"


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        ("csv", "left\n1\n", "1 rows for 3 frames"),
        ("csv", "left\n" + "1\n" * 4, "4 rows for 3 frames"),
        ("csv", "", "0 rows for 3 frames"),
        ("csv", "left\n2\n0\n0\n", "row of frame 0: left must be 0 or 1, got 2"),
        ("csv", "left\n1\nx\n0\n", "line 3: left must be a number, got 'x'"),
        ("csv", "yaw\n1\nnan\n0\n", "line 3: yaw must be finite"),
        ("csv", "left,left\n1,1\n", "different names"),
        ("csv", "left\n1,1\n0\n0\n", "line 2: more cells than columns"),
        ("csv", "frame,left\n0,1\n2,0\n1,0\n", "frame 2 stands in the row of frame 1"),
        ("csv", "time,left\n0,1\n2,0\n1,0\n", "time goes back at frame 2"),
        ("jsonl", '{"left": 1}\n[]\n{}\n', "line 2: not a JSON object"),
        ("jsonl", '{"left": 1}\n{"left":\n{}\n', "line 2: not a JSON object"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, suffix: str, text: str, message: str):
    write_film(tmp_path / "a.mp4", np.zeros((3, 5), np.float32))
    (tmp_path / f"a.{suffix}").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_one(tmp_path / "a.mp4")


def test_a_table_in_another_encoding_is_told(tmp_path: Path):
    write_recording(tmp_path, "a", actions_of(6, 0))
    (tmp_path / "a.csv").write_bytes("vorwärts,yaw\n".encode("latin-1") + b"1,0\n" * 6)
    [found] = find_table(tmp_path)
    with pytest.raises(UserError, match=r"a.csv is not UTF-8 text \(byte 4\)"):
        found.open()


def test_a_video_without_a_table_is_told(tmp_path: Path):
    write_recording(tmp_path, "a", actions_of())
    write_film(tmp_path / "b.mp4", actions_of())
    _, lonely = find_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no b\.csv or b\.jsonl"):
        lonely.open()


def test_depth_beside_the_video_becomes_state(tmp_path: Path):
    video = write_recording(tmp_path, "a", actions_of())
    depth = np.random.default_rng(0).integers(0, 65536, (16, HEIGHT, WIDTH)).astype(np.uint16)
    np.save(tmp_path / "a.depth.npy", depth)
    np.testing.assert_array_equal(open_one(video).state["depth"], depth)
    np.save(tmp_path / "a.depth.npy", depth[:-1])
    with pytest.raises(UserError, match="one picture of depth for each frame"):
        open_one(video)
    (tmp_path / "a.depth.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="not an array of NumPy"):
        open_one(video)
