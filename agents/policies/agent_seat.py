"""A trained agent at the play window's controls.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.policy_net import LearnedPolicy, Memory, load_policy
from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.action_spaces import single
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import hold


class AgentSeat:
    """Acts by the frames that it sees, one decision a chunk, and remembers the last of them.

    Args:
        policy: trained.
        env: of the world that it plays, for its spaces.
    """

    def __init__(self, policy: LearnedPolicy, env: WorldSimEnv):
        self._policy, self._actions = policy, env.actions
        self._memory = Memory(policy.net, env.observation_space)

    def choose(self, state: Any, frame: NDArray[np.uint8] | None, count: int) -> NDArray[np.float32]:
        """The next actions (count, A)."""
        assert frame is not None
        action = self._policy.act(self._memory.see(frame))
        return hold(self._actions.vectors(single(action))[0], count)


def agent_seat(world: WorldModel, starts: StartClips, path: str | Path) -> Callable[[], AgentSeat]:
    """A maker of an agent for a world.

    Raises:
        FileNotFoundError: there is no such policy.
        UserError: it does not fit the world.
    """
    env = WorldSimEnv(world, starts=starts)
    policy = load_policy(path)
    policy.check(env)
    return lambda: AgentSeat(policy, env)
