"""Rounds of training: when there is progress, where the next one ends, what is told."""

import math
from collections.abc import Iterator

import pytest

from worldsim.cli.making.rounds import COOLDOWN, PATIENCE, ROUNDS, SHORTEST, Round, Target, next_target, stalled


def a_round(steps: int = 100, loss: float = 1.0, keys: float = 1.0, **parts: float) -> Round:
    return Round(
        **{"steps": steps, "seconds": 10.0, "loss": loss, "keys": keys, "repeat": 0.5, "trained": 1.0, **parts}
    )


def some(losses: list[float], keys: list[float]) -> list[Round]:
    return [a_round(100 * (i + 1), loss, key) for i, (loss, key) in enumerate(zip(losses, keys, strict=True))]


def test_a_falling_loss_is_progress():
    assert not stalled(some([1, 0.9, 0.8, 0.7, 0.6], [1] * 5))


def test_a_loss_that_stays_or_rises_is_none():
    assert stalled(some([1, 0.995, 0.999, 0.997], [1] * 4))
    assert stalled(some([1, 1.1, 1.2, 1.3], [1] * 4))


def test_keys_that_come_to_matter_are_progress_at_the_same_loss():
    assert not stalled(some([1] * 4, [1, 1, 1, 1.02]))


def test_nothing_is_stalled_before_its_time():
    assert not stalled([]) and not stalled(some([1] * PATIENCE, [1] * PATIENCE))


def targets(step: float, budget: float, losses: Iterator[float]) -> list[Target]:
    """A whole training in which every step takes ``step`` seconds."""
    rounds: list[Round] = []
    found: list[Target] = []
    while not found or not found[-1].last:
        done = rounds[-1].steps if rounds else 0
        found.append(next_target(rounds, step, budget - sum(one.seconds for one in rounds)))
        taken = (found[-1].steps - done) * step
        rounds.append(a_round(found[-1].steps, next(losses), seconds=taken))
    return found


def falling() -> Iterator[float]:
    return (0.9**i for i in range(1000))


@pytest.mark.parametrize(("step", "budget"), [(1.0, 1000.0), (0.3, 77.0), (2.0, 9000.0)])
def test_a_training_that_improves_takes_the_time_it_was_given(step: float, budget: float):
    found = targets(step, budget, falling())
    assert found[-1].steps == pytest.approx(budget / step, abs=2)
    assert found[-1].cooldown == pytest.approx(COOLDOWN, abs=0.1) and not any(one.last for one in found[:-1])
    steps = [one.steps for one in found]
    most = min(ROUNDS, budget * (1 - COOLDOWN) / SHORTEST)
    assert steps == sorted(set(steps)) and most - 1 <= len(found) <= most + 2


def test_a_training_that_no_longer_improves_ends_early_with_a_falling_rate():
    found = targets(1.0, 1000.0, iter([1.0] * 1000))
    assert len(found) == PATIENCE + 2 and found[-1].steps < 700
    assert found[-1].cooldown == pytest.approx(COOLDOWN, abs=0.01)


def test_time_that_is_used_up_ends_the_training():
    rounds = [a_round(100, seconds=990.0)]
    last = next_target(rounds, 9.9, 10.0)
    # A third of the fall of the learning rate, which would be a quarter of all steps.
    assert last.last and last.steps == 100 + 12


def test_the_least_budget_still_trains_and_ends():
    found = targets(100.0, 1.0, falling())
    assert [one.last for one in found] == [False, True] and found[0].steps == 1


METRICS = {
    "validation/x0": 0.5,
    "validation/shuffled_ratio_noise": 1.5,
    "validation/x0_0": 0.2,
    "validation/repeat": 0.8,
}


def test_a_round_is_read_from_metrics():
    rows = [
        {"step": 10, "loss": 9.0},
        {"step": 20, "loss": 8.0, **METRICS, "validation/x0": 0.7},
        {"step": 30, "loss": 3.0},
        {"step": 40, "loss": 1.0, **METRICS},
        {"step": 50, "loss": 0.0, **METRICS, "validation/x0": 0.1},
    ]
    made = Round.of(rows, 40, 20, 12.34)
    assert made == Round(steps=40, seconds=12.3, loss=0.5, keys=1.5, repeat=0.25, trained=2.0)
    with pytest.raises(ValueError, match="no validation"):
        Round.of(rows, 10, 0, 1.0)
    assert math.isnan(Round.of(rows, 40, 40, 1.0).trained)


@pytest.mark.parametrize(
    ("keys", "said"), [(1.0, "keys do not matter yet"), (1.05, "keys begin to matter"), (1.3, "keys matter (")]
)
def test_a_line_says_whether_keys_matter(keys: float, said: str):
    line = a_round(1234, keys=keys, repeat=0.25).line()
    assert said in line and "after 1,234 steps" in line and "25% of the error of repeating the last one" in line


def test_a_line_says_when_the_last_frame_is_better():
    assert "worse than by repeating the last one (1.50 times its error)" in a_round(repeat=1.5).line()
