"""What raters said: shares with intervals, and strengths of the competitors.

K competitors, N answers.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm

from worldsim.errors import UserError
from worldsim.evaluation.study.design import CHOICES, Study, Trial
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

LIKELY = float(norm.ppf(0.975))
# Weight of what is imagined, by which strengths are finite however one-sided answers are.
PRIOR = 0.5
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a rater said of a trial: ``choice`` is one of ``CHOICES``."""

    rater: str
    trial: Trial
    choice: str

    @property
    def score(self) -> float:
        """1 where the competitor with the lower number was chosen, 0 where the other one was, .5 for neither."""
        if self.choice == "same":
            return 0.5
        chosen = self.trial.left if self.choice == "left" else self.trial.right
        return float(chosen == min(self.trial.left, self.trial.right))

    @property
    def pair(self) -> tuple[int, int]:
        """The competitors, the lower number first."""
        return min(self.trial.left, self.trial.right), max(self.trial.left, self.trial.right)


@dataclass(frozen=True, kw_only=True)
class Preference:
    """How often one competitor was preferred to another.

    Attributes:
        wins, ties, losses: counts.
        share: of those answers that chose, how many chose it; NaN where none did.
        low, high: its 95 % interval (Wilson 1927).
    """

    wins: int
    ties: int
    losses: int
    share: float
    low: float
    high: float


def read_answers(study: Study, files: Sequence[Path]) -> list[Answer]:
    """The answers in files that raters saved from the page.

    Raises:
        UserError: a file is of another study, or a rater's answers are there twice.
        ValueError: a file is damaged.
    """
    trials = {trial.name: trial for trial in study.trials}
    found: dict[tuple[str, str], Answer] = {}
    for file in files:
        with reading(file, "the answers of a rater"):
            whole = read_json(file)
            rater, of, given = str(whole["rater"]), whole["study"], list(whole["answers"])
            said = [(str(one["trial"]), str(one["choice"])) for one in given]
        if of != study.number:
            raise UserError(f"{file} answers study {of}, this one is {study.number}")
        for name, choice in said:
            if name not in trials or choice not in CHOICES:
                raise UserError(f"{file}: no such answer: {choice!r} to trial {name!r}")
            if (rater, name) in found:
                raise UserError(f"{file}: rater {rater!r} answered trial {name} before: are these two raters?")
            found[rater, name] = Answer(rater=rater, trial=trials[name], choice=choice)
    return list(found.values())


def wilson(wins: float, count: float) -> tuple[float, float]:
    """95 % interval of a share of ``wins`` in ``count`` (Wilson 1927); 0 to 1 where there is nothing."""
    if count <= 0:
        return 0.0, 1.0
    share, z = wins / count, LIKELY
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def preference(answers: Iterable[Answer], first: int, second: int) -> Preference:
    """How often the competitor ``first`` was preferred to ``second``."""
    scores = [a.score for a in answers if a.pair == (min(first, second), max(first, second))]
    scores = scores if first < second else [1 - score for score in scores]
    wins, losses = sum(score == 1 for score in scores), sum(score == 0 for score in scores)
    chose = wins + losses
    low, high = wilson(wins, chose)
    share = wins / chose if chose else math.nan
    return Preference(wins=wins, ties=len(scores) - chose, losses=losses, share=share, low=low, high=high)


def strengths(answers: Sequence[Answer], competitors: int) -> tuple[NDArray[np.float64], float]:
    """Logarithms of strength (K,), of mean 0, and the logarithm of how easily one says "the same".

    A wins over B with odds of their strengths, a tie stands between them (Davidson 1970; without ties Bradley and Terry
    1952). Half a win and half a loss of each against an imagined competitor of strength 0 keep who always wins finite.
    """
    wins, ties = np.zeros((competitors, competitors)), np.zeros((competitors, competitors))
    for answer in answers:
        one, other = answer.pair
        wins[one, other] += answer.score == 1
        wins[other, one] += answer.score == 0
        ties[one, other] += answer.score == 0.5
    shown = np.triu(wins + wins.T + ties, 1)

    def loss(values: NDArray[np.float64]) -> float:
        strength, ease = np.append(values[:-1], -values[:-1].sum()), values[-1]
        one, other = strength[:, None], strength
        tie = ease + (one + other) / 2
        total = np.logaddexp(np.logaddexp(one, other), tie)
        said = (wins * one).sum() + (ties * tie).sum() - (shown * total).sum()
        imagined = strength - 2 * np.logaddexp(strength, 0)
        return float(-said - PRIOR * imagined.sum() + PRIOR * np.logaddexp(ease, -ease))

    found = minimize(loss, np.zeros(competitors), method="BFGS").x
    return np.append(found[:-1], -found[:-1].sum()), float(found[-1])


def strength_intervals(
    answers: Sequence[Answer], competitors: int, seed: int = 0, draws: int = RESAMPLES
) -> NDArray[np.float64]:
    """95 % intervals (K, 2) of the logarithms of strength: raters resampled, of a single rater the clips."""
    by = by_rater(answers)
    groups = list(by.values()) if len(by) > 1 else list(_grouped(answers, lambda a: str(a.trial.clip)).values())
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        some = [a for g in rng.integers(len(groups), size=len(groups)) for a in groups[g]]
        drawn.append(strengths(some, competitors)[0])
    return np.quantile(drawn, [0.025, 0.975], axis=0).T


def by_rater(answers: Iterable[Answer]) -> Mapping[str, list[Answer]]:
    """The answers of each rater."""
    return _grouped(answers, lambda a: a.rater)


def by_map(answers: Iterable[Answer]) -> Mapping[str, list[Answer]]:
    """The answers on each map."""
    return _grouped(answers, lambda a: str(a.trial.map))


def by_seconds(answers: Iterable[Answer]) -> Mapping[str, list[Answer]]:
    """The answers on films of each length."""
    return _grouped(answers, lambda a: f"{a.trial.seconds:g} s")


def _grouped(answers: Iterable[Answer], of: Callable[[Answer], Any]) -> Mapping[str, list[Answer]]:
    out: dict[str, list[Answer]] = {}
    for answer in answers:
        out.setdefault(of(answer), []).append(answer)
    return dict(sorted(out.items(), key=lambda item: (len(item[0]), item[0])))
