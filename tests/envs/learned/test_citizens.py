"""Programs around an environment: threads of their own, Gymnasium's wrappers, processes of stable-baselines3."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.wrappers import vector as vector_wrappers

from tests.tiny_world import save_tiny_world, tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def made(**options: Any) -> WorldSimEnv:
    return WorldSimEnv(tiny_world(), starts=tiny_starts(), **options)


def played(seed: int) -> list[bytes]:
    env = made()
    env.reset(seed=seed)
    env.action_space.seed(seed)
    return [env.step(env.action_space.sample())[4]["frames"].tobytes() for _ in range(3)]


def test_environments_in_threads_are_those_of_one_thread():
    alone = [played(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(played, range(4))) == alone


WRAPPERS: dict[str, Callable[[gymnasium.Env], gymnasium.Env]] = {
    "statistics": wrappers.RecordEpisodeStatistics,
    "stacked": lambda env: wrappers.FrameStackObservation(env, 3),
    "grey": lambda env: wrappers.GrayscaleObservation(env, keep_dim=True),
    "autoreset": wrappers.Autoreset,
    "normalised": wrappers.NormalizeReward,
    "collected": wrappers.RenderCollection,
    "flat": wrappers.FlattenObservation,
    "late": lambda env: wrappers.DelayObservation(env, 1),
    "checked": wrappers.PassiveEnvChecker,
    "limited": lambda env: wrappers.TimeLimit(env, 2),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_gymnasiums_wrappers_accept_it(name: str):
    env = WRAPPERS[name](made(render_mode="rgb_array", max_episode_steps=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(seed=0)
        for _ in range(4):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if (terminated or truncated) and name != "autoreset":
                env.reset()
    env.close()


ROWS: dict[str, Callable[[Any], Any]] = {
    "normalised rewards": vector_wrappers.NormalizeReward,
    "normalised observations": vector_wrappers.NormalizeObservation,
    "infos as lists": vector_wrappers.DictInfoToList,
    "clipped": lambda env: vector_wrappers.ClipReward(env, -1, 1),
    "grey": vector_wrappers.GrayscaleObservation,
    "flat": vector_wrappers.FlattenObservation,
}


@pytest.mark.parametrize("name", ROWS)
def test_gymnasiums_wrappers_of_rows_accept_it(name: str):
    env = ROWS[name](WorldSimVectorEnv(2, tiny_world(), starts=tiny_starts(), max_episode_steps=2))
    env.reset(seed=0)
    for _ in range(4):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, list, tuple])
def test_an_action_may_be_whole_numbers_of_any_kind(kind: Any):
    env, action = made(), [1, 0, 0, 0, 0, 0, 0, 5, 9]
    env.reset(seed=1)
    expected = env.step(np.array(action))[0]
    env.reset(seed=1)
    given = kind(action) if kind in (list, tuple) else np.asarray(action, kind)
    np.testing.assert_array_equal(env.step(given)[0], expected)


def test_seeds_of_any_whole_kind_are_the_same_seed():
    env = made()
    expected = env.reset(seed=5)[0]
    for seed in (np.int64(5), np.uint32(5), np.uint8(5)):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], expected)  # pyright: ignore[reportArgumentType]
    assert env.reset(seed=2**40)[0].shape == expected.shape
    for wrong in (-1, 1.5, "5"):
        with pytest.raises((UserError, gymnasium.error.Error)):
            env.reset(seed=wrong)  # pyright: ignore[reportArgumentType]


SUBPROCESSES = """
import sys
import gymnasium
from stable_baselines3.common.vec_env import SubprocVecEnv
def make():
    return gymnasium.make("worldsim:WorldSim-Minecraft-v0", world=sys.argv[1], starts=sys.argv[1] + "/starts")
if __name__ == "__main__":
    env = make()
    env.reset(seed=0)
    env.step(env.unwrapped.noop_action)
    rows = SubprocVecEnv([make] * 2, start_method=sys.argv[2])
    rows.reset()
    shown = rows.step([rows.action_space.sample() for _ in range(2)])[0]
    rows.close()
    print(shown.shape)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_processes_of_stable_baselines3_after_the_world_was_used(method: str, tmp_path: Path):
    """Once a forked process waited for threads that only its parent has: the limit is there for that alone."""
    pytest.importorskip("stable_baselines3")
    world = save_tiny_world(tmp_path / "tiny")
    (tmp_path / "rows.py").write_text(SUBPROCESSES)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "rows.py"), str(world), method],
        cwd=ROOT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and run.stdout.split("\n")[-2].startswith("(2, 48, 80"), run.stderr[-2000:]
