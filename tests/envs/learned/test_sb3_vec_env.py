"""The learned world as stable-baselines3's own vector environment: same-step autoreset, its wrappers, its learner."""

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize, VecTransposeImage

from tests.tiny_world import HEIGHT, WIDTH, tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.sb3_vec_env import WorldSimVecEnv
from worldsim.errors import UserError

NOOP = np.array([0, 0, 0, 0, 0, 0, 0, 5, 5])


def make(num_envs: int = 2, **options: Any) -> WorldSimVecEnv:
    return WorldSimVecEnv(num_envs, tiny_world(), starts=tiny_starts(), **{"max_episode_steps": 2, **options})


def test_an_ended_row_begins_anew_in_the_same_step():
    venv = make()
    venv.seed(10)
    venv.set_options([{"prefix": 0}, {"prefix": 1}])
    observations: Any = venv.reset()
    assert [info["start"] for info in venv.reset_infos] == [0, 1]
    single = WorldSimEnv(tiny_world(), starts=tiny_starts())
    np.testing.assert_array_equal(single.reset(seed=11, options={"prefix": 1})[0], observations[1])
    _, _, dones, infos = venv.step(np.stack([NOOP, NOOP]))
    single.step(NOOP)
    assert not dones.any() and not any("terminal_observation" in info for info in infos)
    assert not any(info["TimeLimit.truncated"] for info in infos)
    observations, rewards, dones, infos = venv.step(np.stack([NOOP, NOOP]))
    last, reward, *_, info = single.step(NOOP)
    assert dones.all() and rewards.dtype == np.float32 and all(info["TimeLimit.truncated"] for info in infos)
    assert np.abs(infos[1]["terminal_observation"].astype(int) - last).max() <= 1
    np.testing.assert_array_equal(infos[1]["frames"][-1], infos[1]["terminal_observation"])
    np.testing.assert_allclose(rewards[1], reward, atol=1e-5)
    np.testing.assert_allclose(infos[1]["pose"], info["pose"], atol=1e-4)
    # The options held for one reset: the next beginning is drawn.
    np.testing.assert_array_equal(single.reset()[0], observations[1])
    assert venv.reset_infos[1]["start"] >= 0 and not venv.reset_infos[1]["pose"].any()
    assert not venv.step(np.stack([NOOP, NOOP]))[2].any()


def test_a_row_that_ends_alone_leaves_the_others_to_go_on():
    """Terminated, not cut: nothing is bootstrapped from what it showed last."""
    forward = NOOP + np.eye(1, len(NOOP), dtype=np.int64)[0]
    task = lambda step: (2.0, bool(step.action[0, 0]))  # noqa: E731 - forward ends an episode
    venv = make(max_episode_steps=None, task=task)
    venv.seed(10)
    venv.reset()
    rows = [WorldSimEnv(tiny_world(), starts=tiny_starts(), task=task) for _ in range(2)]
    for i, row in enumerate(rows):
        row.reset(seed=10 + i)
    observations: Any
    observations, rewards, dones, infos = venv.step(np.stack([NOOP, forward]))
    alone, (last, reward, ended, cut, info) = rows[0].step(NOOP), rows[1].step(forward)
    assert dones.tolist() == [False, True] and ended and not cut and rewards.tolist() == [2, reward]
    assert not any(info["TimeLimit.truncated"] for info in infos) and "terminal_observation" not in infos[0]
    assert np.abs(infos[1]["terminal_observation"].astype(int) - last).max() <= 1
    np.testing.assert_allclose(infos[1]["pose"], info["pose"], atol=1e-4)
    np.testing.assert_array_equal(observations[1], rows[1].reset()[0])
    assert venv.reset_infos[1]["start"] >= 0 and not venv.reset_infos[1]["pose"].any()
    assert np.abs(observations[0].astype(int) - alone[0]).max() <= 1
    observations, _, dones, infos = venv.step(np.stack([NOOP, NOOP]))
    assert not dones.any() and not any("terminal_observation" in info for info in infos)
    for i, row in enumerate(rows):
        expected, *_, info = row.step(NOOP)
        assert np.abs(observations[i].astype(int) - expected).max() <= 1
        np.testing.assert_allclose(infos[i]["pose"], info["pose"], atol=1e-4)


def test_methods_and_attributes_of_rows():
    venv = make(render_mode="rgb_array", max_episode_steps=None)
    venv.reset()
    moments = venv.env_method("snapshot")
    first: Any = venv.step(np.stack([NOOP, NOOP]))[0]
    venv.env_method("restore", moments[1], indices=[1])
    again: Any = venv.step(np.stack([NOOP, NOOP]))[0]
    np.testing.assert_array_equal(again[1], first[1])
    assert venv.get_attr("render_mode") == ["rgb_array"] * 2 and venv.get_attr("max_episode_steps", 0) == [None]
    venv.set_attr("max_episode_steps", 7)
    assert venv.get_attr("max_episode_steps") == [7, 7]
    with pytest.raises(UserError, match="all of them"):
        venv.set_attr("max_episode_steps", 7, indices=[0])
    with pytest.raises(AttributeError, match="snapshot"):
        venv.env_method("fly")
    assert venv.env_is_wrapped(VecMonitor) == [False, False] and not venv.has_attr("wings")
    assert len(venv.get_images()) == 2 and venv.render() is not None
    with pytest.raises(UserError, match="step_async"):
        venv.step_wait()
    venv.close()


def test_its_wrappers_and_its_learner_accept_it():
    venv = VecNormalize(VecTransposeImage(VecFrameStack(VecMonitor(make(max_episode_steps=3)), 2)), norm_obs=False)
    assert venv.observation_space.shape == (6, HEIGHT, WIDTH)
    model = PPO("CnnPolicy", venv, n_steps=4, batch_size=8, n_epochs=1, seed=0, device="cpu")
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(8)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    assert [episode["l"] for episode in model.ep_info_buffer or ()] == [3, 3]
