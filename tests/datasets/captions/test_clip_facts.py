from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldsim.datasets.captions.clip_facts import block_name, clip_facts
from worldsim.datasets.store.episode import Episode
from worldsim.spec.actions import MINECRAFT


def make_clip(
    frames: int = 33, held: dict[str, Any] | None = None, state: dict[str, Any] | None = None, **more: Any
) -> Episode:
    """A clip in which keys are held: name to a slice of transitions, or a value for the camera."""
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    for name, where in (held or {}).items():
        if name in ("pitch", "yaw"):
            actions[:-1, -2 if name == "pitch" else -1] = where
        else:
            actions[:-1][where, MINECRAFT.keys.index(name)] = 1
    provenance = {"keys": list(MINECRAFT.keys)} | more.pop("provenance", {})
    return Episode(
        frames=np.zeros((frames, 8, 8, 3), np.uint8),
        actions=actions,
        rewards=np.zeros(frames, np.float32),
        terminated=np.zeros(frames, bool),
        state=state or {},
        provenance=provenance,
        **more,
    )


ALL = slice(None)


@pytest.mark.parametrize(
    ("held", "activities"),
    [
        ({"forward": ALL}, ("forward",)),
        ({"forward": ALL, "sprint": ALL}, ("sprint",)),
        ({"forward": ALL, "back": ALL}, ("still",)),
        ({"forward": slice(0, 16), "left": slice(16, None)}, ("forward", "left")),
        ({"right": slice(0, 8), "back": slice(8, 24), "jump": slice(24, None)}, ("right", "back", "jump")),
        ({"attack": ALL, "forward": ALL}, ("dig",)),
        ({}, ("still",)),
    ],
)
def test_activities_over_time(held: dict[str, Any], activities: tuple[str, ...]):
    assert clip_facts(make_clip(held=held)).activities == activities


def test_blocks_and_water_and_light_and_height_are_told():
    position = np.zeros((33, 3), np.float32)
    position[:, 1] = np.linspace(0, 3, 33)
    state = {"light": np.full(33, 3, np.int16), "in_water": np.arange(33) < 16, "position": position}
    events = [
        {"frame": 20, "kind": "place", "node": "default:torch"},
        {"frame": 30, "kind": "dig", "node": "default:dirt_with_grass"},
    ]
    facts = clip_facts(
        make_clip(state=state, events=events, provenance={"biome": "desert", "start": {"time_of_day": 0.5}})
    )
    assert facts.activities == ("swim", "place", "dig") and (facts.light, facts.climbed) == ("dark", 3.0)
    assert facts.placed == (("torch", 1),) and facts.dug == (("dirt with grass", 1),)
    assert (facts.place, facts.time) == (" in a desert", "at noon")
    assert block_name("air") == "air"


@pytest.mark.parametrize(
    ("yaw", "pitch", "camera"),
    [(2.0, 0.0, "right"), (-2.0, 0.0, "left"), (0.1, 1.0, "down"), (0.1, -1.0, "up"), (0.0, 0.1, "still")],
)
def test_the_camera_is_read_from_actions_and_from_pose(yaw: float, pitch: float, camera: str):
    by_actions = clip_facts(make_clip(held={"yaw": yaw, "pitch": pitch}))
    turned = (np.arange(33) * yaw + 170 + 180) % 360 - 180
    by_pose = clip_facts(
        make_clip(state={"yaw": turned.astype(np.float32), "pitch": (np.arange(33) * pitch).astype(np.float32)})
    )
    assert by_actions.camera == by_pose.camera == camera
    assert abs(by_actions.degrees - by_pose.degrees) < 0.1


def test_looking_away_and_back_is_a_sweep():
    clip = make_clip(held={"yaw": np.repeat([2.0, -2.0], 16)})
    assert clip_facts(clip).camera == "sweep"


def test_where_nothing_is_known_nothing_is_said():
    unknown = make_clip(held={"forward": ALL, "yaw": 3.0}, provenance={"actions": "unknown"})
    other = replace(unknown, provenance={"keys": ["noop", "fire"] + [f"k{i}" for i in range(20)]})
    for clip in (unknown, other, make_clip(frames=1)):
        facts = clip_facts(clip)
        assert (facts.activities, facts.camera, facts.place, facts.time, facts.light) == ((), "", "", "", "")
