"""Counterfactual truth: the same past and several branches of actions, played in the engine that recorded the past.

P frames of past after the first, F frames of a branch, H W pixels, A action vector.

    with engine_of(provenance) as engine:                       # as an episode's manifest tells it
        truth = replay_branches(engine, prefix_actions, [branch_a, branch_b], again=1)
    truth.branches[0].frames

An Atari game is cloned where the past ends. Luanti cannot be: each branch is played from the episode's start, in the
same running game as long as nothing was dug or placed, because a map made anew grows some of its trees otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.evaluation.counterfactuals.engine_replays import Engine, Film, play
from worldsim.evaluation.measures.metrics import psnr
from worldsim.evaluation.measures.types import Progress

# Beyond these, at the end of the past, a replay is another world: metres, degrees, dB.
FAR, TURNED, UNLIKE = 0.25, 1.0, 18.0
# Luanti's server runs beside its client and hears of a sprint sooner or later: a past that ends more than so many
# metres from the first one is played again, so often.
NEAR, TRIES = 0.05, 3


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Branches in the engine.

    Attributes:
        past: the prefix as the engine played it for the first branch.
        branches: in the order they were asked for.
        again: the first branches once more: how far the engine agrees with itself.
        drift: per branch, and then per one of ``again``: metres between where its past ended and where the first did;
            zeros where the engine tells no pose.
    """

    past: Film
    branches: list[Film]
    again: list[Film] = field(default_factory=list)
    drift: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Check:
    """The recorded past that a replay has to repeat.

    Attributes:
        frame: its last picture, uint8 (H, W, 3).
        pose: there, (5,) as in ``Film``; None where it was not recorded.
    """

    frame: NDArray[np.uint8]
    pose: NDArray[np.float64] | None = None

    def compare(self, past: Film) -> dict[str, float]:
        """How far a replayed past ends from the recorded one: ``psnr`` (dB), ``metres``, ``degrees``.

        Raises:
            UserError: it is another world.
        """
        if past.frames[-1].shape != self.frame.shape:
            raise UserError(f"the engine shows pictures of {past.frames[-1].shape}, recorded were {self.frame.shape}")
        found = {"psnr": float(psnr(past.frames[-1], self.frame))}
        if self.pose is not None and past.pose is not None:
            found["metres"] = _metres(past.pose[-1], self.pose)
            turned = (past.pose[-1, 3:] - self.pose[3:] + 180) % 360 - 180
            found["degrees"] = float(np.abs(turned).max())
        apart = found["psnr"] < UNLIKE or found.get("metres", 0) > FAR or found.get("degrees", 0) > TURNED
        if apart:
            differences = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            raise UserError(
                f"the engine does not repeat the recorded past: after {len(past.actions)} frames {differences} "
                f"(wanted psnr {UNLIKE:g} or more, at most {FAR:g} metres and {TURNED:g} degrees): "
                "begin earlier in the episode"
            )
        return found


def replay_branches(
    engine: Engine,
    prefix: NDArray[np.float32],
    branches: Sequence[NDArray[np.float32]] | Callable[[Film], Sequence[NDArray[np.float32]]],
    *,
    again: int = 0,
    check: Check | None = None,
    progress: Progress = lambda *_: None,
) -> Truth:
    """Play every branch in the engine, each from the end of the same past.

    Args:
        engine: at its start; see ``engine_of``, ``LuantiReplay`` and ``GymReplay``.
        prefix: the actions (P, A) from the start to where the branches part.
        branches: actions (F, A) of each; or a function that gives them, told the past as the engine played it.
        again: how many of the first branches to play a second time, for the engine's own floor.
        check: what the past must look like; compared before the first branch is played.
        progress: told the stage, how many branches are done, and of how many.

    Raises:
        UserError: the engine does not repeat the recorded past (see ``Check``).
    """
    prefix = np.asarray(prefix, np.float32)
    progress("engine", 0, 0 if callable(branches) else len(branches))
    first = _first_past(engine, prefix, check)
    if callable(branches):
        branches = branches(first)
    if not len(branches):
        raise ValueError("there are no branches")
    todo = [*branches, *branches[:again]]
    films, drift = [], []
    for number, actions in enumerate(todo):
        apart = 0.0 if number == 0 else _same_past(engine, prefix, first)
        films.append(play(engine, np.asarray(actions, np.float32)))
        drift.append(apart)
        progress("engine", number + 1, len(todo))
    return Truth(past=first, branches=films[: len(branches)], again=films[len(branches) :], drift=drift)


def _first_past(engine: Engine, prefix: NDArray[np.float32], check: Check | None) -> Film:
    for trial in range(TRIES):
        past = engine.rewind(prefix)
        try:
            if check is not None:
                check.compare(past)
            break
        except UserError:
            if trial + 1 == TRIES:
                raise
    return past  # pyright: ignore[reportPossiblyUnboundVariable]


def _same_past(engine: Engine, prefix: NDArray[np.float32], first: Film) -> float:
    """Bring the engine to the end of the past; returns how many metres from where it was the first time."""
    apart = 0.0
    for _ in range(TRIES):
        past = engine.rewind(prefix)
        if past.pose is not None and first.pose is not None:
            apart = _metres(past.pose[-1], first.pose[-1])
        if apart <= NEAR:
            break
    return apart


def _metres(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(a[:3] - b[:3]))
