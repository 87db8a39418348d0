"""Counterfactuals: equal actions never diverge, other actions do, from their first different chunk on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_world import HEIGHT, WIDTH, tiny_starts, tiny_world
from worldsim.actions import MINECRAFT
from worldsim.datasets.episode import Episode
from worldsim.datasets.store import EpisodeStore, split_of
from worldsim.datasets.video import read_video, write_video
from worldsim.envs.beginnings import Beginning
from worldsim.envs.rollout import branch_futures, divergence, find_prefix, write_rollout
from worldsim.errors import UserError


def past(text: str = "0", frames: int = 5) -> Beginning:
    return find_prefix(text, tiny_world(), tiny_starts(), frames=frames, seed=3)


def actions(*yaws: float) -> np.ndarray:
    return np.stack([MINECRAFT.vector({"forward": 1, "camera": (0, yaw)}) for yaw in yaws])


def test_equal_actions_never_diverge_and_others_do_from_where_they_differ():
    same, other = actions(0, 0, 0, 0, 2, 2, 0, 0), actions(0, 0, 0, 0, -2, -2, 0, 0)
    futures = branch_futures(tiny_world(), past(), [same, other, same])
    assert futures.shape == (3, 8, HEIGHT, WIDTH, 3)
    far = divergence(futures)
    assert not far.difference[0].any() and not far.difference[2].any() and np.isinf(far.psnr[2]).all()
    assert not far.difference[1, :4].any() and (far.difference[1, 4:] > 0).all()


def test_branches_may_differ_in_length():
    futures = branch_futures(tiny_world(), past(), [actions(0, 0, 0), actions(1)])
    assert futures.shape[1] == 4


def test_same_seed_same_bytes():
    first, second = [branch_futures(tiny_world(), past(), [actions(0, 1), actions(1, 0)]) for _ in range(2)]
    np.testing.assert_array_equal(first, second)


def test_results_are_written(tmp_path: Path):
    futures = branch_futures(tiny_world(), past(), [actions(0, 0), actions(5, 5)])
    summary = write_rollout(tmp_path, past(), futures, ["a", "b"], fps=20)
    assert summary == json.loads((tmp_path / "divergence.json").read_text())
    first, second = summary["branches"]
    assert first["first_different_frame"] is None and first["last_psnr"] is None
    assert second["first_different_frame"] == 1 and second["mean_abs_difference"] > 0
    rows = list(csv.DictReader((tmp_path / "divergence.csv").open()))
    assert len(rows) == 4 and rows[0]["psnr"] == "inf" and float(rows[1]["mean_abs_difference"]) > 0
    video = read_video(tmp_path / "rollout.mp4")
    assert video.shape == (5 + 2, 2 * HEIGHT + 20, 2 * 2 * WIDTH, 3)


def test_prefixes(tmp_path: Path):
    clip = tiny_starts().frames[1]
    np.testing.assert_array_equal(past("1").frames, clip)
    np.testing.assert_array_equal(past("1", frames=3).actions, tiny_starts().actions[1][-2:])
    write_video(tmp_path / "a.mp4", clip)
    from_video = past(str(tmp_path / "a.mp4"))
    assert from_video.frames.shape == clip.shape and not from_video.actions.any()
    store = EpisodeStore(tmp_path / "store")
    frames = np.repeat(clip[:1], 12, 0)
    frames[:, 0, 0, 0] = np.arange(12)
    keys = np.zeros((12, MINECRAFT.size), np.float32)
    keys[:, -1] = np.arange(12)
    provenance = {"seed": 5, "split": split_of(5)}
    episode = Episode(
        frames=frames,
        actions=keys,
        rewards=np.zeros(12, np.float32),
        terminated=np.zeros(12, bool),
        provenance=provenance,
    )
    store.append(episode, "walk")
    begun = past(f"{tmp_path / 'store'}:walk@4")
    np.testing.assert_array_equal(begun.frames[:, 0, 0, 0], [4, 5, 6, 7, 8])
    np.testing.assert_array_equal(begun.actions[:, -1], [4, 5, 6, 7])
    assert len(past(f"{tmp_path / 'store'}:walk@9").frames) == 3
    for wrong, error in [
        (f"{tmp_path / 'store'}:walk@12", UserError),
        (f"{tmp_path / 'store'}:walk@x", UserError),
        (f"{tmp_path / 'store'}:run", FileNotFoundError),
        (f"{tmp_path / 'nostore'}:walk", FileNotFoundError),
        ("9", UserError),
        ("nothing.mp4", FileNotFoundError),
    ]:
        with pytest.raises(error):
            past(wrong)
