"""Tasks of Minecraft-like worlds, and of games that count points: reward and end of a step, from facts around it.

One definition serves the engine, recorded episodes and the learned world. B rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.spec.facts import Facts

Rewards = NDArray[np.float32]
Ends = NDArray[np.bool_]
# Facts before and after the step, and how long it took in seconds.
Judge = Callable[[Facts, Facts, float], tuple[Rewards, Ends]]
LIKELY = 0.5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        name: as in ``gymnasium.make(..., task=name)``.
        help: what earns reward and what ends an episode.
        needs: the learned facts that it is judged by; none where the motion head is enough.
        judge: rewards (B,) and ends (B,) of a step.
    """

    name: str
    help: str
    needs: tuple[str, ...]
    judge: Judge


def _explore(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    return after.furthest - before.furthest, np.zeros(len(after), np.bool_)


def _climb_high(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    return after.position[:, 1] - before.position[:, 1], np.zeros(len(after), np.bool_)


def _look_at_tree(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    found = after.sees_tree > LIKELY
    return found.astype(np.float32), found


def _collect_wood(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    # A world's estimate is a probability: the expected number of pieces, and the sum of a run its expected total.
    return after.wood.copy(), np.zeros(len(after), np.bool_)


def _survive(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    wet = after.wet > LIKELY
    return np.where(wet, 0.0, seconds).astype(np.float32), wet


def _points(before: Facts, after: Facts, seconds: float) -> tuple[Rewards, Ends]:
    # Expected points, as for wood: rare as they are, a world is seldom sure of one, and a threshold would tell none.
    return after.won - after.lost, np.zeros(len(after), np.bool_)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="explore", needs=(), judge=_explore,
            help="metres by which the furthest horizontal distance from the start grew",
        ),
        Task(
            name="climb_high", needs=(), judge=_climb_high,
            help="metres climbed (going down costs as much), so that a run earns the height it ends at",
        ),
        Task(
            name="look_at_tree", needs=("sees_tree",), judge=_look_at_tree,
            help="1 for having a trunk within 8 metres and 10 degrees of the middle of the view, which ends the run",
        ),
        Task(name="collect_wood", needs=("wood",), judge=_collect_wood, help="1 for each piece of trunk that is cut"),
        Task(
            name="survive", needs=("wet",), judge=_survive,
            help="the seconds of a run, which ends when the player gets into water",
        ),
        Task(
            name="points", needs=("won", "lost"), judge=_points,
            help="1 for each point that the game gives, -1 for each that it takes: any game with rewards of its own",
        ),
    )
}  # fmt: skip


def find_task(name: str) -> Task:
    """A task by name.

    Raises:
        UserError: there is no such task.
    """
    if name not in TASKS:
        raise UserError(
            f"unknown task {name!r}; known: {', '.join(TASKS)}, a text goal, 'goal: a forest at night', "
            "or a function, package.module:name"
        )
    return TASKS[name]
