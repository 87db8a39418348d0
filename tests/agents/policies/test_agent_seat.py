"""A trained agent at the window's controls acts as it does in its environment."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from tests.tiny_world import tiny_starts, tiny_world
from worldsim.agents.policies.agent_seat import agent_seat
from worldsim.agents.policies.player import TrainedPlayer
from worldsim.agents.policies.policy_net import FILE, NetConfig, make_policy_net, save_policy
from worldsim.envs.learned.env import WorldSimEnv

NET = NetConfig(shrink=8, stack=2, channels=2, features=8)


def test_it_chooses_what_it_would_choose_in_its_environment(tmp_path: Path):
    env = WorldSimEnv(tiny_world(), starts=tiny_starts())
    torch.manual_seed(0)
    save_policy(tmp_path / FILE, make_policy_net(env.observation_space, env.action_space, NET), NET, {})
    player, frame = TrainedPlayer(env, str(tmp_path)), tiny_starts().frames[0, 0]
    seat = agent_seat(tiny_world(), tiny_starts(), tmp_path)()
    player.reset(0, {})
    expected = [env.actions.vectors(player.act(frame, {})[None])[0] for _ in range(3)]
    player.reset(0, {})
    chosen = [seat.choose(None, frame, 2) for _ in range(3)]
    np.testing.assert_array_equal(np.stack(chosen), np.repeat(np.stack(expected)[:, None], 2, 1))
    assert len({one.tobytes() for one in expected}) > 1


def test_a_policy_that_is_not_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        agent_seat(tiny_world(), tiny_starts(), tmp_path)
