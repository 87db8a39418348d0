"""Choices that suit a game: sizes, rates, networks; and that every recipe is one that the commands take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.cli.compose import compose
from worldsim.cli.making.game_kind import KINDS
from worldsim.cli.making.recipes import ENOUGH_STEPS, RECIPES, choose_model, fitting_rate, fitting_size
from worldsim.cli.schema import option_names
from worldsim.cli.train.worlds import TrainDynamics, TrainExport, TrainTokenizer
from worldsim.training.store_checks import check_size

SIDES = st.integers(16, 4000)


@given(SIDES, SIDES)
def test_pictures_can_be_trained_on_and_are_small_enough(width: int, height: int):
    fitted = fitting_size(width, height, 144 * 80)
    check_size(*fitted)
    assert fitted[0] * fitted[1] <= 144 * 80
    assert fitted[0] < width + 16 and fitted[1] < height + 16


@given(st.integers(1, 9), st.integers(1, 5))
def test_pictures_that_fit_keep_their_size(across: int, down: int):
    assert fitting_size(16 * across, 16 * down, 144 * 80) == (16 * across, 16 * down)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((640, 360), (144, 80)),
        ((160, 210), (80, 112)),
        ((100, 100), (96, 96)),
        ((8, 8), (16, 16)),
        ((40, 200), (48, 208)),
    ],
)
def test_the_shape_of_pictures_is_kept_about(size: tuple[int, int], fitted: tuple[int, int]):
    assert fitting_size(*size, 144 * 80) == fitted


@pytest.mark.parametrize(("native", "rate"), [(20, 20), (30, 30), (60, 30), (50, 25), (144, 28.8)])
def test_a_rate_is_an_even_part_of_the_native_one(native: float, rate: float):
    assert fitting_rate(native) == pytest.approx(rate)


def test_the_largest_network_that_gets_far_enough_is_taken():
    seconds = {"small": 3.0, "atari": 1.0, "tiny": 0.1}
    assert choose_model(seconds, 3.0 * ENOUGH_STEPS) == "small"
    assert choose_model(seconds, 3.0 * ENOUGH_STEPS - 1) == "atari"
    assert choose_model(seconds, 1.0) == "tiny"


@pytest.mark.parametrize("kind", KINDS)
def test_every_recipe_is_settings_that_the_commands_take(kind: str):
    recipe = RECIPES[kind]
    assert set(recipe.models) <= set(option_names("model"))
    tokenizer = compose(TrainTokenizer, ["data=x", *recipe.tokenizer])
    dynamics = compose(TrainDynamics, ["data=x", "tokenizer=x", *recipe.dynamics])
    compose(TrainExport, ["data=x", "run=x", "tokenizer=x", "out=x", *recipe.export])
    assert dynamics.frames > 1 and tokenizer.chunks > 1
