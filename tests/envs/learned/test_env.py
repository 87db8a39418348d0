"""The learned world as a Gymnasium environment: checkers pass, same seed same bytes, snapshots replay exactly."""

import copy
import hashlib
import multiprocessing
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from tests.tiny_world import HEIGHT, PROMPTS, WIDTH, save_tiny_world, tiny_starts, tiny_world, trusting_world
from worldsim.datasets.store.video import write_video
from worldsim.envs.learned.action_spaces import single
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.errors import UserError
from worldsim.models.heads import MOTION
from worldsim.spec.actions import MINECRAFT

ROOT = Path(__file__).resolve().parents[3]
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
    assert reward == pytest.approx(float(np.hypot(info["pose"][0], info["pose"][2])), abs=1e-5) and reward > 1e-3
    assert info["pose"].shape == (5,) and (terminated, truncated) == (False, False)


def test_an_episode_ends_where_the_world_says_so():
    def ends(logit: float) -> bool:
        world = copy.deepcopy(tiny_world())
        with torch.no_grad():
            world.dit.heads.out.bias[MOTION] = logit
        env = WorldSimEnv(world, starts=tiny_starts())
        env.reset(seed=1)
        _, _, terminated, truncated, _ = env.step(NOOP)
        assert not truncated
        if terminated:
            with pytest.raises(ResetNeeded, match="over"):
                env.step(NOOP)
        return terminated

    assert ends(0.1) and not ends(-0.1)


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


@pytest.mark.slow
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


def test_snapshots_and_forks_share_memory_until_somebody_goes_on():
    env = make()
    env.reset(seed=5)
    play(env, [TURN])
    ring = env.current().cache.keys
    moment = env.snapshot()
    forks = env.fork(3)
    assert moment.state.cache.keys.data_ptr() == ring.data_ptr()
    assert {fork.current().cache.keys.data_ptr() for fork in forks} == {ring.data_ptr()}
    before = ring.clone()
    went_on = play(env, [TURN, NOOP])
    own = env.current().cache.keys
    assert own.data_ptr() != ring.data_ptr() and torch.equal(ring, before)
    play(env, [NOOP])
    assert env.current().cache.keys.data_ptr() == own.data_ptr(), "alone again, it reuses its memory"
    other = play(forks[0], [NOOP, NOOP])
    np.testing.assert_array_equal(play(forks[1], [TURN, NOOP]), went_on)
    assert forks[2].current().cache.keys.data_ptr() == ring.data_ptr() and torch.equal(ring, before)
    assert (np.array(other) != np.array(went_on)).any()
    assert moment.nbytes() < 1.2 * (2 * ring.nbytes) + moment.frames.nbytes + 100_000
    with pytest.raises(UserError, match="at least 1"):
        env.fork(0)


def test_taking_a_snapshot_changes_nothing():
    def run(snapshots: bool) -> list[np.ndarray]:
        env = make()
        env.reset(seed=5)
        frames = []
        for _ in range(3):
            frames += play(env, [TURN])
            if snapshots:
                env.snapshot()
        return [*frames, env.reset()[0]]

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_restored_snapshot_goes_on_bit_for_bit_in_a_fresh_process(checkpoint: str, tmp_path: Path):
    env = WorldSimEnv(checkpoint)
    env.reset(seed=5)
    play(env, [TURN] * 2)
    env.snapshot().save(tmp_path / "moment.safetensors")
    command = [sys.executable, "-c", GOES_ON, checkpoint, str(tmp_path / "moment.safetensors")]
    there = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    frames = play(env, [TURN, NOOP, TURN])
    assert hashlib.sha256(np.stack(frames).tobytes()).hexdigest() == there


GOES_ON = """
import hashlib, sys
import numpy as np
from tests.envs.learned.test_env import NOOP, TURN, play
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.envs.learned.env import WorldSimEnv
env = WorldSimEnv(sys.argv[1])
env.restore(Snapshot.load(sys.argv[2]))
print(hashlib.sha256(np.stack(play(env, [TURN, NOOP, TURN])).tobytes()).hexdigest())
"""


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_of_a_running_environment_go_on_as_it_does(twin_of: Any):
    env = make(max_episode_steps=6)
    env.reset(seed=5)
    play(env, [TURN])
    twin = twin_of(env)
    went_on = play(env, [TURN, NOOP])
    np.testing.assert_array_equal(play(twin, [TURN, NOOP]), went_on)
    np.testing.assert_array_equal(twin.reset()[0], env.reset()[0])
    assert copy.deepcopy(env).world is env.world, "weights are shared"


def test_observations_and_infos_are_never_reused_arrays():
    env = make()
    given = [env.reset(seed=0), *(env.step(TURN)[::4] for _ in range(3))]
    arrays = [array for obs, info in given for array in (obs, info["frames"], info["pose"])]
    kept = [array.copy() for array in arrays]
    moment = env.snapshot()
    arrays += [env.restore(moment)[0], env.restore(moment)[0]]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    arrays[-3].fill(0)
    env.step(NOOP)
    np.testing.assert_array_equal(given[1][0], kept[3])


def test_random_numbers_are_the_standard_generators():
    env = make()
    env.reset(seed=3)
    assert isinstance(env.np_random, np.random.Generator) and env.np_random_seed == 3
    twin = make()
    twin.np_random = np.random.default_rng(9)
    again = make()
    again.np_random = np.random.default_rng(9)
    np.testing.assert_array_equal(twin.reset()[0], again.reset()[0])


def test_trust_comes_with_every_step_and_can_end_episodes():
    env = make()
    assert "trust" not in env.reset(seed=0)[1] and "trust" not in env.step(NOOP)[4], "nobody calibrated this world"
    with pytest.raises(UserError, match="calibrated"):
        make(min_trust=0.5)
    world = trusting_world()
    env = WorldSimEnv(world, starts=tiny_starts(), min_trust=0.5)
    assert env.reset(seed=0)[1]["trust"] == 1
    steps = [env.step(NOOP) for _ in range(3)]
    assert all(0 < step[4]["trust"] < 1 for step in steps)
    assert [step[3] for step in steps] == [False, False, True], "this one falls with the logarithm of the steps"
    assert not any(step[2] for step in steps), "cut, not over"
    with pytest.raises(ResetNeeded):
        env.step(NOOP)
    with pytest.raises(UserError, match="between 0 and 1"):
        make(min_trust=2.0)


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


@pytest.mark.parametrize(
    "options", [1, "prefix", [("prompt", "x")], {"actions": {}}, {None: 1, "a": 2}, {1: 2}], ids=repr
)
def test_reset_options_of_another_kind_are_named(options: Any):
    env, envs = make(), WorldSimVectorEnv(2, tiny_world(), starts=tiny_starts())
    for one in (env, envs):
        with pytest.raises(UserError):
            one.reset(options=options)
    env.reset(seed=0, options={})
    env.step(NOOP)


@pytest.mark.parametrize("prefix", ["nowhere.mp4", "a\0b.mp4", "\ud800.png", "x" * 5000])
def test_a_name_that_no_file_has_is_one_error_and_the_episode_goes_on(prefix: str):
    env, twin = (make() for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(FileNotFoundError):
        env.reset(options={"prefix": prefix})
    np.testing.assert_array_equal(env.step(NOOP)[0], twin.step(NOOP)[0])


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


def test_a_start_clip_is_chosen_by_its_number():
    env, starts = make(), tiny_starts()
    for number in (0, 1, np.int64(1)):
        obs, info = env.reset(seed=3, options={"start": number})
        assert info["start"] == number and isinstance(info["start"], int)
        np.testing.assert_array_equal(obs, starts.frames[int(number)][-1])
        env.step(NOOP)
    # The number under its other name, and the draws that come after, are the same.
    same = [
        (env.reset(seed=3, options={name: 1})[0], env.step(NOOP)[0], env.reset()[0]) for name in ("start", "prefix")
    ]
    for one, other in zip(*same, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_action_that_does_nothing_is_named():
    env = make()
    assert env.noop_action.tolist() == [0, 0, 0, 0, 0, 0, 0, 5, 5]
    np.testing.assert_array_equal(env.actions.vectors(single(env.noop_action)), MINECRAFT.noop()[None])
    assert [names[number] for names, number in zip(env.action_meanings, env.noop_action, strict=True)] == (
        ["none"] * 7 + ["pitch 0 (rest)", "yaw 0 (rest)"]
    )
    assert env.action_meanings == make_vector().action_meanings
    named = make(action_space="minerl")
    assert named.action_space.contains(named.noop_action) and set(named.action_meanings) == set(named.action_space)  # pyright: ignore


def make_vector() -> WorldSimVectorEnv:
    return WorldSimVectorEnv(2, tiny_world(), starts=tiny_starts())


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
        {"start": 99},
        {"start": -1},
        {"start": True},
        {"start": 1.0},
        {"start": "0"},
        {"start": 0, "prefix": 0},
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


MADE_BY_NAME = """
import sys, gymnasium
world, name = sys.argv[1], "worldsim:WorldSim-Minecraft-v0"
env = gymnasium.make(name, world=world, max_episode_steps=2)
assert env.unwrapped.world is gymnasium.make(name, world=world).unwrapped.world, "weights are not shared"
env.reset(seed=0)
assert [env.step(env.action_space.sample())[3] for _ in range(2)] == [False, True]
envs = gymnasium.make_vec(name, num_envs=3, world=world)
assert len(envs.reset(seed=0)[0]) == 3 and envs.max_episode_steps == 600
each = gymnasium.make_vec(name, num_envs=2, world=world, vectorization_mode="sync")
both, actions = each.reset(seed=0)[0], each.action_space.sample()
assert (both == envs.reset(seed=0)[0][:2]).all()
stepped = envs.step([*actions, actions[0]])[0][:2]
assert abs(each.step(actions)[0].astype(int) - stepped).max() <= 1
import torch
# PyTorch's compiler takes longer to import than all else. Before 2.11 it comes along where a module has no device yet.
slow = {"torch._dynamo", "sympy"} if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 11) else set()
assert not (slow | {"stable_baselines3", "matplotlib"}) & set(sys.modules)
"""


@pytest.mark.slow
def test_gym_make_by_the_name_with_its_package_needs_no_import(checkpoint: str, tmp_path: Path):
    command = [sys.executable, "-W", "error::UserWarning", "-c", MADE_BY_NAME, checkpoint]
    subprocess.run(command, check=True, cwd=tmp_path)


def test_ppo_learns_for_a_moment_unmodified():
    from stable_baselines3 import PPO

    model = PPO("CnnPolicy", make(max_episode_steps=6), n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    model.learn(16)
    action, _ = model.predict(make().reset(seed=0)[0])
    assert action.shape == (9,)
