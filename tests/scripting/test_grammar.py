"""Action scripts: what they mean, that printing and parsing agree, and that a mistake is told with its place."""

import re
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timing import little_work
from worldsim.scripting.grammar import format_script, parse_script
from worldsim.scripting.player import ScriptPolicy, script_actions, script_frames
from worldsim.scripting.syntax_tree import Act, Duration, Key, Repeat, Script, Turn, Until
from worldsim.scripting.tokens import WORDS, ScriptError
from worldsim.spec.actions import MINECRAFT, ActionSpec

FPS = 20.0
ODD = ActionSpec(keys=(*MINECRAFT.keys, *WORDS, "axis.steer", "two words", "x6", "ü"), camera=True)
numbers = st.floats(-1e4, 1e4).map(lambda v: float(np.float32(v)))
durations = st.builds(Duration, st.integers(1, 40)) | st.builds(Duration, st.floats(0.01, 2.0), st.just(True))
keys = st.builds(lambda name: Key(name=name), name=st.sampled_from([k for k in ODD.keys if k not in ("yaw", "pitch")]))
axes = st.builds(lambda value: Key(name="axis.steer", value=value), value=st.floats(-1, 1))
turns = st.builds(
    lambda axis, degrees, per: Turn(axis=axis, degrees=degrees, per=per),
    axis=st.sampled_from(["yaw", "pitch"]), degrees=numbers, per=st.sampled_from(["frame", "s"]),
)  # fmt: skip
untils = st.builds(
    lambda name, within: Until(name=name, within=within), name=st.sampled_from(["dig", "within", "a b"]),
    within=durations,
) | st.builds(
    lambda name, sign, value: Until(name=name, sign=sign, value=value),
    name=st.sampled_from(["x", "yaw", "light", "event", "a b"]), sign=st.sampled_from("<>"), value=numbers,
)  # fmt: skip


def unique(terms: list[Key | Turn]) -> tuple[Key | Turn, ...]:
    return tuple({t.name if isinstance(t, Key) else t.axis: t for t in terms}.values())


def scripts(lengths: st.SearchStrategy[Any]) -> st.SearchStrategy[Script]:
    acts = st.builds(
        lambda terms, length: Act(terms=unique(terms), length=length),
        terms=st.lists(keys | axes | turns, max_size=4), length=lengths,
    )  # fmt: skip
    blocks = st.recursive(
        st.lists(acts, min_size=1, max_size=4).map(tuple),
        lambda inner: st.builds(
            lambda body, times, more: (*more, Repeat(times=times, body=body)),
            body=inner, times=st.integers(1, 3), more=st.lists(acts, max_size=2),
        ),
        max_leaves=4,
    )  # fmt: skip
    return blocks


@settings(max_examples=60, deadline=None)
@given(scripts(durations | untils))
def test_printing_a_script_and_parsing_it_gives_the_same_script(script: Script):
    assert parse_script(format_script(script)) == script


@settings(max_examples=30, deadline=None)
@given(scripts(durations))
def test_the_policy_plays_the_array_and_then_nothing(script: Script):
    actions = script_actions(parse_script(format_script(script)), ODD, fps=FPS)
    assert len(actions) == script_frames(script, FPS)
    policy = ScriptPolicy(script, ODD, fps=FPS)
    policy.reset(np.random.default_rng(0), {})
    nothing = np.zeros((4, 4, 3), np.uint8)
    for action in actions:
        np.testing.assert_array_equal(policy.act(nothing, {}), action)
        assert not policy.finished
    # Nothing, in a game that has a key for it.
    np.testing.assert_array_equal(policy.act(nothing, {}), ODD.idle())
    assert policy.finished


@settings(max_examples=60, deadline=None)
@given(st.text('forward x6+-./{};="\n#until repeat 3s', max_size=60))
def test_any_text_is_a_script_or_a_mistake_with_a_place(text: str):
    try:
        script = parse_script(text)
    except ScriptError as error:
        assert 1 <= error.where.line <= text.count("\n") + 1
        assert 1 <= error.where.column <= len(text.split("\n")[error.where.line - 1]) + 1
    else:
        assert parse_script(format_script(script)) == script


@settings(max_examples=30, deadline=None)
@given(scripts(durations), st.integers(1, 3))
def test_a_block_repeated_is_the_block_several_times(script: Script, times: int):
    one, text = script_actions(script, ODD, fps=FPS), format_script(script)
    np.testing.assert_array_equal(
        script_actions(parse_script(f"repeat {times} {{\n{text}\n}}"), ODD, fps=FPS), np.tile(one, (times, 1))
    )
    np.testing.assert_array_equal(
        script_actions(parse_script(f"{text}; repeat {times}"), ODD, fps=FPS), np.tile(one, (times, 1))
    )


def actions(text: str, **options: Any) -> np.ndarray:
    return script_actions(parse_script(text), MINECRAFT, **({"fps": FPS} | options))


def rows(count: int, *, yaw: float = 0, pitch: float = 0, **held: int) -> np.ndarray:
    return np.repeat(MINECRAFT.vector({**held, "camera": (pitch, yaw)})[None], count, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forward 3", rows(3, forward=1)),
        ("forward", rows(1, forward=1)),
        ("forward x3", rows(3, forward=1)),
        ("forward x 0.25s", rows(5, forward=1)),
        ("wait 2; jump", np.concatenate([rows(2), rows(1, jump=1)])),
        ("yaw +15/frame x 2", rows(2, yaw=15)),
        ("yaw -90 x 6", rows(6, yaw=-15)),
        ("yaw 90/s 2", rows(2, yaw=4.5)),
        ("forward jump yaw +2/frame pitch -1/frame 4", rows(4, forward=1, jump=1, yaw=2, pitch=-1)),
        ("forward+jump+yaw +2/frame x 4", rows(4, forward=1, jump=1, yaw=2)),
        ("hotbar.3 # a comment; back 9\n\n;;left 2", [MINECRAFT.vector({"hotbar.3": 1}), *rows(2, left=1)]),
        ("repeat 2 { forward 1; repeat 2\n{ left } }", np.tile([rows(1, forward=1)[0], *rows(2, left=1)], (2, 1))),
        ("jump; left; repeat 2; back", [*[*rows(1, jump=1), *rows(1, left=1)] * 2, *rows(1, back=1)]),
    ],
)  # fmt: skip
def test_what_scripts_mean(text: str, expected: np.ndarray):
    np.testing.assert_allclose(actions(text), np.asarray(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", (1, 1), "no actions"),
        ("# nothing", (1, 1), "no actions"),
        ("forward 20; fly 3", (1, 13), "unknown key 'fly'"),
        ("forward 20\n  yaw fast", (2, 7), "expected degrees, got 'fast'"),
        ("forward 0", (1, 9), "whole number of frames from 1"),
        ("forward 2.5", (1, 9), "whole number of frames from 1"),
        ("forward forward 2", (1, 9), "twice"),
        ("forward yaw 5 yaw 6 2", (1, 15), "twice"),
        ("repeat 3", (1, 1), "nothing before"),
        ("repeat 3 { forward", (1, 10), "never closed"),
        ("repeat 3 { }", (1, 10), "no actions"),
        ("repeat many { forward }", (1, 8), "expected a number of times"),
        ("repeat 0 { forward }", (1, 1), "repeat takes 1"),
        ("forward } left", (1, 9), "closes nothing"),
        ("forward 2 left 3", (1, 11), "expected ';'"),
        ("forward $", (1, 9), "unexpected '$'"),
        ('"forward', (1, 1), "not closed"),
        ("attack until", (1, 13), "expected 'event'"),
        ("attack until event dig", (1, 8), "until needs a game"),
        ("yaw +90 until event dig", (1, 1), "how fast"),
        ("forward=0.5", (1, 1), "takes 0 or 1"),
        ("forward 60000; repeat 2", (1, 16), "more than 100000"),
        ("forward 5000000000", (1, 9), "too large"),
        ("{" * 3, (1, 1), "expected the name of a key"),
        ("repeat 2 {" * 60, (1, 511), "deep"),
        ("forward;repeat 1;" * 2000, (1, 859), "repeats are nested more than 50 deep"),
        ("repeat 1 {" * 30 + "forward" + ";repeat 1;jump" * 30, (1, 589), "repeats are nested more than 50 deep"),
        ("forward; repeat " + "9" * 5000, (1, 17), "too large"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_and_column(text: str, place: tuple[int, int], message: str):
    with pytest.raises(ScriptError, match=re.escape(message)) as caught:
        actions(text)
    assert (caught.value.where.line, caught.value.where.column) == place
    assert f"line {place[0]}, column {place[1]}: " in str(caught.value) and "\n" not in str(caught.value)


def test_a_game_without_a_camera_refuses_turns_and_axes_have_a_range():
    racer = ActionSpec(keys=("axis.steer", "brake"), camera=False)
    np.testing.assert_allclose(script_actions(parse_script("axis.steer=-0.5 brake 1"), racer, fps=FPS), [[-0.5, 1]])
    for text, message in [("yaw 3", "no camera"), ("axis.steer=2", "takes -1 to 1"), ("brake=-1", "takes 0 or 1")]:
        with pytest.raises(ScriptError, match=message):
            script_actions(parse_script(text), racer, fps=FPS)


def test_who_waits_presses_the_key_for_it_where_a_game_has_one():
    pong = ActionSpec(keys=("noop", "up", "down"), camera=False)
    nothing, up = [1, 0, 0], [0, 1, 0]
    np.testing.assert_array_equal(
        script_actions(parse_script("wait 2; up; wait"), pong, fps=FPS), [nothing, nothing, up, nothing]
    )
    policy = ScriptPolicy(parse_script("up"), pong, fps=FPS)
    policy.reset(np.random.default_rng(0), {})
    played = [policy.act(np.zeros((4, 4, 3), np.uint8), {}).tolist() for _ in range(3)]
    assert played == [up, nothing, nothing] and policy.finished


def play(text: str, infos: list[dict[str, Any]]) -> list[list[str]]:
    """The keys that a script holds while the game tells ``infos``."""
    policy = ScriptPolicy(parse_script(text), MINECRAFT, fps=FPS)
    policy.reset(np.random.default_rng(0), infos[0])
    held = []
    for info in infos:
        action = policy.act(np.zeros((4, 4, 3), np.uint8), info)
        if policy.finished:
            break
        held.append([key for key, value in zip(MINECRAFT.keys, action[:-2], strict=True) if value])
    return held


def test_until_an_event_counts_only_events_of_its_own_action():
    dug, nothing = {"events": [{"kind": "dig", "node": "dirt"}]}, {"events": []}
    infos = [dug, nothing, dug, nothing, dug, nothing]
    held = play("attack until event dig; forward; attack until event dig", infos)
    assert held == [["attack"], ["attack"], ["forward"], ["attack"]]
    assert len(play("attack until event dig within 3", [nothing] * 9)) == 3


def test_until_a_number_is_looked_at_before_each_frame():
    infos = [{"position": np.array([0, 5, z]), "light": 3} for z in range(6)]
    assert play("forward until z > 2; jump", infos) == [["forward"]] * 3 + [["jump"]]
    assert play("forward until light < 9; jump", infos) == [["jump"]]
    with pytest.raises(ScriptError, match="tells no number 'hunger'; it tells light"):
        play("forward until hunger < 9", infos)


def test_a_block_that_takes_no_frame_is_not_played_over_and_over():
    """The game tells nothing new between two rounds, so that they would go on until all of 10**10 were through."""
    text = "repeat 100000 { repeat 100000 { forward until light < 9 }; back until light < 9 }; jump 2"
    with little_work(1):
        assert play(text, [{"light": 3}] * 4) == [["jump"]] * 2
    # A block that takes a frame now and then is played as often as it says.
    infos = [{"light": light} for light in (0, 1, 1, 0, 1, 0)]
    assert play("repeat 3 { forward until light > 0; back 1 }; jump", infos) == [
        ["forward"], ["back"], ["back"], ["forward"], ["back"], ["jump"],
    ]  # fmt: skip


def test_the_example_of_the_guide():
    text = "forward 20; yaw +15/frame x 6; attack until event dig; repeat 3"
    infos = [{"events": [{"kind": "dig"}] if t % 30 == 29 else []} for t in range(200)]
    held = play(text, infos)
    # Each time round: 20 frames ahead, 6 turning, then strokes until the next event.
    assert [len(list(group)) for key, group in groupby(held) if key == ["attack"]] == [3, 4, 4] and len(held) == 89


def test_noop_is_another_word_for_wait():
    for text in ("wait 3; forward; wait until z > 1 within 2", "repeat 2 { wait }"):
        assert parse_script(text.replace("wait", "noop")) == parse_script(text)
    np.testing.assert_array_equal(script_actions(parse_script("noop 4"), MINECRAFT, fps=FPS), rows(4))
    # A key of that name can still be pressed with others.
    game = ActionSpec(keys=("noop", "up"), camera=False)
    np.testing.assert_array_equal(script_actions(parse_script('"noop" up'), game, fps=FPS), [[1, 1]])
    assert parse_script(format_script(parse_script('"noop" up; noop'))) == parse_script('"noop" up; noop')


def test_the_list_of_known_words_holds_those_that_press_nothing():
    for spec, last in (
        (MINECRAFT, "hotbar.9, yaw, pitch, wait, noop"),
        (ActionSpec(keys=("up",), camera=False), "up, wait, noop"),
    ):
        with pytest.raises(ScriptError, match=rf"unknown key 'rest'; known: .*{last}$"):
            script_actions(parse_script("rest 5"), spec, fps=FPS)
