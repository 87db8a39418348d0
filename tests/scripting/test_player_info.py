"""What a game tells may be anything: a script that waits for it says what is wrong with it."""

from typing import Any

import numpy as np
import pytest

from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import ScriptPolicy
from worldsim.scripting.tokens import ScriptError
from worldsim.spec.actions import MINECRAFT


@pytest.mark.parametrize(
    ("script", "info"),
    [
        ("attack until z > 1", {"position": None}),
        ("attack until z > 1", {"position": [1, 2]}),
        ("attack until z > 1", {"position": "xyz"}),
        ("attack until event dig within 100", {"events": [3]}),
        ("attack until event dig within 100", {"events": None}),
        ("attack until event dig within 100", {"events": 5}),
    ],
)
def test_information_of_another_kind_is_named(script: str, info: dict[str, Any]):
    policy = ScriptPolicy(parse_script(script), MINECRAFT, fps=20)
    policy.reset(np.random.default_rng(0), info)
    with pytest.raises(ScriptError, match="line 1, column"):
        for _ in range(3):
            policy.act(np.zeros((2, 2, 3), np.uint8), info)


def test_positions_and_events_of_every_kind_are_taken():
    for position in ((0.0, 1.0, 5.0), [0, 1, 5], np.array([0.0, 1.0, 5.0])):
        policy = ScriptPolicy(parse_script("attack until z > 1"), MINECRAFT, fps=20)
        policy.reset(np.random.default_rng(0), {"position": position})
        policy.act(np.zeros((2, 2, 3), np.uint8), {"position": position})
        assert policy.finished
