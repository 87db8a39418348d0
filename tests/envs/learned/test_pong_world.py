"""The shipped world of Pong as an environment."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldsim
from worldsim.agents.policies.pong import PONG
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.games import WorldGame
from worldsim.envs.pong.pixels import read

ASSET = worldsim.ASSETS / "pong"


@pytest.fixture(scope="module")
def env() -> WorldSimEnv:
    return gymnasium.make("WorldSim-Pong-v0").unwrapped  # pyright: ignore[reportReturnType]


def test_it_is_small():
    assert sum(file.stat().st_size for file in ASSET.rglob("*") if file.is_file()) <= 10_000_000


@pytest.mark.slow
def test_both_checkers_accept_it(env: WorldSimEnv):
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        check_for_sb3(env)


def test_it_is_pong(env: WorldSimEnv):
    obs, _ = env.reset(seed=0)
    assert env.world.spec == PONG and env.world.chunk == 1 and env.action_space == gymnasium.spaces.Discrete(3)
    assert obs.shape == (80, 80, 3)
    assert np.isfinite(read(env.starts.frames[:, -1]).paddle_y).all()


def test_rows_of_the_vector_environment_are_the_single_one(env: WorldSimEnv):
    rows = gymnasium.make_vec("WorldSim-Pong-v0", num_envs=2)
    first, _ = rows.reset(seed=5)
    single, _ = env.reset(seed=6)
    assert np.array_equal(first[1], single)
    for action in (1, 1, 2):
        several, rewards, *_ = rows.step(np.array([0, action]))
        single, reward, *_ = env.step(action)
        assert np.array_equal(several[1], single) and abs(rewards[1] - reward) < 1e-5


def test_w_and_s_play_it(env: WorldSimEnv):
    game = WorldGame(env.world, env.starts)
    game.reset(0)
    lines = Preferences().help(game.hands.meanings, camera=game.hands.spec.camera, rewinds=True)
    assert any(line.startswith("W, Up ") and line.endswith(" up") for line in lines)
    assert not any("mouse" in line.lower() and "look" in line for line in lines)
    held = game.hands(game.hands.spec.vector({"forward": 1}))
    np.testing.assert_array_equal(held, game.world.spec.vector({"up": 1}))
    assert game.advance(held[None]).shape == (1, 80, 80, 3) and " m " not in game.status()


def test_engine_and_world_agree_on_the_contract(env: WorldSimEnv):
    pytest.importorskip("ale_py")
    engine = gymnasium.make("WorldSim-PongEngine-v0").unwrapped
    assert engine.action_space == env.action_space and engine.observation_space == env.observation_space
