import numpy as np
import pytest

from worldsim.spec.actions import MINECRAFT, ActionSpec
from worldsim.spec.reversal import inverted, reversed_actions


def script(steps: int, seed: int) -> np.ndarray:
    """Walks and turns at random."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((steps, MINECRAFT.size), np.float32)
    for key in ("forward", "back", "left", "right", "sprint", "sneak"):
        actions[:, MINECRAFT.keys.index(key)] = rng.random(steps) < 0.4
    actions[:, -2:] = rng.normal(0, 4, (steps, 2))
    return actions


def walked(pose: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """A camera that goes along the mean heading of each turn: poses (F + 1, 4) of x, z, yaw, pitch."""
    poses = [pose]
    for action in actions:
        of = MINECRAFT.mapping(action)
        speed = 0.3 if of["sneak"] else 1.3 if of["sprint"] else 1.0
        ahead, aside = speed * (of["forward"] - of["back"]), speed * (of["right"] - of["left"])
        x, z, yaw, pitch = poses[-1]
        heading = np.deg2rad(yaw + action[-1] / 2)
        x += ahead * np.sin(heading) + aside * np.cos(heading)
        z += ahead * np.cos(heading) - aside * np.sin(heading)
        poses.append(np.array([x, z, yaw + action[-1], pitch + action[-2]]))
    return np.stack(poses)


@pytest.mark.parametrize("seed", range(3))
def test_reversed_and_inverted_actions_lead_a_camera_back_the_way_it_came(seed: int):
    actions = script(40, seed)
    there = walked(np.array([1.0, 2.0, 30.0, 5.0]), actions)
    # The last row of an episode's actions leads beyond it.
    back = reversed_actions(np.concatenate([actions, actions[:1]]), MINECRAFT)
    assert not back[-1].any() and not np.isnan(back).any()
    np.testing.assert_allclose(walked(there[-1], back[:-1]), there[::-1], atol=1e-4)
    # What is inverted twice is what it was.
    twice, known = inverted(inverted(actions, MINECRAFT)[0], MINECRAFT)
    assert known.all()
    np.testing.assert_array_equal(twice, actions)


@pytest.mark.parametrize("key", ["jump", "attack", "use", "drop", "inventory", "hotbar.3"])
def test_what_nothing_undoes_is_not_known(key: str):
    actions = script(3, 0)
    actions[1, MINECRAFT.keys.index(key)] = 1
    out, known = inverted(actions, MINECRAFT)
    assert known.tolist() == [True, False, True] and not out[1].any() and out[0].any()
    back = reversed_actions(np.concatenate([actions, actions[:1]]), MINECRAFT)
    assert np.isnan(back).all(1).tolist() == [False, True, False, False]


def test_a_key_whose_opposite_the_game_lacks_cannot_be_inverted():
    spec = ActionSpec(keys=("NOOP", "UP", "DOWN", "LEFT", "FIRE"), camera=False)
    out, known = inverted(np.eye(5, dtype=np.float32), spec)
    assert known.tolist() == [True, True, True, False, False]
    assert [spec.keys[i] for i in out[:3].argmax(1)] == ["NOOP", "DOWN", "UP"]
