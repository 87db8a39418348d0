"""LeRobot data sets of versions 2.1 and 3.0, written here as LeRobot writes them."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.import_film import assert_aligned, film
from worldsim.datasets.importers.lerobot import find_lerobot
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.store.video import write_video
from worldsim.errors import UserError

parquet = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")

FPS, NAMES, CAMERA = 10, ["shoulder", "elbow", "gripper"], "observation.images.top"
LENGTHS = (9, 6, 12)


def actions_of(frames: int, seed: int) -> np.ndarray:
    """Continuous actions (F, 3); the last row is what the robot did after the last frame."""
    return np.random.default_rng(seed).uniform(-10, 10, (frames, 3)).astype(np.float32)


def rows_of(number: int, frames: int, first: int) -> dict[str, Any]:
    actions = actions_of(frames, number)
    return {
        "action": actions.tolist(),
        "observation.state": (actions + 1).tolist(),
        "timestamp": (np.arange(frames, dtype=np.float32) / FPS).tolist(),
        "frame_index": list(range(frames)),
        "episode_index": [number] * frames,
        "index": list(range(first, first + frames)),
        "task_index": [0] * frames,
        "next.reward": [float(t) for t in range(frames)],
        "next.done": [t == frames - 1 for t in range(frames)],
    }


def info_of(version: str, **changes: Any) -> dict[str, Any]:
    scalar = {"shape": [1], "names": None}
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "chunks_size": 1000,
        "fps": FPS,
        "features": {
            "action": {"dtype": "float32", "shape": [3], "names": {"motors": NAMES}},
            "observation.state": {"dtype": "float32", "shape": [3], "names": NAMES},
            CAMERA: {"dtype": "video", "shape": [32, 64, 3], "names": ["height", "width", "channels"]},
            "timestamp": {"dtype": "float32", **scalar},
            "next.reward": {"dtype": "float32", **scalar},
            "next.done": {"dtype": "bool", **scalar},
        },
    }
    if version.startswith("v2"):
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    else:
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    return info | changes


def save(path: Path, rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(rows), path)


def pictures(number: int, frames: int) -> np.ndarray:
    return film(actions_of(frames, number), continuous=range(3))


def write_v2(root: Path) -> Path:
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info_of("v2.1")))
    lines = [{"episode_index": i, "tasks": ["pick the cube"], "length": n} for i, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first = 0
    for i, frames in enumerate(LENGTHS):
        save(root / f"data/chunk-000/episode_{i:06d}.parquet", rows_of(i, frames, first))
        write_video(root / f"videos/chunk-000/{CAMERA}/episode_{i:06d}.mp4", pictures(i, frames), FPS, crf=8)
        first += frames
    return root


def write_v3(root: Path) -> Path:
    """Two episodes in the first files, one in the second."""
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info_of("v3.0")))
    files, rows, first = ((0, 1), (2,)), [], 0
    for file, numbers in enumerate(files):
        tables, clips, begin = [], [], 0
        for i in numbers:
            frames = LENGTHS[i]
            tables.append(rows_of(i, frames, first))
            clips.append(pictures(i, frames))
            row = {"episode_index": i, "tasks": ["pick the cube"], "length": frames, "stats/action/min": [0.0]}
            row |= {"data/chunk_index": 0, "data/file_index": file, "dataset_from_index": first}
            row |= {f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": file}
            row |= {f"videos/{CAMERA}/from_timestamp": begin / FPS}
            row |= {f"videos/{CAMERA}/to_timestamp": (begin + frames) / FPS, "dataset_to_index": first + frames}
            rows.append(row)
            first, begin = first + frames, begin + frames
        joined = {name: [cell for table in tables for cell in table[name]] for name in tables[0]}
        save(root / f"data/chunk-000/file-{file:03d}.parquet", joined)
        write_video(root / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", np.concatenate(clips), FPS, crf=8)
    save(root / "meta/episodes/chunk-000/file-000.parquet", {name: [row[name] for row in rows] for name in rows[0]})
    return root


def episodes_of(root: Path, view: str = ""):
    footages = [recording.open() for recording in find_lerobot(root, view)]
    return [piece(footage, np.stack(list(footage.frames())), 0, {}) for footage in footages]


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_every_picture_follows_its_action(tmp_path: Path, write: Any):
    root = write(tmp_path / "pick")
    (root / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- LeRobot\n---\n# Pick\n")
    episodes = episodes_of(root)
    assert [len(e) for e in episodes] == list(LENGTHS)
    for number, episode in enumerate(episodes):
        expected = actions_of(LENGTHS[number], number)
        # In the data set's units again, which are what the pictures show.
        scales = np.array([episode.provenance["axis_scales"][key] for key in episode.provenance["keys"]])
        assert np.abs(episode.actions).max() <= 1 and (scales > 5).all()
        restored = replace(episode, actions=(episode.actions * scales).astype(np.float32))
        np.testing.assert_allclose(restored.actions[:-1], expected[:-1], rtol=1e-5)
        assert_aligned(restored, continuous=range(3))
        assert episode.rewards.tolist() == [*range(LENGTHS[number] - 1), 0]
        # ``next.done`` of the last row is about a frame that was not recorded.
        assert not episode.terminated.any() and episode.text == "pick the cube"
        np.testing.assert_allclose(episode.state["state"], expected + 1, rtol=1e-6)
        about = episode.provenance
        assert about["keys"] == [f"axis.{name}" for name in NAMES] and about["fps"] == FPS
        assert about["licence"] == "apache-2.0" and about["engine"] == "so100"


def test_images_in_the_table_are_read(tmp_path: Path):
    root = write_v2(tmp_path / "pick")
    info = info_of("v2.1", video_path=None)
    info["features"][CAMERA]["dtype"] = "image"
    (root / "meta/info.json").write_text(json.dumps(info))
    for i, frames in enumerate(LENGTHS):
        images = [{"bytes": png(picture), "path": None} for picture in pictures(i, frames)]
        save(root / f"data/chunk-000/episode_{i:06d}.parquet", rows_of(i, frames, 0) | {CAMERA: images})
    for number, episode in enumerate(episodes_of(root)):
        np.testing.assert_array_equal(episode.frames, pictures(number, LENGTHS[number]))


def png(picture: np.ndarray) -> bytes:
    memory = io.BytesIO()
    with av.open(memory, "w", format="image2pipe") as container:
        stream = container.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"  # pyright: ignore
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture)), *stream.encode()]:  # pyright: ignore
            container.mux(packet)
    return memory.getvalue()


def test_one_of_several_cameras_has_to_be_chosen(tmp_path: Path):
    root = write_v2(tmp_path / "pick")
    info = info_of("v2.1")
    info["features"]["observation.images.side"] = info["features"][CAMERA]
    (root / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="several cameras: choose one with view="):
        find_lerobot(root)
    assert len(find_lerobot(root, "top")) == len(find_lerobot(root, CAMERA)) == 3
    with pytest.raises(UserError, match="no camera 'left'"):
        find_lerobot(root, "left")


def test_damage_in_one_episode_leaves_the_others(tmp_path: Path):
    root = write_v2(tmp_path / "pick")
    save(root / "data/chunk-000/episode_000000.parquet", rows_of(0, 5, 0))
    (root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").write_bytes(b"nothing")
    broken, worse, sound = find_lerobot(root)
    with pytest.raises(ValueError, match="5 rows, but 9 are promised"):
        broken.open()
    with pytest.raises(ValueError, match="not a whole video"):
        worse.open()
    assert len(sound.open()) == 12
    (root / "data/chunk-000/episode_000002.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match="not a whole parquet file"):
        sound.open()


def test_a_video_that_is_too_short_is_told(tmp_path: Path):
    root = write_v3(tmp_path / "pick")
    write_video(root / f"videos/{CAMERA}/chunk-000/file-000.mp4", pictures(0, 9)[:9], FPS)
    first, second, _ = find_lerobot(root)
    assert len(first.open()) == 9
    with pytest.raises(ValueError, match=r"has 0 frames from 0\.9 s on, 6 are needed"):
        second.open()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, "version v1.6 is not known"),
        ({"fps": 0}, "cannot be read"),
        ({"features": {"action": {"dtype": "float32", "shape": [3], "names": None}}}, "no camera"),
    ],
)
def test_other_data_sets_are_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(json.dumps(info_of("v2.1", **changes)))
    with pytest.raises(UserError, match=message):
        find_lerobot(tmp_path)
