"""Reward and ends of episodes in a learned world, by what the world itself estimates: tasks and text goals.

B rows, r video frames per chunk, A action vector.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.envs.learned.tasks import GOAL, FactRewardFunction, TaskLike
from worldsim.errors import UserError
from worldsim.models.shield import shielded
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import Step, WorldModel
from worldsim.spec.facts import LEARNED, Facts
from worldsim.spec.tasks import Ends, Rewards


class WorldRewardFunction:
    """Judges steps of a learned world by what the world itself estimates; its termination head ends episodes too.

    Args:
        world: the world.
        task: a name, a function (or ``package.module:function``), ``goal: TEXT``, or None: the reward that the world
            was trained with.

    Raises:
        UserError: there is no such task, or the world has no learned heads for it.
        ValueError: the text is unknown to the world and there is no text encoder.
    """

    def __init__(self, world: WorldModel, task: TaskLike):
        self.world, self.goal, self.fact_rewards = world, None, None
        if isinstance(task, str) and task.startswith(GOAL):
            self.goal = _goal(world, task.removeprefix(GOAL).strip())
        elif task is not None:
            self.fact_rewards = FactRewardFunction(task, world.chunk / world.config.fps)
            known = world.fact_heads.config.known if world.fact_heads else ()
            task_of_name = self.fact_rewards.task
            missing = [fact for fact in (task_of_name.needs if task_of_name else ()) if fact not in known]
            if missing:
                raise UserError(
                    f"this world has not learned to tell {', '.join(missing)}, which task {task!r} needs: "
                    "worldsim train tasks teaches it"
                )

    def facts(self, state: WorldState) -> Facts | None:
        """What the task has to know about the moment before a step."""
        return None if self.fact_rewards is None else world_facts(self.world, state)

    def judge(
        self,
        before: Facts | None,
        state: WorldState,
        out: Step,
        actions: NDArray[np.float32],
        rows: NDArray[np.bool_] | None = None,
    ) -> tuple[Rewards, Ends]:
        """Rewards and ends (B,) of a step that led to ``state``; ``actions`` are (B, r, A).

        A task's function is told of ``rows`` (bool (B,)) alone, for it may count; the others get 0 from it and no end.
        """
        nothing = np.zeros(state.batch, np.bool_)
        if self.fact_rewards is not None:
            assert before is not None
            part = ~nothing if rows is None else rows
            after = world_facts(self.world, state).rows(part)
            rewards, ends = np.zeros(state.batch, np.float32), nothing
            rewards[part], ends[part] = self.fact_rewards.judge(
                before.rows(part), after, out.frames[part], actions[part], out.pose[part]
            )
            return rewards, ends
        if self.goal is None:
            return out.reward, nothing
        return _likeness(self.world, state, self.goal), nothing


@shielded
@torch.inference_mode()
def world_facts(world: WorldModel, state: WorldState) -> Facts:
    """Facts (B,) as a world estimates them; what it has no heads for is 0."""
    read = {} if world.fact_heads is None else world.fact_heads.probabilities(state.features)
    nothing = np.zeros(state.batch, np.float32)
    learned = {name: read[name].cpu().numpy() if name in read else nothing for name in LEARNED}
    position, furthest = (t.cpu().numpy().copy() for t in (state.pose[:, :3], state.furthest))
    return Facts(position=position, furthest=furthest, **learned)


@shielded
@torch.inference_mode()
def _likeness(world: WorldModel, state: WorldState, goal: torch.Tensor) -> Rewards:
    """By how much more alike a text goal (X,) the rows are than the recordings are on the whole (B,)."""
    heads = world.fact_heads
    assert heads is not None
    return ((heads.embed(state.features) - heads.usual) @ goal).cpu().numpy()


@shielded
def _goal(world: WorldModel, text: str) -> torch.Tensor:
    if not text:
        raise UserError("a text goal is empty: give, for example, task='goal: walking in a forest'")
    if world.fact_heads is None or world.fact_heads.text is None:
        raise UserError("this world has not learned what text goals look like: worldsim train tasks teaches it")
    vector = world.embed([text], 1)[0]
    if len(vector) != world.fact_heads.config.text:
        raise UserError(
            f"the text encoder gives {len(vector)} numbers, this world's text goals have {world.fact_heads.config.text}"
        )
    return torch.nn.functional.normalize(vector, dim=0)
