"""Obstacles: a corridor whose wall stops the player, in a dream that has the wall and in one that has not."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.datasets.store.episode import Episode
from worldsim.errors import UserError
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.parts.obstacles import KINDS, metres_dreamt, obstacle_report, walks_after
from worldsim.spec.actions import MINECRAFT

PACE, PAST, FRAMES = 0.2, 9, 20


def corridor(wall: float, frames: int = 80, released: int = 80) -> Episode:
    """Holding forward towards a wall at so many metres, until the key is let go."""
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:released, 0] = 1
    place = np.zeros((frames, 3))
    for t in range(frames - 1):
        place[t + 1, 2] = min(wall, place[t, 2] + PACE * (actions[t, 0] > 0))
    return Episode(
        frames=np.zeros((frames, 8, 8, 3), np.uint8), actions=actions, rewards=np.zeros(frames, np.float32),
        terminated=np.zeros(frames, bool), state={"position": place}, text="", provenance={}, events=[],
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(wall=st.floats(0.5, 30), released=st.integers(0, 80))
def test_a_walk_is_blocked_or_free_and_never_both(wall: float, released: int):
    episode = corridor(wall, released=released)
    found = {kind: walks_after(PAST, FRAMES, kind, 20)(episode) for kind in KINDS}
    assert not (found["blocked"] & found["free"]).any()
    for kind in KINDS:
        for t in np.flatnonzero(found[kind]):
            now = t + PAST - 1
            walked = episode.state["position"][now + FRAMES, 2] - episode.state["position"][now, 2]
            assert (walked < 0.6) if kind == "blocked" else (walked > 2.5)
            # The key is held in all frames that lead through the second, and was before.
            assert released >= now + FRAMES and now >= 5


def test_both_kinds_are_found_on_the_way_to_a_wall():
    found = {kind: walks_after(PAST, FRAMES, kind, 20)(corridor(8.0)) for kind in KINDS}
    # The wall is reached after 40 frames.
    assert found["free"].any() and np.flatnonzero(found["free"]).max() + PAST - 1 + FRAMES <= 47
    assert found["blocked"].any() and np.flatnonzero(found["blocked"]).min() + PAST - 1 + FRAMES >= 57


def test_recordings_without_positions_are_refused():
    episode = replace(corridor(8.0), state={})
    with pytest.raises(UserError, match="no position"):
        walks_after(PAST, FRAMES, "free", 20)(episode)


class Corridor:
    """Dreams the corridor: ``solid`` has the wall, which is told by the past's last picture in metres."""

    chunk = 2
    memory = None

    def __init__(self, solid: bool):
        self.solid = solid

    def prefill(self, frames: np.ndarray, actions: np.ndarray, seeds: list[int], **known: Any) -> Any:
        assert len(frames) == len(seeds)
        return SimpleNamespace(left=frames[:, -1, 0, 0, 0].astype(float), pose=torch.zeros(len(frames), 5))

    def step(self, state: Any, actions: np.ndarray) -> tuple[Any, None]:
        pace = PACE * (actions[:, :, 0] > 0).sum(1)
        gone = state.pose[:, 2].numpy()
        pose = state.pose.clone()
        pose[:, 2] = torch.from_numpy(np.minimum(gone + pace, state.left) if self.solid else gone + pace)
        return SimpleNamespace(left=state.left, pose=pose), None


@pytest.mark.parametrize("solid", [True, False])
def test_a_dream_with_the_wall_stops_and_one_without_does_not(solid: bool):
    world: Any = Corridor(solid)
    actions = np.zeros((6, PAST + FRAMES, MINECRAFT.size), np.float32)
    actions[..., 0] = 1
    dreamt, maps = {}, {}
    for kind, metres in (("blocked", 0), ("free", 100)):
        frames = np.full((6, PAST + FRAMES + 1, 8, 8, 3), metres, np.uint8)
        maps[kind] = np.arange(6) // 2
        clips = Clips(
            frames=frames, actions=actions, maps=maps[kind], pitch=np.zeros((6, PAST + FRAMES + 1), np.float32)
        )
        dreamt[kind] = metres_dreamt(world, clips, PAST, FRAMES // 2, rows=4)
    assert dreamt["free"] == pytest.approx(PACE * FRAMES) and dreamt["blocked"].shape == (6,)
    report = obstacle_report(dreamt, maps, 1.0, 0.5)
    assert report["least_metres"] == pytest.approx(PACE * FRAMES / 2)
    assert report["blocked"]["stops"]["value"] == solid and report["free"]["stops"]["value"] == 0
    assert report["blocked"]["metres"]["value"] == pytest.approx(0 if solid else PACE * FRAMES)
