"""What raters say is counted right: on simulated raters whose preferences are known."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from worldsim.errors import UserError
from worldsim.evaluation.study.design import CHOICES, Study, design, read_key, write_key
from worldsim.evaluation.study.ratings import (
    Answer,
    by_map,
    by_rater,
    by_seconds,
    preference,
    read_answers,
    strength_intervals,
    strengths,
    wilson,
)


def study(competitors: int = 3, clips: int = 8, seed: int = 0) -> Study:
    return design([f"w{i}" for i in range(competitors)], [i % 4 for i in range(clips)], [1.6, 10], "which?", seed)


def simulated(of: Study, raters: int, strength: list[float], ease: float, seed: int = 0) -> list[Answer]:
    """Raters who answer every trial as Davidson's model says, whatever the side."""
    rng = np.random.default_rng(seed)
    out = []
    for rater, trial in itertools.product(range(raters), of.trials):
        left, right = strength[trial.left], strength[trial.right]
        weights = np.exp([left, right, ease + (left + right) / 2])
        choice = rng.choice(CHOICES, p=weights / weights.sum())
        out.append(Answer(rater=f"r{rater}", trial=trial, choice=str(choice)))
    return out


def test_every_pair_is_shown_on_every_clip_once_and_sides_are_even():
    made = study(competitors=4, clips=20)
    shown = [(t.clip, t.seconds, min(t.left, t.right), max(t.left, t.right)) for t in made.trials]
    assert len(set(shown)) == len(shown) == 20 * 2 * 6
    swapped = np.mean([t.left > t.right for t in made.trials])
    assert 0.4 < swapped < 0.6
    assert len({t.name for t in made.trials}) == len(made.trials)
    # The order says nothing either: whoever stops half-way has seen about as much of each pair.
    half = [s[2:] for s in shown[: len(shown) // 2]]
    assert all(10 < half.count(pair) < 30 for pair in itertools.combinations(range(4), 2))
    assert made == study(competitors=4, clips=20) and made.number != study(competitors=4, clips=20, seed=1).number


def test_strengths_of_simulated_raters_are_found_with_their_intervals():
    truth, ease = np.array([0.8, 0.0, -0.8]), -0.5
    answers = simulated(study(clips=20), 20, truth.tolist(), ease)
    found, found_ease = strengths(answers, 3)
    np.testing.assert_allclose(found, truth, atol=0.15)
    assert found_ease == pytest.approx(ease, abs=0.15) and found.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_intervals_of_strengths_hold_the_truth_about_as_often_as_they_say():
    truth = [0.5, -0.5]
    held = 0
    for seed in range(40):
        answers = simulated(study(competitors=2, clips=6, seed=seed), 12, truth, -1.0, seed)
        low, high = strength_intervals(answers, 2, seed, draws=60)[0]
        held += low <= 0.5 <= high
    assert 33 <= held <= 40


def test_who_always_wins_has_a_finite_strength_and_a_single_rater_an_interval():
    made = study(competitors=2)
    answers = [Answer(rater="a", trial=t, choice="left" if t.left == 0 else "right") for t in made.trials]
    found, _ = strengths(answers, 2)
    assert 1 < found[0] < 10
    assert np.isfinite(strength_intervals(answers, 2, draws=20)).all()
    assert preference(answers, 0, 1).share == 1.0 and preference(answers, 1, 0).share == 0.0


@pytest.mark.parametrize(
    ("wins", "count", "low", "high"), [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (9, 9, 0.7009, 1.0)]
)
def test_wilson_as_in_tables(wins: int, count: int, low: float, high: float):
    assert wilson(wins, count) == pytest.approx((low, high), abs=2e-4)


def test_shares_count_those_who_chose_and_sides_do_not_matter():
    made = study(competitors=2, clips=2)
    choices = ["left", "right", "same", "left"]
    answers = [Answer(rater="a", trial=t, choice=c) for t, c in zip(made.trials, choices, strict=True)]
    wins = sum(
        (t.left if c == "left" else t.right) == 0 for t, c in zip(made.trials, choices, strict=True) if c != "same"
    )
    found = preference(answers, 0, 1)
    assert (found.wins, found.ties, found.losses) == (wins, 1, 3 - wins) and found.share == wins / 3
    other = preference(answers, 1, 0)
    assert (other.wins, other.losses) == (found.losses, found.wins)
    assert math.isnan(preference([], 0, 1).share)


def test_answers_are_told_apart():
    answers = simulated(study(), 3, [0.0, 0.0, 0.0], 0.0)
    told = {by_rater: ["r0", "r1", "r2"], by_map: ["0", "1", "2", "3"], by_seconds: ["10 s", "1.6 s"]}
    for by, keys in told.items():
        groups = by(answers)
        assert sorted(groups) == sorted(keys) and sum(map(len, groups.values())) == len(answers)


def test_files_of_answers_are_read_and_wrong_ones_named(tmp_path: Path):
    made = study()
    write_key(tmp_path, made, {})
    assert read_key(tmp_path) == made

    def saved(name: str, rater: str, answers: object, number: str = made.number) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"study": number, "rater": rater, "answers": answers}))
        return path

    one = saved("a.json", "ann", [{"trial": made.trials[0].name, "choice": "same", "seconds": 2.0}])
    assert read_answers(made, [one]) == [Answer(rater="ann", trial=made.trials[0], choice="same")]
    again = saved("b.json", "ann", [{"trial": made.trials[0].name, "choice": "left"}])
    with pytest.raises(UserError, match="ann"):
        read_answers(made, [one, again])
    with pytest.raises(UserError, match="answers study"):
        read_answers(made, [saved("c.json", "bob", [], "0" * 16)])
    for answers in ([{"trial": "nothing", "choice": "left"}], [{"trial": made.trials[0].name, "choice": "both"}]):
        with pytest.raises(UserError, match="no such answer"):
            read_answers(made, [saved("d.json", "cy", answers)])
    for broken in ("", "{}", "[]", '{"study": 1, "rater": "x", "answers": [1]}'):
        (tmp_path / "e.json").write_text(broken)
        with pytest.raises(ValueError, match=r"e\.json"):
            read_answers(made, [tmp_path / "e.json"])
    with pytest.raises(UserError, match="no study"):
        read_key(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="two or more"):
        design(["a"], [1], [1.0], "?", 0)
    with pytest.raises(UserError, match="names of their own"):
        design(["a", "a"], [1], [1.0], "?", 0)
