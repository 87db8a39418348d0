"""MineRL v0.4 demonstrations: recording.mp4 + rendered.npz + metadata.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.import_film import assert_aligned, film, random_actions
from worldsim.datasets.importers.minerl import find_minerl, minerl_actions, open_minerl
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.store.video import write_video
from worldsim.spec.actions import MINECRAFT

NAMES = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint")


def actions_of(steps: int, seed: int = 0) -> np.ndarray:
    """MINECRAFT actions (N + 1, 22) of what MineRL v0.4 records."""
    actions = random_actions(steps + 1, seed)
    others = [i for i, name in enumerate(MINECRAFT.keys) if name not in NAMES]
    actions[:, others] = 0
    return actions


def arrays_of(actions: np.ndarray) -> dict[str, Any]:
    """What MineRL's publisher writes: N actions and rewards, N + 1 observations."""
    steps = len(actions) - 1
    arrays: dict[str, Any] = {"reward": np.arange(steps, dtype=np.float32)}
    for name in NAMES:
        arrays[f"action${name}"] = actions[:-1, MINECRAFT.keys.index(name)].astype(np.int64)
    arrays["action$camera"] = actions[:-1, -2:].astype(np.float32)
    arrays["action$place"] = np.full(steps, "none", dtype="<U16")
    arrays["action$craft"] = np.full(steps, "none", dtype="<U16")
    arrays["observation$inventory$dirt"] = np.arange(steps + 1)
    arrays["observation$compass$angle"] = np.linspace(-1, 1, steps + 1, dtype=np.float32)
    return arrays


def write_recording(
    folder: Path, actions: np.ndarray, arrays: dict[str, Any] | None = None, waiting: int = 5, counted: int = 0
) -> Path:
    """A demonstration whose video begins ``waiting`` frames early; ``counted``: frames told beyond those there are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = film(actions)
    before = np.full((waiting, *pictures.shape[1:]), 200, np.uint8)
    write_video(folder / "recording.mp4", np.concatenate([before, pictures]), crf=8)
    np.savez_compressed(folder / "rendered.npz", **(arrays or arrays_of(actions)))
    about = {"success": True, "duration_steps": len(actions) - 1, "stream_name": folder.name}
    about["true_video_frame_count"] = waiting + len(actions) + counted
    (folder / "metadata.json").write_text(json.dumps(about))
    return folder


def episode_of(folder: Path):
    footage = open_minerl(folder)
    return piece(footage, np.stack(list(footage.frames())), 0, {})


def test_every_picture_follows_its_action(tmp_path: Path):
    actions = actions_of(20)
    episode = episode_of(write_recording(tmp_path / "MineRLTreechop-v0/v3_absolute_grape", actions))
    np.testing.assert_allclose(episode.actions, actions, atol=1e-5)
    assert_aligned(episode)
    assert episode.rewards.tolist() == [*range(20), 0] and episode.terminated.tolist() == [False] * 20 + [True]
    assert episode.state["inventory"][:, 0].tolist() == list(range(21))
    about = episode.provenance
    assert about["inventory_items"] == ["dirt"] and about["task"] == "MineRLTreechop-v0" and about["success"]
    assert about["fps"] == 20 and about["skipped_frames"] == 5 and about["source"] == "minerl-v0.4"


def test_the_last_frame_of_the_video_is_the_last_state(tmp_path: Path):
    for waiting in (0, 1, 9):
        assert_aligned(episode_of(write_recording(tmp_path / str(waiting), actions_of(8), waiting=waiting)))


def test_frames_missing_at_the_end_shorten_the_episode_and_keep_it_aligned(tmp_path: Path):
    actions = actions_of(12)
    episode = episode_of(write_recording(tmp_path / "a", actions, counted=0))
    folder = write_recording(tmp_path / "b", actions, counted=0)
    write_video(folder / "recording.mp4", np.concatenate([episode.frames[:1]] * 5 + [film(actions)[:-2]]), crf=8)
    short = episode_of(folder)
    assert len(short) == 11 and not short.terminated.any()
    assert_aligned(short)


def test_placing_is_using_and_choices_are_events():
    arrays = arrays_of(actions_of(3))
    arrays["action$place"] = np.array(["none", "dirt", "none"])
    arrays["action$craft"] = np.array(["none", "none", "planks"])
    actions, events = minerl_actions(arrays, 3)
    assert actions[:, MINECRAFT.keys.index("use")].tolist() == [0, 1, 0]
    assert events == [{"frame": 2, "kind": "place", "item": "dirt"}, {"frame": 3, "kind": "craft", "item": "planks"}]


def test_pickled_arrays_are_refused(tmp_path: Path):
    actions = actions_of(4)
    arrays = arrays_of(actions)
    arrays["action$place"] = np.array([None, {"a": 1}, "none", "none"], dtype=object)
    with pytest.raises(ValueError, match="pickled objects, which are never loaded"):
        open_minerl(write_recording(tmp_path / "a", actions, arrays))


def test_arrays_of_no_use_are_not_even_read(tmp_path: Path):
    actions = actions_of(4)
    arrays = arrays_of(actions) | {"monitor$speed": np.array([object()] * 5, dtype=object)}
    assert len(open_minerl(write_recording(tmp_path / "a", actions, arrays))) == 5


def test_mistakes_are_told(tmp_path: Path):
    actions = actions_of(6)
    arrays = arrays_of(actions)
    for change, message in (
        ({"action$vector": np.zeros((6, 64), np.float32)}, "obfuscated"),
        ({"action$jump": np.zeros(4, np.int64)}, "4 rows for 6 rewards"),
        ({"reward": np.zeros(0, np.float32)}, "no steps"),
        ({"reward": np.zeros(40, np.float32)}, "too few for 40 steps"),
    ):
        with pytest.raises(ValueError, match=message):
            open_minerl(write_recording(tmp_path / "a", actions, arrays | change, waiting=0))
    folder = write_recording(tmp_path / "b", actions)
    content = (folder / "rendered.npz").read_bytes()
    (folder / "rendered.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"rendered\.npz"):
        open_minerl(folder)
    (folder / "recording.mp4").unlink()
    with pytest.raises((FileNotFoundError, ValueError)):
        open_minerl(folder)


def test_one_demonstration_under_two_tasks_has_one_split(tmp_path: Path):
    for task in ("MineRLTreechop-v0", "MineRLObtainDiamond-v0"):
        (tmp_path / task / "v3_absolute_grape").mkdir(parents=True)
        (tmp_path / task / "v3_absolute_grape/rendered.npz").touch()
    a, b = find_minerl(tmp_path)
    assert a.name != b.name and a.split == b.split


@pytest.mark.parametrize("count", ["", None, [], "many", 0.5])
def test_a_count_of_frames_that_is_none_is_named(tmp_path: Path, count: object):
    folder = write_recording(tmp_path / "a", actions_of(8))
    about = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(about | {"true_video_frame_count": count}))
    with pytest.raises(ValueError, match=r"metadata\.json: true_video_frame_count must be a whole number, got "):
        open_minerl(folder)
