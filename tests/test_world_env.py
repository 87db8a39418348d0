"""The learned world as a Gymnasium environment: checkers pass, same seed same bytes, snapshots replay exactly."""

import hashlib
import multiprocessing
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from tests.tiny_world import HEIGHT, PROMPTS, WIDTH, save_tiny_world, tiny_starts, tiny_world
from worldsim.actions import MINECRAFT
from worldsim.datasets.video import write_video
from worldsim.envs.snapshot import Snapshot
from worldsim.envs.world_env import WorldSimEnv
from worldsim.errors import UserError

ID = "WorldSim-Minecraft-v0"
NOOP = np.array([0, 0, 0, 0, 0, 0, 0, 5, 5])
TURN = np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])


def make(**options: Any) -> WorldSimEnv:
    return WorldSimEnv(tiny_world(), starts=tiny_starts(), **options)


def play(env: gymnasium.Env, actions: list[Any]) -> list[np.ndarray]:
    return [env.step(action)[4]["frames"] for action in actions]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_world(tmp_path_factory.mktemp("world") / "tiny"))


@pytest.mark.parametrize("action_space", ["multidiscrete", "minerl"])
def test_gymnasium_checker_is_content(checkpoint: str, action_space: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # MineRL's camera is in degrees; rescaled, it would not be MineRL's.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized space")
        check_env(gymnasium.make(ID, world=checkpoint, action_space=action_space).unwrapped)


def test_stable_baselines3_checker_is_content():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(make())


def test_step_gives_the_last_frame_and_all_frames():
    env = make()
    obs, info = env.reset(seed=1)
    assert obs.shape == (HEIGHT, WIDTH, 3) and info["frames"].shape == (2, HEIGHT, WIDTH, 3)
    obs, reward, terminated, truncated, info = env.step(TURN)
    np.testing.assert_array_equal(obs, info["frames"][-1])
    assert info["pose"].shape == (5,) and reward >= 0 and not terminated and not truncated


def test_actions_and_seeds_matter():
    def first(seed: int, action: Any) -> np.ndarray:
        env = make()
        env.reset(seed=seed, options={"prefix": 0})
        return env.step(action)[0]

    assert (first(1, NOOP) == first(1, NOOP)).all()
    assert (first(1, NOOP) != first(1, TURN)).any()
    assert (first(1, NOOP) != first(2, NOOP)).any()


def digest(seed: int) -> str:
    env = make()
    env.reset(seed=seed)
    env.action_space.seed(seed)
    frames = play(env, [env.action_space.sample() for _ in range(6)])
    return hashlib.sha256(np.stack(frames).tobytes()).hexdigest()


def test_equal_bytes_in_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(digest, (7,))
    assert there == digest(7)


def test_reset_without_seed_goes_on_with_the_generator():
    def two_resets() -> list[np.ndarray]:
        env = make()
        env.reset(seed=3)
        env.reset()
        return play(env, [NOOP])

    assert (two_resets()[0] == two_resets()[0]).all()


def test_restored_snapshot_replays_exactly_and_forks_do_not_touch_each_other(tmp_path: Path):
    env = make()
    env.reset(seed=5)
    play(env, [TURN] * 3)
    moment = env.snapshot()
    moment.save(tmp_path / "moment.safetensors")
    went_on = play(env, [TURN, NOOP, TURN])
    obs, info = env.restore(moment)
    np.testing.assert_array_equal(obs, info["frames"][-1])
    other = play(env, [NOOP, NOOP, NOOP])
    env.restore(moment)
    again = play(env, [TURN, NOOP, TURN])
    np.testing.assert_array_equal(went_on, again)
    assert (np.array(other) != np.array(again)).any()
    elsewhere = make()
    elsewhere.restore(Snapshot.load(tmp_path / "moment.safetensors"))
    np.testing.assert_array_equal(play(elsewhere, [TURN, NOOP, TURN]), went_on)
    assert elsewhere.reset()[1]["start"] == env.reset()[1]["start"]


def test_damaged_and_foreign_snapshots_are_refused(tmp_path: Path):
    env = make()
    env.reset(seed=5)
    moment = env.snapshot()
    moment.save(tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content[:-100])
    with pytest.raises(ValueError, match="damaged"):
        Snapshot.load(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError):
        Snapshot.load(tmp_path / "b.safetensors")
    other = Snapshot(**{**vars(moment), "world": "another"})
    with pytest.raises(UserError, match="another world"):
        env.restore(other)


def test_no_step_before_reset_or_after_the_end():
    env = make(max_episode_steps=2)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(NOOP)
    env.reset(seed=0)
    assert not env.step(NOOP)[3] and env.step(NOOP)[3]
    with pytest.raises(ResetNeeded, match="over"):
        env.step(NOOP)
    env.reset()
    env.step(NOOP)


def test_prefix_from_frames_and_from_a_video(tmp_path: Path):
    env = make()
    frames = tiny_starts().frames[1]
    obs, info = env.reset(seed=0, options={"prefix": frames})
    np.testing.assert_array_equal(obs, frames[-1])
    assert info["start"] == -1
    env.reset(seed=0, options={"prefix": frames[0]})
    env.step(NOOP)
    write_video(tmp_path / "a.mp4", frames.repeat(2, 1).repeat(2, 2))
    obs, _ = env.reset(seed=0, options={"prefix": str(tmp_path / "a.mp4")})
    assert obs.shape == (HEIGHT, WIDTH, 3)
    actions = tiny_starts().actions[1]
    plain = env.reset(seed=0, options={"prefix": 1}) and env.step(NOOP)[0]
    given = env.reset(seed=0, options={"prefix": frames, "actions": actions}) and env.step(NOOP)[0]
    np.testing.assert_array_equal(plain, given)


def test_prompts_matter():
    def first(**options: Any) -> np.ndarray:
        env = make()
        env.reset(seed=0, options={"prefix": 0} | options)
        return env.step(NOOP)[0]

    assert (first(prompt=PROMPTS[0]) == first(prompt=PROMPTS[0])).all()
    assert (first(prompt=PROMPTS[0]) != first(prompt=PROMPTS[1])).any()
    assert (first(prompt=PROMPTS[0]) != first()).any()


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": 99},
        {"prefix": np.zeros((5, 10, 10, 3), np.uint8)},
        {"prefix": np.zeros((5, HEIGHT, WIDTH, 3), np.float32)},
        {"prefix": 0, "actions": np.zeros((1, 22), np.float32)},
        {"prefix": 0, "actions": np.full((4, 22), np.nan, np.float32)},
        {"prefix": 1.5},
        {"beginning": 0},
        {"prompt": 3},
    ],
)
def test_wrong_reset_options_are_told(options: dict[str, Any]):
    with pytest.raises(UserError):
        make().reset(seed=0, options=options)


@pytest.mark.parametrize("action", [np.zeros(8, int), np.full(9, 11), np.zeros(9), -np.ones(9, int), 3])
def test_wrong_actions_are_told(action: Any):
    env = make()
    env.reset(seed=0)
    with pytest.raises(UserError):
        env.step(action)


def test_minerl_actions_equal_their_discrete_twins():
    discrete, named = make(), make(action_space="minerl")
    discrete.reset(seed=0)
    named.reset(seed=0)
    action = MINECRAFT.mapping(MINECRAFT.noop()) | {"forward": 1, "camera": np.array([0, 10], np.float32)}
    np.testing.assert_array_equal(discrete.step(np.array([1, 0, 0, 0, 0, 0, 0, 5, 10]))[0], named.step(action)[0])


def test_rendering(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make(render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), obs)
    window = make(render_mode="human")
    window.reset(seed=0)
    window.step(NOOP)
    assert window.render() is None
    window.close()
    window.close()
    with pytest.raises(UserError, match="render_mode"):
        make(render_mode="ansi")


IMPORTED_LAZILY = """
import sys, gymnasium
dear = [name for name in ("torch", "pygame", "av", "worldsim.world") if name in sys.modules]
assert not dear, f"importing gymnasium imports {dear}"
world, name = sys.argv[1], "WorldSim-Minecraft-v0"
env = gymnasium.make(name, world=world, max_episode_steps=2)
assert env.unwrapped.world is gymnasium.make(name, world=world).unwrapped.world, "weights are not shared"
env.reset(seed=0)
assert [env.step(env.action_space.sample())[3] for _ in range(2)] == [False, True]
envs = gymnasium.make_vec(name, num_envs=3, world=world)
assert len(envs.reset(seed=0)[0]) == 3 and envs.max_episode_steps == 600
"""


def test_gym_make_needs_no_import_of_worldsim(checkpoint: str, tmp_path: Path):
    command = [sys.executable, "-W", "error::UserWarning", "-c", IMPORTED_LAZILY, checkpoint]
    subprocess.run(command, check=True, cwd=tmp_path)


def test_ppo_learns_for_a_moment_unmodified():
    from stable_baselines3 import PPO

    model = PPO("CnnPolicy", make(max_episode_steps=6), n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    model.learn(16)
    action, _ = model.predict(make().reset(seed=0)[0])
    assert action.shape == (9,)
