"""Another size or rate: actions stay between the frames they lay between."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.import_film import HEIGHT, WIDTH, assert_aligned, film, random_actions, shown_actions
from worldsim.datasets.importers.recording import Footage, piece
from worldsim.datasets.importers.resample import join_actions, kept_frames, resample
from worldsim.spec.actions import MINECRAFT


def footage_of(frames: int = 24, fps: float = 20, **changes: Any) -> Footage:
    actions = random_actions(frames)
    pictures = film(actions)

    def play() -> Iterator[np.ndarray]:
        return iter(pictures)

    options: dict[str, Any] = {
        "frames": play,
        "actions": actions,
        "rewards": np.append(np.ones(frames - 1, np.float32), np.float32(0)),
        "terminated": np.arange(frames) == frames - 1,
        "provenance": {"keys": list(MINECRAFT.keys), "fps": fps},
        "state": {"tick": np.arange(frames)},
    }
    return Footage(**options | changes)


def episode_of(footage: Footage):
    return piece(footage, np.stack(list(footage.frames())), 0, {})


@given(
    length=st.integers(1, 200),
    native=st.floats(1, 240),
    share=st.floats(0.02, 1),
)
def test_kept_frames_rise_from_the_first_at_the_rate_wanted(length: int, native: float, share: float):
    fps = native * share
    kept = kept_frames(length, native, fps)
    assert kept[0] == 0 and (np.diff(kept) > 0).all() and kept[-1] < length
    np.testing.assert_array_less(np.abs(kept / native - np.arange(len(kept)) / fps), 0.5 / native + 1e-6)
    # Nothing that fits is left out: another frame at that rate would lie beyond the end.
    assert len(kept) / fps > (length - 1) / native - 1e-5


@given(data=st.data(), frames=st.integers(2, 40))
def test_joining_loses_no_press_and_no_turn(data: st.DataObject, frames: int):
    actions = random_actions(frames, data.draw(st.integers(0, 1000)))
    others = data.draw(st.sets(st.integers(1, frames - 1), min_size=1))
    kept = np.array(sorted({0} | others))
    joined = join_actions(actions, kept, camera=True)
    np.testing.assert_allclose(joined[:, -2:].sum(0), actions[: kept[-1], -2:].sum(0), atol=1e-3)
    assert set(np.unique(joined[:, :-2])) <= {0.0, 1.0} and not joined[-1].any()
    for k in range(len(kept) - 1):
        stretch = actions[kept[k] : kept[k + 1]]
        np.testing.assert_array_equal(joined[k, :-2], stretch[:, :-2].max(0))
        np.testing.assert_allclose(joined[k, -2:], stretch[:, -2:].sum(0), atol=1e-4)


@pytest.mark.parametrize("fps", [20, 19.99, 15, 10, 7, 5, 1])
def test_every_kept_picture_follows_the_last_action_before_it(fps: float):
    """A picture shows the action of the native frame before it: it must be the last of those joined."""
    footage = footage_of()
    kept = kept_frames(24, 20, fps)
    episode = episode_of(resample(footage, fps=fps))
    assert len(episode) == len(kept) and episode.provenance["fps"] == fps
    np.testing.assert_array_equal(episode.state["tick"], kept)
    if len(kept) > 1:
        shown = shown_actions(episode.frames, 22)
        np.testing.assert_allclose(shown, footage.actions[kept[1:] - 1], atol=0.1)
        assert (shown[:, :-2] <= episode.actions[:-1, :-2]).all()


def test_rewards_are_summed_ends_and_events_stay():
    events = [{"frame": f, "kind": str(f)} for f in (0, 3, 4, 21, 23)]
    episode = episode_of(resample(footage_of(events=events), fps=5))
    assert episode.rewards.tolist() == [4, 4, 4, 4, 4, 0]
    assert episode.terminated.tolist() == [False] * 5 + [True]
    # Frames 0, 4, 8, ... stay; what is seen in frame 3 is first seen in frame 4; after frame 20 nothing is shown.
    assert [(e["kind"], e["frame"]) for e in episode.events] == [("0", 0), ("3", 1), ("4", 1)]
    assert episode.provenance["native_fps"] == 20


def test_a_stick_is_averaged():
    actions = np.array([[1, 0.5], [0, -0.5], [0, 1.0], [0, 0.0], [0, 0]], np.float32)
    out = join_actions(actions, np.array([0, 2, 4]), camera=False, axes=[1])
    np.testing.assert_allclose(out, [[1, 0], [0, 0.5], [0, 0]])


def test_uneven_frames_are_chosen_by_their_times():
    times = np.array([0, 0.01, 0.1, 0.11, 0.12, 0.2, 0.33, 0.4])
    assert kept_frames(8, 20, 10, times).tolist() == [0, 2, 5, 6, 7]


def test_scaling_changes_pictures_only():
    footage = footage_of()
    episode = episode_of(resample(footage, size=(2 * WIDTH, 2 * HEIGHT)))
    assert episode.frames.shape == (24, 2 * HEIGHT, 2 * WIDTH, 3)
    assert_aligned(episode)
    small = episode_of(resample(footage, size=(WIDTH // 2, HEIGHT // 2), fps=10))
    assert small.frames.shape == (12, HEIGHT // 2, WIDTH // 2, 3)
    np.testing.assert_array_equal(small.actions, episode_of(resample(footage, fps=10)).actions)
    assert resample(footage) is footage


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="cannot be raised to 30"):
        resample(footage_of(), fps=30)
    with pytest.raises(ValueError, match="must be positive"):
        resample(footage_of(), fps=0)
    with pytest.raises(ValueError, match="must be positive"):
        resample(footage_of(), size=(0, 10))


def test_depth_is_scaled_with_its_pictures_without_a_distance_in_between():
    depth = np.arange(24, dtype=np.uint16)[:, None, None] + np.where(np.arange(WIDTH) < WIDTH // 2, 1000, 9000)
    depth = np.broadcast_to(depth, (24, HEIGHT, WIDTH)).astype(np.uint16)
    scaled = resample(footage_of(state={"depth": depth}), size=(WIDTH // 2, HEIGHT // 2), fps=10)
    episode = episode_of(scaled)
    assert episode.state["depth"].shape == episode.frames.shape[:3]
    assert [np.unique(d).tolist() for d in episode.state["depth"][:2]] == [[1000, 9000], [1002, 9002]]
