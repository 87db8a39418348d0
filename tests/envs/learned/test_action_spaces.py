"""Games of keys alone as one whole number. (Minecraft's spaces: see test_world_env.py.)"""

import numpy as np
import pytest

from worldsim.envs.learned.action_spaces import DiscreteActions, make_actions, single
from worldsim.errors import UserError
from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import script_actions
from worldsim.spec.actions import MINECRAFT, ActionSpec

PONG = ActionSpec(keys=("noop", "up", "down"), camera=False)


def test_each_number_presses_its_key_and_comes_back():
    actions = make_actions(PONG, "discrete")
    assert isinstance(actions, DiscreteActions) and actions.space.n == 3
    np.testing.assert_array_equal(actions.vectors(np.array([2, 0, 1])), np.eye(3)[[2, 0, 1]])
    assert [actions.nearest(vector) for vector in np.eye(3)] == [0, 1, 2]
    np.testing.assert_array_equal(actions.vectors(single(np.int64(1))), [[0, 1, 0]])


@pytest.mark.parametrize(
    ("spec", "suits"),
    [
        (MINECRAFT, "multidiscrete"),
        (PONG, "discrete"),
        (ActionSpec(keys=(), camera=True), "multidiscrete"),
        (ActionSpec(keys=("left", "fire"), camera=False), "multidiscrete"),
    ],
)
def test_unnamed_it_is_what_suits_the_game(spec: ActionSpec, suits: str):
    assert make_actions(spec).space == make_actions(spec, suits).space


@pytest.mark.parametrize("wrong", [3, -1, 0.5, [0, 1]])
def test_what_is_outside_the_space_is_refused(wrong):
    with pytest.raises(UserError):
        make_actions(PONG, "discrete").vectors(single(wrong))


def test_a_game_with_a_camera_is_refused():
    with pytest.raises(UserError, match="camera"):
        make_actions(MINECRAFT, "discrete")
    with pytest.raises(UserError, match="discrete"):
        make_actions(PONG, "continuous")


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(9, int), 3, None, "forward", [], {"forward": None}, {"forward": "1"}, {"forward": [1, 1]},
        {"forward": 2},
        {"camera": [1e30, 0]}, {"camera": [1e300, 0]}, {"camera": [180.1, 0]}, {"camera": [0, -181]}, {"camera": None},
        {"camera": [np.nan, 0]}, {"camera": 3}, {"camera": ["a", "b"]}, {"camera": [[1], [2, 3]]}, {"fly": 1},
        {None: 1},
    ],
    ids=repr,
)  # fmt: skip
def test_minerls_form_refuses_what_its_space_does_not_hold(wrong):
    with pytest.raises(UserError) as caught:
        make_actions(MINECRAFT, "minerl").vectors(single(wrong))
    assert str(caught.value) and "\n" not in str(caught.value)


def test_minerls_form_takes_all_that_its_space_holds():
    actions = make_actions(MINECRAFT, "minerl")
    for turn in ([180.0, -180.0], [0, 0], np.array([1.5, -2], np.float64)):
        action = actions.space.sample() | {"camera": np.asarray(turn, np.float32)}  # pyright: ignore
        assert actions.space.contains(action)
        np.testing.assert_array_equal(actions.vectors(single(action))[0, -2:], np.float32(turn))  # pyright: ignore


@pytest.mark.parametrize("kind", ["timedelta64[s]", "datetime64[s]", bool, float, object])
def test_whole_numbers_are_whole_numbers(kind):
    with pytest.raises(UserError, match="whole number"):
        make_actions(MINECRAFT).vectors(single(np.zeros(9, kind)))


@pytest.mark.parametrize("name", ["multidiscrete", "minerl"])
def test_names_have_the_form_of_the_space_and_say_what_is_done(name: str):
    actions = make_actions(MINECRAFT, name)
    if name == "multidiscrete":
        assert [len(names) for names in actions.meanings] == actions.space.nvec.tolist()  # pyright: ignore
        for place, names in enumerate(actions.meanings):
            for option, meaning in enumerate(names):
                action = actions.noop()
                action[place] = option  # pyright: ignore
                [vector] = actions.vectors(single(action))
                words = "wait" if meaning in ("none", "pitch 0 (rest)", "yaw 0 (rest)") else meaning
                [wanted] = script_actions(parse_script(words), MINECRAFT, fps=20)
                np.testing.assert_allclose(vector, wanted, atol=0.005, err_msg=meaning)
    else:
        assert set(actions.meanings) == set(actions.space)  # pyright: ignore
        assert actions.meanings["jump"] == ("released", "pressed")  # pyright: ignore
        assert [text.split(", ")[1] for text in actions.meanings["camera"]] == [  # pyright: ignore
            "positive looks down", "positive turns right"
        ]  # fmt: skip
    np.testing.assert_array_equal(actions.vectors(single(actions.noop())), MINECRAFT.noop()[None])


def test_names_of_keys_alone():
    actions = make_actions(PONG, "discrete")
    assert actions.meanings == ("noop", "up", "down") and actions.noop() == 0
    with pytest.raises(UserError, match="no action of this game does nothing: up, down"):
        make_actions(ActionSpec(keys=("up", "down"), camera=False), "discrete").noop()
