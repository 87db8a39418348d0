"""The verdict: each of its branches by the values that call for it."""

from dataclasses import replace

import pytest

from worldsim.cli.making.game_kind import GameLook
from worldsim.cli.making.rounds import Round
from worldsim.cli.making.verdict import Judged, Line, as_text, verdict

GOOD = Judged(keys=1.5, gain=[6.0, 5.0, 4.0, 3.0], delta=2.5, tokenizer=35.0, step=0.5)
LOOK = GameLook(ground=0.5, changed=0.3, shifted=0.9, idle=0.1)
STILL = GameLook(ground=0.99, changed=0.01, shifted=0.0)


def rounds(*losses: float) -> list[Round]:
    return [
        Round(steps=100 * i, seconds=1.0, loss=loss, keys=1.5, repeat=0.5, trained=1.0)
        for i, loss in enumerate(losses, 1)
    ]


IMPROVING, STALLED, BY_HEART = rounds(1, 0.8, 0.6, 0.5, 0.4), rounds(1, 1, 1, 1, 0.95), rounds(1, 0.8, 0.9, 1.0, 1.1)


def judge(
    judged: Judged = GOOD, made: list[Round] = IMPROVING, look: GameLook = LOOK, frames: int = 50_000
) -> list[Line]:
    return verdict(judged, made, look, frames, hours=0.5)


def test_a_good_world_needs_nothing():
    lines = judge()
    assert all(line.good and not line.advice for line in lines)
    text = as_text(lines)
    assert "The keys matter: under wrong keys the error is 1.50 times as large" in text
    assert "For 2.0 s, as long as was measured" in text and "6.0 dB at the first step and 3.0 dB at the last" in text
    assert "Pictures are clear: PSNR 35.0 dB" in text and "50,000 frames to learn from" in text and "->" not in text


@pytest.mark.parametrize(
    ("keys", "delta", "said", "good"),
    [
        (1.01, 0.29, "The keys are ignored", False),
        (1.02, 0.0, "The keys matter little", False),
        (1.0, 0.3, "The keys matter little", False),
        (1.19, 0.99, "The keys matter little", False),
        (1.2, 0.0, "The keys matter:", True),
        (1.0, 1.0, "The keys matter:", True),
    ],
)
def test_keys(keys: float, delta: float, said: str, good: bool):
    line = judge(replace(GOOD, keys=keys, delta=delta))[0]
    assert line.text.startswith(said) and line.good is good and bool(line.advice) is not good


@pytest.mark.parametrize(
    ("gain", "said", "good"),
    [
        ([-0.1, 1, 1, 1], "The next picture is no better than the last one repeated", False),
        ([3.0, 1, -1, 1], "For 1.0 s a dream is better than the last picture repeated, and not beyond", False),
        ([3.0, 2, 1, 0.1], "For 2.0 s, as long as was measured", True),
    ],
)
def test_the_last_frame(gain: list[float], said: str, good: bool):
    line = judge(replace(GOOD, gain=gain))[1]
    assert line.text.startswith(said) and line.good is good and bool(line.advice) is not good


@pytest.mark.parametrize(
    ("psnr", "said"), [(25.9, "blurred"), (26.0, "a little blurred"), (31.9, "a little blurred"), (32.0, "clear")]
)
def test_pictures(psnr: float, said: str):
    line = judge(replace(GOOD, tokenizer=psnr))[2]
    assert line.text.startswith(f"Pictures are {said}:") and ("tokenizer=[" in line.advice) is (said != "clear")


def test_pictures_of_small_things_are_advised_otherwise():
    assert "fit_batches" in judge(replace(GOOD, tokenizer=20), look=STILL)[2].advice
    assert "channels" in judge(replace(GOOD, tokenizer=20))[2].advice


def test_what_was_learned_by_heart_wants_more_data():
    lines = judge(replace(GOOD, keys=1.1, delta=0.5), BY_HEART)
    assert "by heart" in lines[-1].text and not lines[-1].good and "Record more" in lines[-1].advice
    assert lines[0].advice == "Record more, then give the same command again with hours=1."


def test_few_frames_want_more_data():
    lines = judge(replace(GOOD, gain=[-1.0]), STALLED, frames=9_999)
    assert "few recordings: 9,999 frames" in lines[-1].text and not lines[-1].good
    assert "Record more" in lines[1].advice


def test_what_still_improves_wants_more_time_first():
    assert "the same command again with hours=1." in judge(replace(GOOD, keys=1.1, delta=0.5), frames=100)[0].advice
    assert "the same command again with hours=1." in judge(replace(GOOD, keys=1.1, delta=0.5))[0].advice


def test_what_no_longer_improves_wants_another_choice():
    assert "another choice in another folder=" in judge(replace(GOOD, keys=1.1, delta=0.5), STALLED)[0].advice
    assert "kind=still" not in judge(replace(GOOD, keys=1.1, delta=0.5), STALLED, STILL)[0].advice


def test_recordings_without_keys_are_named():
    idle = replace(LOOK, idle=0.75)
    assert (
        "In 75% of the recorded frames no key is held" in judge(replace(GOOD, keys=1.0, delta=0.0), look=idle)[0].advice
    )


def test_an_evaluation_is_read_and_a_damaged_one_refused():
    results = {
        "about": {"chunk": 2, "fps": 20},
        "actions": {"use": {"ratio": {"value": 1.25}}},
        "horizons": {
            "gain_over_repeat": {"value": [2.0, 1.0, -1.0]},
            "actions": {"delta_psnr": {"value": [1.0, 2.0, 3.0]}},
            "tokenizer_ceiling": {"value": 30.0},
        },
    }
    judged = Judged.of(results)
    assert judged == Judged(keys=1.25, gain=[2.0, 1.0, -1.0], delta=2.0, tokenizer=30.0, step=0.1)
    assert judged.good_steps == 2
    with pytest.raises(ValueError, match=r"eval\.json is damaged"):
        Judged.of(results | {"horizons": {}})
