"""Settings of trainings: what no training can mean is refused where it is written, by name."""

import math
from dataclasses import asdict, fields
from typing import Any

import pytest

from worldsim.diffusion.dynamics_loss import DynamicsTraining
from worldsim.training.tokenizer import TokenizerTraining

# Built by name, as the command line does.
DYNAMICS: Any = DynamicsTraining
NUMBERS = [
    (owner, field.name)
    for owner in (DynamicsTraining, TokenizerTraining)
    for field in fields(owner)
    if not isinstance(field.default, bool)
]


@pytest.mark.parametrize(("owner", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_no_number_may_be_negative_or_nothing(owner: type, name: str):
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            owner(**{name: value})
    again = owner(**{name: asdict(owner())[name]})
    assert again == owner()


@pytest.mark.parametrize("name", ["steps", "play_steps", "rollout_frames"])
def test_some_numbers_may_not_be_zero(name: str):
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        DYNAMICS(**{name: 0})


@pytest.mark.parametrize("name", ["ema", "play_share", "image_share", "cooldown", "action_drop"])
def test_shares_end_at_one(name: str):
    assert getattr(DYNAMICS(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name} must be at least 0 and at most 1"):
        DYNAMICS(**{name: 1.01})
