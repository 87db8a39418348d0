"""Players that rest and come back: exactly the same view and place, and rest is no trouble."""

import numpy as np
import pytest

from tests.agents.policies.test_policies import play
from tests.fake_engine import FakeEngine
from worldsim.agents.policies.body import wrap_degrees
from worldsim.agents.policies.mixture import make_policy
from worldsim.agents.policies.return_scripts import RESTING
from worldsim.agents.policies.scripts import SCRIPTS
from worldsim.spec.actions import MINECRAFT

FORWARD, ATTACK, USE = (MINECRAFT.keys.index(key) for key in ("forward", "attack", "use"))


def turned(pose: dict, frame: int = 0) -> np.ndarray:
    """Degrees between each view and that of a frame, the larger of yaw and pitch."""
    yaw = np.abs([wrap_degrees(angle) for angle in pose["yaw"] - pose["yaw"][frame]])
    return np.maximum(yaw, np.abs(pose["pitch"] - pose["pitch"][frame]))


def stretches(idle: np.ndarray) -> np.ndarray:
    """Lengths of the stretches of frames without any action."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], idle.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_who_rests_presses_nothing_for_seconds_even_where_the_picture_stands_still():
    actions, _ = play(make_policy("rest"), 1500, env=FakeEngine(0, frozen=True))
    idle = np.abs(actions).sum(1) == 0
    assert idle.mean() > 0.8
    assert stretches(idle)[:-1].min() >= 40 and stretches(idle).max() <= 181


def test_others_turn_away_where_the_picture_stands_still():
    actions, _ = play(make_policy("still"), 300, env=FakeEngine(0, frozen=True))
    assert actions[:, MINECRAFT.keys.index("back")].any()


@pytest.mark.parametrize("seed", range(6))
def test_looking_round_ends_in_exactly_the_first_view(seed: int):
    actions, pose = play(make_policy("look_round"), 500, seed=seed)
    walks = int(actions[:, FORWARD].argmax())
    assert walks > 40 and turned(pose)[:walks].max() > 55
    # Ten frames and more of rest before, and after: the views are the same to the pixel.
    assert turned(pose)[walks - 10 : walks + 1].max() < 0.01
    assert np.ptp(pose["position"][: walks + 1], axis=0).max() == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_loop_leads_five_metres_away_and_back_to_place_and_view(seed: int):
    actions, pose = play(make_policy("loop"), 700, seed=seed)
    away = np.linalg.norm(pose["position"] - pose["position"][0], axis=1)
    there = int((away > 4.5).argmax())
    back = there + int(((away < 0.2) & (turned(pose) < 0.01))[there:].argmax())
    assert there > 0 and back > there
    assert not actions[back : back + 20].any()  # it rests, and looks at where it began


def test_loops_have_two_corners_or_one():
    corners = set()
    for seed in range(8):
        _, pose = play(make_policy("loop"), 250, seed=seed)
        x, z = (pose["position"][:, [0, 2]] - pose["position"][0, [0, 2]]).T
        away = np.hypot(x, z)
        first = int(away[:80].argmax())
        end = first + int((away[first:] < 0.2).argmax())
        # A second corner lies off the line from A to B.
        aside = np.abs(x * z[first] - z * x[first])[:end] / away[first]
        corners.add(bool(aside.max() > 2))
    assert corners == {True, False}


def test_a_mirrored_walk_comes_back():
    _, pose = play(make_policy("mirror"), 400, seed=3)
    away = np.linalg.norm(pose["position"] - pose["position"][0], axis=1)
    furthest = int(away[:100].argmax())
    back = furthest + int(((away < 0.3) & (turned(pose) < 0.5))[furthest:].argmax())
    assert away[furthest] > 1.5 and back > furthest


@pytest.mark.parametrize("key", [ATTACK, USE])
def test_what_was_changed_is_looked_at_again_from_the_same_place(key: int):
    plays = (play(make_policy("alter"), 400, seed=seed) for seed in range(10))
    actions, pose = next(played for played in plays if played[0][:80, key].any())
    last = int(np.flatnonzero(actions[:80, key])[-1])
    seen = last + 20  # the block is in view, before the player looks away
    away = seen + int((turned(pose, seen)[seen:] > 55).argmax())
    again = away + int((turned(pose, seen)[away:] < 20).argmax())
    assert away > seen and again > away
    np.testing.assert_array_equal(pose["position"][again], pose["position"][last])


def test_resting_scripts_are_scripts():
    assert set(SCRIPTS) >= RESTING
