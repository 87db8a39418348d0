"""Luanti beside a dream: put to where a start clip was recorded, or told that it cannot be."""

from typing import Any

import numpy as np
import pytest

from tests.fake_engine import FakeEngine
from worldsim.envs.learned.initial_context import InitialContext
from worldsim.envs.play.real.luanti import IDLE, RealLuanti
from worldsim.spec.actions import MINECRAFT

ABOUT = {"engine": "luanti", "seed": 5, "mapgen": "v7", "start": {"time_of_day": 0.4}}


PLACE = (12.5, 8.0, -3.0)


class PlacedEngine(FakeEngine):
    """Can be put to a place; ``rock``: to none above the ground's height 10 that is told with its height."""

    told: list[dict[str, Any]]

    def __init__(self, *, rock: bool = False):
        super().__init__(5)
        self.told, self.rock, self.head = [], rock, "air"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.told.append(dict(options or {}))
        _, _ = super().reset(seed=seed, options=options)
        place = (options or {}).get("position")
        if place is not None:
            x, y, z = place if len(place) == 3 else (place[0], 10.0, place[1])
            self.position = np.array([x, y, z])
        self.head = "default:stone" if self.rock and place is not None and len(place) == 3 else "air"
        return self._picture(), self._info(MINECRAFT.noop())

    def _info(self, executed: Any) -> dict[str, Any]:
        return super()._info(executed) | {"node_head": self.head}


def clip() -> InitialContext:
    """A start that was recorded while walking to a place."""
    poses = np.zeros((7, 5), np.float32)
    poses[:, :3], poses[:, 3], poses[:, 4] = PLACE, 30, 4
    poses[:, 0] += np.arange(-6, 1)
    actions = np.tile(MINECRAFT.vector({"forward": 1}), (6, 1))
    return InitialContext(frames=np.zeros((7, 16, 24, 3), np.uint8), actions=actions, seed=0, start=0, poses=poses)


def test_it_stands_where_the_clip_ends_and_plays_from_there():
    engine = PlacedEngine()
    real = RealLuanti(lambda: engine)
    past = real.begin(clip(), ABOUT, 7)
    [options] = engine.told
    assert options["map_seed"] == 5 and options["time_of_day"] == 0.4 and not options["fresh"]
    assert options["position"] == PLACE and (options["yaw"], options["pitch"]) == (30, 4)
    assert past.same_start and "to 0.00 m" in past.words
    assert len(past.frames) == IDLE + 1 and not past.actions.any() and past.actions.shape == (IDLE, MINECRAFT.size)
    assert past.poses is not None
    np.testing.assert_allclose(past.poses, np.tile([*PLACE, 30, 4], (IDLE + 1, 1)))
    frames = real.advance(np.tile(MINECRAFT.vector({"forward": 1, "camera": (0, 3)}), (2, 1)))
    assert frames.shape == (2, 16, 24, 3) and engine.yaw == 36 and engine.position[0] > PLACE[0]
    # What was dug must not be there the next time.
    real.advance(MINECRAFT.vector({"attack": 1})[None])
    real.begin(clip(), ABOUT, 7)
    real.begin(clip(), ABOUT, 7)
    assert [one["fresh"] for one in engine.told] == [False, True, False]
    real.close()
    assert engine.closed


def test_where_rock_is_in_the_way_it_stands_above_and_says_how_far():
    engine = PlacedEngine(rock=True)
    past = RealLuanti(lambda: engine).begin(clip(), ABOUT, 7)
    assert [len(one["position"]) for one in engine.told] == [3, 2]
    # Two metres up, no more: the same place.
    assert past.same_start and "to 2.00 m" in past.words
    deep = clip()
    assert deep.poses is not None
    deep.poses[:, 1] = 3
    past = RealLuanti(lambda: PlacedEngine(rock=True)).begin(deep, ABOUT, 7)
    assert not past.same_start and past.words.startswith("7.0 m from")


@pytest.mark.parametrize("what", ["no poses", "no provenance"])
def test_a_place_of_its_own_is_said_to_be_one(what: str):
    start, engine = clip(), PlacedEngine()
    if what == "no poses":
        start = InitialContext(frames=start.frames, actions=start.actions, seed=0)
    past = RealLuanti(lambda: engine).begin(start, {} if what == "no provenance" else ABOUT, 7)
    assert not past.same_start and "own" in past.words and "position" not in engine.told[0]
