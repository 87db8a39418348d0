"""Start clips: what is saved is loaded; missing or damaged files are told in one line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from worldsim.datasets.loading.starts import StartClips, load_starts, save_starts
from worldsim.spec.actions import MINECRAFT


def make_starts(clips: int = 3, frames: int = 5) -> StartClips:
    rng = np.random.default_rng(0)
    pictures = np.repeat(np.repeat(rng.integers(0, 255, (clips, frames, 6, 10, 3), np.uint8), 8, 2), 8, 3)
    actions = rng.normal(size=(clips, frames - 1, MINECRAFT.size)).astype(np.float32)
    return StartClips(
        frames=pictures, actions=actions, keys=MINECRAFT.keys, provenance=[{"seed": i} for i in range(clips)]
    )


def test_exact_clips_come_back_to_the_last_bit(tmp_path: Path):
    starts = StartClips(
        frames=np.random.default_rng(0).integers(0, 256, (2, 5, 32, 48, 3), dtype=np.uint8),
        actions=np.zeros((2, 4, 3), np.float32),
        keys=("a", "b", "c"),
        provenance=[{}, {}],
    )
    save_starts(tmp_path / "exact", starts, fps=15, exact=True)
    assert np.array_equal(load_starts(tmp_path / "exact").frames, starts.frames)


def test_saved_starts_come_back(tmp_path: Path):
    starts = make_starts()
    save_starts(tmp_path / "starts", starts)
    back = load_starts(tmp_path / "starts")
    assert len(back) == 3 and back.frames.shape == starts.frames.shape
    np.testing.assert_array_equal(back.actions, starts.actions)
    assert back.keys == MINECRAFT.keys and [p["seed"] for p in back.provenance] == [0, 1, 2]
    assert np.abs(back.frames.astype(int) - starts.frames).mean() < 12


def test_an_existing_folder_is_not_written_over(tmp_path: Path):
    with pytest.raises(FileExistsError):
        save_starts(tmp_path, make_starts())


@pytest.mark.parametrize("name", ["001.mp4", "starts.safetensors", "starts.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    save_starts(tmp_path / "starts", make_starts())
    (tmp_path / "starts" / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_starts(tmp_path / "starts")


@pytest.mark.parametrize("name", ["001.mp4", "starts.safetensors", "starts.json"])
def test_a_cut_file_is_an_error(tmp_path: Path, name: str):
    save_starts(tmp_path / "starts", make_starts())
    path = tmp_path / "starts" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError):
        load_starts(tmp_path / "starts")


def test_shapes_must_fit():
    good = make_starts()
    with pytest.raises(ValueError, match="actions must be"):
        StartClips(frames=good.frames, actions=good.actions[:, 1:], keys=good.keys, provenance=good.provenance)
    with pytest.raises(ValueError, match="provenance"):
        StartClips(frames=good.frames, actions=good.actions, keys=good.keys, provenance=[])


def test_poses_and_the_depth_of_the_last_frame_come_back(tmp_path: Path):
    plain, rng = make_starts(), np.random.default_rng(1)
    starts = dataclasses.replace(
        plain,
        poses=rng.normal(size=(3, 5, 5)).astype(np.float32),
        depth=rng.integers(0, 65536, (3, 48, 80)).astype(np.uint16),
    )
    save_starts(tmp_path / "deep", starts)
    back = load_starts(tmp_path / "deep")
    assert back.poses is not None and back.depth is not None
    np.testing.assert_array_equal(back.poses, starts.poses)
    np.testing.assert_array_equal(back.depth, starts.depth)
    save_starts(tmp_path / "plain", plain)
    assert load_starts(tmp_path / "plain").poses is None and load_starts(tmp_path / "plain").depth is None


@pytest.mark.parametrize("wrong", [{"poses": np.zeros((3, 4, 5), np.float32)}, {"depth": np.zeros((3, 5, 48, 80))}])
def test_poses_or_depth_that_do_not_fit_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        dataclasses.replace(make_starts(), **wrong)
