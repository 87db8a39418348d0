"""What a rollout leaves behind, and the pasts it can begin from."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_world import HEIGHT, WIDTH, tiny_starts, tiny_world
from tests.video_files import turn_video
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.datasets.store.video import read_video, write_video
from worldsim.envs.learned.initial_context import InitialContext, choose, prefill
from worldsim.envs.rollouts.prefix import find_prefix, find_recorded
from worldsim.envs.rollouts.rollout import divergence, write_rollout
from worldsim.envs.rollouts.tree_picture import draw_tree
from worldsim.errors import UserError
from worldsim.evaluation.measures.clips import read_clips
from worldsim.plotting.drawing import FAINT, PAPER, colour_of, fitting
from worldsim.simulation.branch_tree import nodes_of
from worldsim.simulation.branching import Tree, expand_tree
from worldsim.spec.actions import MINECRAFT


def past(text: str = "0", frames: int = 5) -> InitialContext:
    return find_prefix(text, tiny_world(), tiny_starts(), frames=frames, seed=3)


def grown(*items) -> Tree:
    world, begun = tiny_world(), past()
    return expand_tree(world, prefill(world, [begun]), nodes_of(items, world.spec, 20), frame=begun.frames[-1])


def test_divergence_is_zero_for_equal_pictures_and_counts_from_the_first_branch():
    futures = np.zeros((3, 4, 6, 8, 3), np.uint8)
    futures[1, 2:] = 10
    far = divergence(futures)
    assert not far.difference[0].any() and not far.difference[2].any() and np.isinf(far.psnr[2]).all()
    assert far.difference[1].tolist() == [0, 0, 10, 10]
    assert far.psnr[1, 3] == pytest.approx(20 * np.log10(255 / 10))


def test_results_are_written(tmp_path: Path):
    tree = grown(("forward 2", ["wait 2", "yaw +20 x 2"]), "forward 2; wait 2")
    films = [branch.frames for branch in tree.branches]
    summary = write_rollout(tmp_path, past(), tree, fps=20, truth=films, scores={"psnr": 3.0}, task="metres")
    assert summary == json.loads((tmp_path / "divergence.json").read_text())
    first, second, third = summary["branches"]
    assert first["first_different_frame"] is None and first["last_psnr"] is None
    assert second["first_different_frame"] == 3 and second["mean_abs_difference"] > 0
    assert third["first_different_frame"] is None and third["reward"] == first["reward"]
    assert summary["engine"] == {"psnr": 3.0} and summary["task"] == "metres"
    assert first["reward"] == pytest.approx(tree.branches[0].rewards.sum(), abs=1e-5)
    assert [s["parent"] for s in summary["segments"]] == [-1, 0, 0, -1] and second["segments"] == [0, 2]
    rows = list(csv.DictReader((tmp_path / "divergence.csv").open()))
    assert len(rows) == 12 and rows[0]["psnr"] == "inf" and float(rows[10]["mean_abs_difference"]) > 0
    # Three panes in a row, those of the engine below.
    assert read_video(tmp_path / "rollout.mp4").shape == (5 + 4, 2 * (2 * HEIGHT + 20), 3 * 2 * WIDTH, 3)
    for number in (1, 2, 3):
        assert read_video(tmp_path / f"branch-{number}.mp4").shape == (5 + 4, 2 * HEIGHT, 2 * WIDTH, 3)
    assert not (tmp_path / "branch-4.mp4").exists()
    for name in ("tree.png", "divergence.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_tree_shows_every_end_and_its_colour_and_the_engine_beside_it():
    tree = grown(("forward 2", ["wait 2", ("back 2", ["jump 2", "left 2"])]), "right 6")
    labels = [f"{i}" for i in range(4)]
    plain, beside = draw_tree(past().frames, tree, labels=labels), draw_tree(past().frames, tree, labels=labels, truth=[
        np.full_like(branch.frames, 77) for branch in tree.branches
    ])  # fmt: skip
    assert beside.shape[1] > plain.shape[1] and plain.dtype == np.uint8
    scale = max(1, round(144 / WIDTH))
    for picture in (plain, beside):
        for number, branch in enumerate(tree.branches):
            assert (picture == colour_of(number)).all(-1).sum() > 2 * 3 * scale * HEIGHT
            thumb = branch.frames[-1].repeat(scale, 0).repeat(scale, 1)
            assert _contains(picture, thumb), number
    assert (beside == 77).all(-1).sum() >= 4 * HEIGHT * WIDTH * scale**2
    assert (beside == FAINT).all(-1).any() and (plain == PAPER).all(-1).mean() > 0.2


def _contains(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether a part stands somewhere in a picture."""
    windows = np.argwhere((picture[: -len(part) + 1, : -part.shape[1] + 1] == part[0, 0]).all(-1))
    return any(np.array_equal(picture[y : y + part.shape[0], x : x + part.shape[1]], part) for y, x in windows)


def test_labels_fit():
    lines = fitting("walk forward and then turn to the right for a long while", 100, 18, 2)
    assert len(lines) == 2 and lines[1].endswith("...")
    assert fitting("short", 100) == ["short"]


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
    # To play it again takes the actions from the very first frame on.
    whole = find_recorded(f"{tmp_path / 'store'}:walk@4", 5)
    np.testing.assert_array_equal(whole.frames[:, 0, 0, 0], np.arange(9))
    with pytest.raises(UserError, match="only an episode"):
        find_recorded(str(tmp_path / "a.mp4"), 5)
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


def test_a_past_has_the_poses_that_were_recorded(tmp_path: Path):
    """As ``reset`` has them: else a world with a spatial memory takes the camera to be level."""
    poses = np.random.default_rng(0).normal(size=(4, 5, 5)).astype(np.float32)
    depth = np.arange(4 * 48 * 80, dtype=np.uint16).reshape(4, 48, 80)
    starts = replace(tiny_starts(), poses=poses, depth=depth)
    short = find_prefix("2", tiny_world(), starts, frames=4, seed=3)
    np.testing.assert_array_equal(short.poses, poses[2, -3:])
    begun = choose(tiny_world(), starts, np.random.default_rng(0), {"start": 2})
    whole = find_prefix("2", tiny_world(), starts, frames=33, seed=3)
    np.testing.assert_array_equal(whole.poses, begun.poses)
    for one in (short, begun, whole):
        np.testing.assert_array_equal(one.depth, depth[2])
    assert whole.start == begun.start == 2 and past("2").poses is None
    store, number = EpisodeStore(tmp_path / "store"), np.arange(12, dtype=np.float32)
    episode = Episode(
        frames=np.repeat(starts.frames[1][:1], 12, 0),
        actions=np.zeros((12, MINECRAFT.size), np.float32),
        rewards=np.zeros(12, np.float32),
        terminated=np.zeros(12, bool),
        state={
            "position": np.stack([number] * 3, 1),
            "yaw": 10 + number,
            "pitch": 20 + number,
            "depth": np.repeat(depth[0][None], 12, 0) + np.arange(12, dtype=np.uint16)[:, None, None],
        },
        provenance={"seed": 5, "split": split_of(5)},
    )
    store.append(episode, "walk")
    recorded = find_prefix(f"{tmp_path / 'store'}:walk@4", tiny_world(), starts, frames=5, seed=3)
    np.testing.assert_array_equal(recorded.poses, [[n, n, n, 10 + n, 20 + n] for n in range(4, 9)])
    np.testing.assert_array_equal(recorded.depth, depth[0] + 8)
    clips = read_clips(store, [("walk", 2), ("walk", 3)], 8).between(1, 5)
    for some, lasts in ((clips, (6, 7)), (clips.part(slice(1, 2)), (7,))):
        np.testing.assert_array_equal(some.last_depth(), [depth[0] + n for n in lasts])


def test_a_past_from_a_phone_is_shown_upright(tmp_path: Path):
    world = tiny_world()
    # Dark above, light below, stored lying on its side.
    shown = np.repeat(np.array([20, 220], np.uint8), 16 * 48 * 3).reshape(1, 32, 48, 3)
    stored = np.ascontiguousarray(np.rot90(np.repeat(shown, 4, 0), 1, (1, 2)))
    write_video(tmp_path / "a.mp4", stored, crf=4)
    turn_video(tmp_path / "a.mp4", "clockwise")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(stored[0]).save(tmp_path / "a.png", exif=exif)
    for name in ("a.mp4", "a.png"):
        frame = past(str(tmp_path / name)).frames[-1]
        half = world.config.height // 2
        assert frame[: half - 2].mean() < 40 and frame[half + 2 :].mean() > 200
