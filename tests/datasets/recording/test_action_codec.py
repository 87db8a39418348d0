"""Any action space as named keys: what is played is what is recorded, and the other way round."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.datasets.recording.action_codec import SpaceCodec
from worldsim.spec.actions import MINECRAFT

CAMERA: dict[str, spaces.Space[Any]] = {"camera": spaces.Box(-180.0, 180.0, (2,), np.float32)}
MINERL = spaces.Dict(CAMERA | {key: spaces.Discrete(2) for key in MINECRAFT.keys})
SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(5),
    "shifted": spaces.Discrete(3, start=-1),
    "multidiscrete": spaces.MultiDiscrete([3, 2, 4]),
    "grid": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    "multibinary": spaces.MultiBinary(6),
    "box": spaces.Box(np.array([-1, 0, -2, 3], np.float32), np.array([1, 1, 5, 7], np.float32)),
    "whole": spaces.Box(0, 255, (2,), np.uint8),
    "minerl": MINERL,
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,)))),
    "nested": spaces.Dict({"arm": spaces.Dict({"grip": spaces.Discrete(2), "turn": spaces.Discrete(4)})}),
}


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_actions_and_vectors_are_each_others_inverse(name: str, seed: int):
    space = SPACES[name]
    codec, rng = SpaceCodec(space), np.random.default_rng(seed)
    space.seed(seed)
    action = space.sample()
    again = codec.action(codec.vector(action))
    assert space.contains(again)
    flat, flat_again = (np.concatenate([np.ravel(v) for v in _leaves(a)]) for a in (action, again))
    np.testing.assert_allclose(flat_again, flat, rtol=1e-5, atol=1e-5)
    vector = codec.sample(rng)
    assert vector.shape == (codec.spec.size,) and vector.dtype == np.float32
    assert space.contains(codec.action(vector))
    np.testing.assert_allclose(codec.vector(codec.action(vector)), vector, rtol=1e-5, atol=1e-5)


def _leaves(action: Any) -> list[Any]:
    if isinstance(action, dict):
        return [leaf for value in action.values() for leaf in _leaves(value)]
    return [leaf for value in action for leaf in _leaves(value)] if isinstance(action, tuple) else [action]


def test_names():
    meanings = ["NOOP", "FIRE", "RIGHT", "UP LEFT"]
    assert SpaceCodec(spaces.Discrete(4), meanings).spec.keys == ("noop", "fire", "right", "up_left")
    # Names that do not fit are not used.
    assert SpaceCodec(spaces.Discrete(3), meanings).spec.keys == ("action.0", "action.1", "action.2")
    assert SpaceCodec(spaces.Discrete(2), ["A", "a"]).spec.keys == ("action.0", "action.1")
    assert SpaceCodec(spaces.MultiDiscrete([2, 2])).spec.keys == ("choice0.0", "choice0.1", "choice1.0", "choice1.1")
    assert SpaceCodec(spaces.Box(-1, 1, (2,))).spec.keys == ("axis.0", "axis.1")
    assert SpaceCodec(MINERL).spec == MINECRAFT
    assert SpaceCodec(SPACES["nested"]).spec.keys == (
        "arm.grip",
        "arm.turn.0",
        "arm.turn.1",
        "arm.turn.2",
        "arm.turn.3",
    )


def test_nothing_pressed_is_the_option_that_does_nothing():
    codec = SpaceCodec(spaces.Discrete(3), ["LEFT", "NOOP", "RIGHT"])
    assert codec.action(np.zeros(3)) == 1
    np.testing.assert_array_equal(codec.noop(), [0, 1, 0])
    racing = SpaceCodec(spaces.Box(np.array([-1, 0], np.float32), np.array([1, 1], np.float32)))
    np.testing.assert_array_equal(racing.action(racing.noop()), [0, 0])


def test_mistakes_are_told():
    codec = SpaceCodec(spaces.Discrete(3), ["noop", "left", "right"])
    with pytest.raises(ValueError, match="left and right exclude each other"):
        codec.action([0, 1, 1])
    with pytest.raises(ValueError, match="3 finite numbers"):
        codec.action([0, 1])
    with pytest.raises(ValueError, match="not one of 3 options"):
        codec.vector(3)
    with pytest.raises(ValueError, match="cannot be recorded"):
        SpaceCodec(spaces.Text(4))
    with pytest.raises(ValueError, match="has no '"):
        SpaceCodec(MINERL).vector({})
