"""What a study shows: trials, each of two films side by side that differ in who made them and in nothing else.

The page that raters get names films by random letters. Which side is whose stands in ``key.json`` alone, which stays
with whoever runs the study.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.asides import write_whole
from worldsim.errors import UserError
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

KEY, FORMAT = "key.json", 1
# What a rater may say of a trial.
CHOICES = ("left", "right", "same")
# Seconds of films, as people are asked about generated video elsewhere: a glance, a moment, and long enough to drift.
SECONDS = (1.6, 3.2, 10.0)
QUESTION = "Which of the two looks more like the real game?"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Two films of one clip.

    Attributes:
        name: of the trial, of no meaning; its films are ``NAME-left.mp4`` and ``NAME-right.mp4``.
        clip: number of the clip.
        map: of the clip, a map seed.
        seconds: of the films.
        left: number of the competitor on the left.
        right: on the right.
    """

    name: str
    clip: int
    map: int
    seconds: float
    left: int
    right: int


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, and how.

    Attributes:
        competitors: names of worlds, and ``recorded`` for the game.
        question: that raters answer.
        seed: of clips, sides and order.
        trials: in the order in which they are shown.
    """

    competitors: tuple[str, ...]
    question: str
    seed: int
    trials: tuple[Trial, ...]

    @property
    def number(self) -> str:
        """By which answers are known to be to this study."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def design(
    competitors: Sequence[str], maps: Sequence[int], seconds: Sequence[float], question: str, seed: int
) -> Study:
    """Every pair of competitors on every clip for every length: sides at random, in random order.

    Args:
        competitors: their names, two or more.
        maps: map seed of each clip.
        seconds: lengths of films.
        question: that raters answer.
        seed: of sides, order and names.

    Raises:
        UserError: there are fewer than two competitors, or two of one name.
    """
    if len(competitors) < 2:
        raise UserError(f"a study compares two or more, got {', '.join(competitors) or 'none'}")
    if len(set(competitors)) < len(competitors):
        raise UserError(f"competitors need names of their own, got {', '.join(competitors)}")
    rng = np.random.default_rng(seed)
    pairs = itertools.combinations(range(len(competitors)), 2)
    wanted = [(clip, length, pair) for pair in pairs for length in seconds for clip in range(len(maps))]
    trials = []
    for number in rng.permutation(len(wanted)):
        clip, length, pair = wanted[number]
        left, right = pair if rng.random() < 0.5 else pair[::-1]
        name = rng.bytes(6).hex()
        trials.append(Trial(name=name, clip=clip, map=int(maps[clip]), seconds=float(length), left=left, right=right))
    return Study(competitors=tuple(competitors), question=question, seed=seed, trials=tuple(trials))


def write_key(folder: Path, study: Study, about: Mapping[str, Any]) -> Path:
    """Write ``key.json``: the study, and what else is to be known of it."""
    content = {"format": FORMAT, **asdict(study), "about": dict(about)}
    return write_whole(folder / KEY, json.dumps(content, indent=1) + "\n")


def read_key(folder: Path) -> Study:
    """The study of a folder.

    Raises:
        UserError: there is none.
        ValueError: its file is damaged or of a later version.
    """
    path = folder / KEY
    if not path.is_file():
        raise UserError(f"{folder} holds no study: it has no {KEY}")
    with reading(path, "the key of a study"):
        whole = read_json(path)
        if whole["format"] != FORMAT:
            raise ValueError(f"format {whole['format']}, expected {FORMAT}")
        trials = tuple(Trial(**trial) for trial in whole["trials"])
        names = tuple(str(name) for name in whole["competitors"])
        if any(not 0 <= side < len(names) for trial in trials for side in (trial.left, trial.right)):
            raise ValueError("a trial names a competitor that is not there")
        return Study(competitors=names, question=whole["question"], seed=whole["seed"], trials=trials)
