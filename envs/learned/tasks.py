"""Who gives reward and ends episodes: a task by name or a function, of facts that a learned world or an engine tells.

B rows, r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.imports import load_object
from worldsim.spec.facts import Facts
from worldsim.spec.tasks import Ends, Rewards, find_task

GOAL = "goal:"


@dataclass(frozen=True, kw_only=True)
class StepInformation:
    """What a task that is a function is told about a step of one environment.

    Attributes:
        frames: uint8 (r, H, W, 3), the frames of the step.
        action: float32 (r, A), what was done in each of them.
        pose: x, y, z (metres), yaw, pitch (degrees) relative to the start, float32 (5,).
        before: facts before the step: x, y, z, furthest, sees_tree, wood, wet, won, lost (see ``worldsim.spec.facts``).
        after: the same after it.
        seconds: how long the step took in the world.
    """

    frames: NDArray[np.uint8]
    action: NDArray[np.float32]
    pose: NDArray[np.float32]
    before: Mapping[str, float]
    after: Mapping[str, float]
    seconds: float


TaskFunction = Callable[[StepInformation], tuple[float, bool]]
TaskLike = str | TaskFunction | None


class FactRewardFunction:
    """Judges steps by facts, whoever tells them.

    Args:
        task: a task's name, a function, or ``package.module:function``.
        seconds: a step takes.

    Raises:
        UserError: there is no such task or function.
    """

    def __init__(self, task: str | TaskFunction, seconds: float):
        if isinstance(task, str) and ":" in task:
            task = cast(TaskFunction, load_object(task, "task"))
        self.function = task if callable(task) else None
        self.task = None if callable(task) else find_task(task)
        self.seconds = seconds

    def judge(
        self,
        before: Facts,
        after: Facts,
        frames: NDArray[np.uint8],
        actions: NDArray[np.float32],
        poses: NDArray[np.float32],
    ) -> tuple[Rewards, Ends]:
        """Rewards and ends (B,) of a step with frames (B, r, H, W, 3), actions (B, r, A) and poses (B, 5) after it."""
        if self.task is not None:
            return self.task.judge(before, after, self.seconds)
        assert self.function is not None
        verdicts = [
            self.function(
                StepInformation(
                    frames=frames[i],
                    action=actions[i],
                    pose=poses[i],
                    before=before.row(i),
                    after=after.row(i),
                    seconds=self.seconds,
                )
            )
            for i in range(len(after))
        ]
        rewards = np.array([reward for reward, _ in verdicts], np.float32)
        if not np.isfinite(rewards).all():
            raise UserError(f"the task's function gave a reward that is no finite number: {rewards.tolist()}")
        return rewards, np.array([end for _, end in verdicts], np.bool_)
