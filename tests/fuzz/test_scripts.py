"""Action scripts of any text, and games that tell anything: actions of the game, or a mistake with its place."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.bounds import fuzzed, outcome
from tests.fuzz.damage import JUNK, damaged
from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import ScriptPolicy, script_actions
from worldsim.scripting.tokens import ScriptError
from worldsim.spec.actions import MINECRAFT, ActionSpec

GAME = ActionSpec(keys=("forward", "attack", "axis.steer", "x6"), camera=True)
WORDS = (
    "forward", "attack", '"forward"', "axis.steer=", "yaw", "pitch", "x", "x6", "wait", "noop", "repeat", "until",
    "within", "event", "dig", "z", "light", "{", "}", "{", "}", ";", "\n", "+", "=", "<", ">", "/frame", "/s", "1", "3",
    "-0.5", "1e9", "2s", "100000", "99999999999", "1e-300", "#", '"', " ", "\t", "\u2028", "ü", "\0",
)  # fmt: skip
EXAMPLE = "forward 20; yaw +15/frame x 6\nattack until event dig within 100; repeat 3 { wait 1s; axis.steer=-0.5 4 }"

texts = st.lists(st.sampled_from(WORDS), max_size=40).flatmap(
    lambda words: st.sampled_from((" ".join(words), "".join(words)))
)
damages = damaged(EXAMPLE.encode()).map(lambda content: content.decode("utf-8", "replace"))
infos = st.dictionaries(
    st.sampled_from(("position", "events", "z", "yaw", "light", "dig")),
    st.sampled_from(JUNK) | st.sampled_from(([{"kind": "dig"}], [{"kind": []}], np.zeros(3), np.ones((2, 2)))),
    max_size=3,
)


@fuzzed(texts | damages | st.text(max_size=60), 3000)
def test_any_text_is_actions_of_the_game_or_a_mistake_with_its_place(drawn: str):
    for game in (GAME, MINECRAFT):
        result = outcome(lambda game=game: script_actions(parse_script(drawn), game, fps=20))
        if isinstance(result, Exception):
            assert isinstance(result, ScriptError), repr(result)
            assert 1 <= result.where.line <= drawn.count("\n") + 1
        else:
            assert result.shape[1] == game.size and len(result) <= 100_000 and np.isfinite(result).all()
            assert np.abs(result[:, : len(game.keys)]).max() <= 1


@fuzzed(st.tuples(texts | damages, infos), 1500)
def test_a_policy_plays_on_whatever_the_game_tells(drawn: tuple[str, dict[str, Any]]):
    text, info = drawn

    def play() -> list[np.ndarray]:
        policy = ScriptPolicy(parse_script(text), GAME, fps=20)
        policy.reset(np.random.default_rng(0), info)
        return [policy.act(np.zeros((2, 2, 3), np.uint8), info) for _ in range(30)]

    result = outcome(play)
    if isinstance(result, Exception):
        assert isinstance(result, ScriptError), repr(result)
    else:
        assert all(action.shape == (GAME.size,) and np.isfinite(action).all() for action in result)
