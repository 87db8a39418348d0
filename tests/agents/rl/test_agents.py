"""Learning agents: the loop learns, resumes and keeps its policies without pickle; players and their returns."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.stats import trim_mean
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecFrameStack

from tests.envs.luanti.test_engine_env import engine
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.agents.policies.player import make_player
from worldsim.agents.policies.policy_net import FILE, Memory, NetConfig, load_policy, make_policy_net, save_policy
from worldsim.agents.rl.cloning import CloneTraining, Demonstrations, clone, read_demonstrations
from worldsim.agents.rl.envs import env_id, make_rows
from worldsim.agents.rl.evaluation import advantage, interquartile_mean, play_episode, play_episodes, summary
from worldsim.agents.rl.ppo import PpoTraining, Schedule, learn
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.datasets.store.video import read_video
from worldsim.envs.learned.action_spaces import MultiDiscreteActions, make_actions
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec

NET = NetConfig(shrink=4, channels=4, features=32)
PPO = PpoTraining(rollout=32, batch=64, epochs=4, rate=3e-3, entropy=0.0)


class Bright(gymnasium.Env[Any, Any]):
    """Shows a bright left or right half; naming the side earns 1. Ten steps."""

    observation_space = spaces.Box(0, 255, (48, 64, 3), np.uint8)
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action):
        reward = float(action == self.side)
        self.steps += 1
        return self._show(), reward, self.steps == 10, False, {}

    def _show(self):
        self.side = int(self.np_random.integers(2))
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, 32 * self.side : 32 * self.side + 32] = 255
        return picture


gymnasium.register("Bright-v0", lambda **settings: Bright())


def train(folder: Path, steps: int, *, task: str | None = None, eval_envs: VecEnv | None = None, **often: int):
    envs = make_rows("Bright-v0", 4, steps=20, kwargs={})
    usual = {"checkpoint_every": 128, "eval_every": 256, "eval_episodes": 4, "video_every": 256}
    return learn(
        envs, folder, PPO, Schedule(steps=steps, **usual | often), net=NET, about={"task": task, "env": "Bright-v0"},
        eval_envs=eval_envs or make_rows("Bright-v0", 1, steps=20, kwargs={}),
        watched=lambda: gymnasium.make("Bright-v0"), fps=10,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("error:Training and eval env")
def test_ppo_learns_keeps_what_it_learned_and_goes_on(tmp_path: Path):
    train(tmp_path, 640)
    assert load_policy(tmp_path / FILE).about["steps"] == 640
    model = train(tmp_path, 1920)
    assert model.num_timesteps == 1920
    env = gymnasium.make("Bright-v0")
    learned = make_player(str(tmp_path), env, deterministic=True)
    chance = np.mean([p.total for p in play_episodes(env, make_player("random", env), 10, seed=0)])
    assert np.mean([p.total for p in play_episodes(env, learned, 10, seed=0)]) > 9 > 7 > chance
    assert (tmp_path / "evaluations.npz").exists() and (tmp_path / "best" / FILE).exists()
    assert "ep_rew_mean" in (tmp_path / "progress.csv").read_text()
    *_, film = sorted((tmp_path / "videos").iterdir())
    assert read_video(film).shape == (11, 48, 64, 3)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".zip", ".pkl", ".pth", ".pt")]


@pytest.mark.slow
def test_a_resumed_run_has_the_weights_and_the_optimizer_it_stopped_with(tmp_path: Path):
    before = train(tmp_path, 256)
    again = train(tmp_path, 256)
    for name, tensor in before.policy.state_dict().items():
        torch.testing.assert_close(again.policy.state_dict()[name], tensor)
    one, two = before.policy.optimizer.state_dict()["state"], again.policy.optimizer.state_dict()["state"]
    assert set(one) == set(two) and all(torch.equal(one[k]["exp_avg_sq"], two[k]["exp_avg_sq"]) for k in one)
    assert load_policy(tmp_path / FILE).about["steps"] == 256


@pytest.mark.slow
def test_a_resumed_run_keeps_its_history(tmp_path: Path):
    def rows() -> list[dict[str, str]]:
        return list(csv.DictReader((tmp_path / "progress.csv").read_text().splitlines()))

    train(tmp_path, 256, eval_every=0, video_every=0)
    before = rows()
    # Written after the checkpoint, by a run that was killed: these steps are taken again.
    lines = (tmp_path / "progress.csv").read_text().splitlines(keepends=True)
    lines.append(lines[-1].replace(",256", ",9999").replace("256,", "9999,"))
    (tmp_path / "progress.csv").write_text("".join([*lines, "torn"]))
    train(tmp_path, 512, eval_every=128, video_every=0)
    after = rows()
    assert len(rows()) > len(before) == 2 and "eval/mean_reward" in after[-1].keys() - before[0].keys()
    for old, new in zip(before, after, strict=False):
        assert {name: new[name] for name in old} == old
    steps = [int(row["time/total_timesteps"]) for row in after]
    assert steps == sorted(steps) and steps[-1] == 512
    with np.load(tmp_path / "evaluations.npz") as saved:
        first = {name: values.copy() for name, values in saved.items()}
    train(tmp_path, 768, eval_every=128, video_every=0)
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [384, 512, 640, 768] and first["timesteps"].tolist() == [384, 512]
        for name, values in first.items():
            np.testing.assert_array_equal(saved[name][:2], values)
        assert load_policy(tmp_path).about["evaluation"] == saved["results"].mean(1).max()
    with pytest.raises(UserError, match="over 4 episodes, not 5"):
        train(tmp_path, 800, eval_episodes=5)
    assert [int(row["time/total_timesteps"]) for row in rows()][: len(steps)] == steps


@pytest.mark.slow
def test_after_resuming_only_a_better_policy_becomes_the_best(tmp_path: Path):
    train(tmp_path, 128, eval_every=128, video_every=0)
    best, path = load_policy(tmp_path), tmp_path / "best" / FILE
    for found, kept in ((1e6, True), (-1.0, False)):
        save_policy(path, best.policy, NET, best.about | {"evaluation": found})
        written = path.read_bytes()
        train(tmp_path, load_policy(tmp_path / FILE).about["steps"] + 128, eval_every=128, video_every=0)
        assert (path.read_bytes() == written) == kept


def test_a_run_of_another_task_is_not_resumed(tmp_path: Path):
    train(tmp_path, 128, eval_every=0, video_every=0)
    before = (tmp_path / "progress.csv").read_bytes()
    with pytest.raises(UserError, match="began with task None, not 'points'"):
        train(tmp_path, 256, task="points")
    assert (tmp_path / "progress.csv").read_bytes() == before


@pytest.mark.slow
def test_films_change_nothing_about_what_is_learned(tmp_path: Path):
    filmed = train(tmp_path / "filmed", 384, eval_every=0, video_every=128).policy.state_dict()
    unseen = train(tmp_path / "unseen", 384, eval_every=0, video_every=0).policy.state_dict()
    assert list((tmp_path / "filmed" / "videos").iterdir())
    assert all(torch.equal(filmed[name], tensor) for name, tensor in unseen.items())


class Beginnings(VecEnvWrapper):
    """Keeps what every episode begins with."""

    def __init__(self, venv: VecEnv):
        super().__init__(venv)
        self.seen: list[Any] = []

    def reset(self):
        self.seen.append(np.copy(self.venv.reset()))  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self.seen[-1]

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        if dones[0]:
            self.seen.append(np.copy(observations))  # pyright: ignore[reportArgumentType, reportCallIssue]
        return observations, rewards, dones, infos


@pytest.mark.slow
def test_every_evaluation_begins_from_the_same_starts(tmp_path: Path):
    starts = Beginnings(make_rows("Bright-v0", 1, steps=20, kwargs={}))
    train(tmp_path, 384, eval_envs=starts, eval_every=128, video_every=0)
    # After each of the four episodes a further one begins.
    first, *others = np.split(np.stack(starts.seen), 3)
    assert len(first) == 5 and len(np.unique(first, axis=0)) > 1
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_rows_of_a_dream_end_as_stable_baselines3_expects():
    world, starts = tiny_world(), tiny_starts()
    envs = make_rows("WorldSim-Minecraft-v0", 2, steps=3, kwargs={"world": world, "starts": starts})
    envs.seed(4)
    observations: Any = envs.reset()
    assert observations.shape == (2, 48, 80, 3)
    space = envs.action_space
    assert isinstance(space, spaces.MultiDiscrete)
    noop, infos = np.zeros((2, len(space.nvec)), np.int64), []
    for k in range(3):
        observations, rewards, dones, infos = envs.step(noop)
        assert dones.tolist() == [k == 2] * 2 and rewards.dtype == np.float32
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] and info["terminal_observation"].shape == (48, 80, 3)
        assert not np.array_equal(info["terminal_observation"], observations[row])
    single = gymnasium.make("WorldSim-Minecraft-v0", world=world, starts=starts, max_episode_steps=3)
    single.reset(seed=4)
    last = [single.step(noop[0])[0] for _ in range(3)][-1]
    assert np.abs(last.astype(int) - infos[0]["terminal_observation"]).max() <= 1


def test_policies_are_loaded_without_pickle_and_only_where_they_fit(tmp_path: Path):
    env = engine()
    policy = make_policy_net(env.observation_space, env.action_space, NET)
    save_policy(tmp_path / FILE, policy, NET, {"task": "explore"})
    again = load_policy(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 255, (80, 144, 3 * NET.stack), np.uint8)
    expected, _ = policy.predict(pictures, deterministic=True)
    np.testing.assert_array_equal(again.act(pictures, deterministic=True), expected)
    assert again.about == {"task": "explore"}
    with pytest.raises(UserError, match="the policy reads pictures"):
        make_player(str(tmp_path), gymnasium.make("Bright-v0"))
    (tmp_path / FILE).write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="damaged"):
        load_policy(tmp_path)
    with pytest.raises(UserError, match="pictures"):
        make_policy_net(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), NET)


@pytest.mark.parametrize("name", ["random", "noop", "scripted", "chop"])
def test_players_play_the_engine_and_their_seed_decides(name: str):
    env = engine(max_episode_steps=12)
    one, two = (play_episode(env, make_player(name, env), 3, keep=True) for _ in range(2))
    assert one.total == two.total and one.steps == 12 and one.ended == "truncated"
    assert one.frames is not None and one.frames.shape == (26, 80, 144, 3)
    assert (name != "noop") or one.total == 0


def test_in_a_game_of_one_key_at_a_time_doing_nothing_is_a_key_too():
    actions = make_actions(ActionSpec(keys=("up", "noop", "down"), camera=False))
    env: Any = SimpleNamespace(unwrapped=SimpleNamespace(actions=actions))
    assert make_player("noop", env).act(np.zeros((8, 8, 3), np.uint8), {}) == 1


def test_players_play_the_dream_by_its_own_estimate_of_pose():
    env = gymnasium.make("WorldSim-Minecraft-v0", world=tiny_world(), starts=tiny_starts(), max_episode_steps=4)
    assert play_episode(env, make_player("scripted", env), 0).steps == 4
    with pytest.raises(UserError, match="Minecraft-like"):
        make_player("scripted", gymnasium.make("Bright-v0"))


@pytest.mark.slow
def test_a_player_of_ones_own_plays_a_game_that_names_its_actions():
    pytest.importorskip("ale_py")
    env = gymnasium.make("WorldSim-PongEngine-v0", max_episode_steps=150)
    skilled, idle = "worldsim.agents.policies.pong:PongPlayer", "noop"
    one, two = (play_episode(env, make_player(skilled, env), 3, keep=True) for _ in range(2))
    assert one.frames is not None and two.frames is not None and np.array_equal(one.frames, two.frames)
    assert sum(play_episode(env, make_player(skilled, env), s).total for s in range(4)) > sum(
        play_episode(env, make_player(idle, env), s).total for s in range(4)
    )
    with pytest.raises(UserError, match="not available"):
        make_player("worldsim.agents.policies.pong:Nobody", env)
    with pytest.raises(UserError, match="what its actions are called"):
        make_player(skilled, gymnasium.make("Bright-v0"))


def test_an_advantage_is_judged_from_the_same_starts():
    rng = np.random.default_rng(0)
    # Starts differ far more than players do: only episode by episode can the better one be told.
    starts = rng.normal(0, 10, 24)
    better = [(starts + 1 + rng.normal(0, 0.2, 24)).tolist() for _ in range(5)]
    found = advantage(better, [starts.tolist()])
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high and found["difference"] == pytest.approx(1, abs=0.5)
    back = advantage([starts.tolist()], better)
    assert back["difference"] == pytest.approx(-found["difference"]) and back["interval"][1] < 0
    none = advantage(better, better)
    assert none["difference"] == 0 and none["interval"][0] <= 0 <= none["interval"][1]
    # What one interval says of each alone tells nothing here.
    assert summary(better)["interval"][0] < summary([starts.tolist()])["interval"][1]


def test_interquartile_mean_and_interval():
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx(3.5)
    for count in range(1, 20):
        values = np.random.default_rng(count).normal(size=count)
        assert interquartile_mean(values) == trim_mean(values, 0.25)
    alike = summary([[1.0, 1.0, 1.0, 1.0]])
    assert alike["iqm"] == 1.0 and alike["interval"] == [1.0, 1.0] and alike["seeds"] == 1
    rng = np.random.default_rng(0)
    spread = summary([rng.normal(m, 0.1, 20).tolist() for m in (0.0, 1.0, 2.0)])
    low, high = spread["interval"]
    # Three seeds a metre apart: the interval is theirs, not that of the sixty episodes.
    assert low < spread["iqm"] < high and high - low > 1.0


@pytest.mark.slow
def test_cloning_learns_what_was_shown(tmp_path: Path):
    actions = MultiDiscreteActions(MINECRAFT)
    rng = np.random.default_rng(0)
    sides = rng.integers(2, size=200)
    pictures = np.zeros((200, 48, 64, 3), np.uint8)
    for i, side in enumerate(sides):
        pictures[i, :, 32 * side : 32 * side + 32] = 255
    step = np.arange(200)
    # What is done answers the picture before the one acted on: only a policy that remembers can know.
    before = np.concatenate([[0], sides[:-1]])
    chosen = np.stack([actions.nearest(MINECRAFT.vector({"forward": s})) for s in before])
    shown = Demonstrations(pictures, np.stack([step - 1, step], 1), chosen)
    net = NetConfig(shrink=4, channels=4, features=32, stack=2)
    policy = make_policy_net(spaces.Box(0, 255, (48, 64, 3), np.uint8), actions.space, net)
    likelihood = clone(policy, shown, CloneTraining(steps=250, batch=64, rate=5e-3, entropy=0.0))
    assert likelihood > -0.5
    done = policy.predict(shown.stacked(step), deterministic=True)[0]
    assert (done[:, 0] == before).mean() > 0.97 and (done[:, -1] == 5).all()


@pytest.mark.slow
def test_small_things_before_a_still_background_are_cloned():
    """Where a spot of two pixels is decides what to do: learnt by how pictures differ from their mean."""
    actions = MultiDiscreteActions(MINECRAFT)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (1, 48, 64, 3), np.uint8).repeat(300, 0)
    x, y = rng.integers(2, 62, 300), rng.integers(2, 46, 300)
    pictures[np.arange(300), y, x] = 255 - pictures[np.arange(300), y, x]
    pictures[np.arange(300), y, x + 1] = 255 - pictures[np.arange(300), y, x + 1]
    chosen = np.stack([actions.nearest(MINECRAFT.vector({"forward": float(right)})) for right in x > 31])
    shown = Demonstrations(pictures, np.arange(300)[:, None], chosen)
    net = NetConfig(shrink=1, channels=4, features=32, stack=1)
    likelihood = []
    for seen in (None, pictures):
        torch.manual_seed(0)
        policy = make_policy_net(spaces.Box(0, 255, (48, 64, 3), np.uint8), actions.space, net, seen)
        training = CloneTraining(steps=150, batch=64, rate=3e-3, entropy=0.0)
        likelihood.append(clone(policy, shown, training))
    assert likelihood[1] > -0.35 and likelihood[1] > likelihood[0] + 0.2


def test_errors_of_the_value_leave_alone_what_was_cloned(tmp_path: Path):
    """What a moment is worth is learnt by a picture network of its own, which cloning begins as the policy's."""
    rng = np.random.default_rng(0)
    actions = MultiDiscreteActions(MINECRAFT)
    pictures = rng.integers(0, 255, (40, 24, 32, 3), np.uint8)
    shown = Demonstrations(pictures, np.arange(40)[:, None], np.zeros((40, len(actions.space.nvec)), np.int64))
    net = NetConfig(shrink=1, channels=4, features=16, stack=1)
    policy = make_policy_net(spaces.Box(0, 255, (24, 32, 3), np.uint8), actions.space, net, pictures)
    clone(policy, shown, CloneTraining(steps=3, batch=8))
    mine, its = (dict(n.named_parameters()) for n in (policy.pi_features_extractor, policy.vf_features_extractor))
    assert mine.keys() == its.keys() and all(torch.equal(mine[n], its[n]) for n in mine)
    seen = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    before = policy.get_distribution(seen).log_prob(torch.from_numpy(shown.actions)).detach()
    optimizer = torch.optim.SGD(policy.parameters(), 10.0)
    optimizer.zero_grad()
    (policy.predict_values(seen) - 100).square().mean().backward()
    optimizer.step()
    worth = policy.predict_values(seen).detach()
    assert torch.equal(policy.get_distribution(seen).log_prob(torch.from_numpy(shown.actions)).detach(), before)
    save_policy(tmp_path / FILE, policy, net, {})
    read = load_policy(tmp_path / FILE).policy
    torch.testing.assert_close(read.predict_values(seen).detach(), worth)
    torch.testing.assert_close(
        read.get_distribution(seen).log_prob(torch.from_numpy(shown.actions)).detach(), before, rtol=1e-4, atol=1e-4
    )


def test_players_remember_what_vector_environments_stack(tmp_path: Path):
    """What a player sees, step by step, is what VecFrameStack showed while it learned; also after an episode ended."""
    made = DummyVecEnv([lambda: gymnasium.make("Bright-v0", max_episode_steps=5)])
    stacked, plain = VecFrameStack(made, NET.stack), []
    memory = Memory(NET, made.observation_space)
    observation: Any = stacked.reset()
    for _ in range(12):
        seen = memory.see(observation[0, ..., -3:])
        np.testing.assert_array_equal(seen, observation[0])
        plain.append(observation[0, ..., -3:].copy())
        observation, _, done, _ = stacked.step(np.array([made.action_space.sample()]))
        if done[0]:
            memory.forget()
    # Recorded pictures are stacked alike.
    recorded = np.stack(plain)
    step, back = np.arange(12)[:, None], np.arange(NET.stack - 1, -1, -1)
    shown = Demonstrations(recorded, np.where(step % 5 >= back, step - back, -1), np.zeros(12, np.int64))
    memory.forget()
    for t in range(12):
        if t % 5 == 0:
            memory.forget()
        np.testing.assert_array_equal(memory.see(recorded[t]), shown.stacked(np.array([t]))[0])


def test_demonstrations_pair_a_frame_with_what_was_done_after_it(tmp_path: Path):
    store, frames = EpisodeStore(tmp_path), 20
    seed = next(s for s in range(100) if split_of(s) == "train")
    keys = np.zeros((frames, MINECRAFT.size), np.float32)
    keys[6:8, MINECRAFT.keys.index("jump")] = 1
    keys[13, MINECRAFT.keys.index("hotbar.5")] = 1
    pictures = np.arange(frames, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    store.append(
        Episode(
            frames=pictures, actions=keys, rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, bool),
            state={"script": np.array([0] * 10 + [1] * 10)},
            provenance={"seed": seed, "split": "train", "fps": 20, "keys": list(MINECRAFT.keys),
                        "scripts": ["walk", "climb"]},
        ),
        "one",
    )  # fmt: skip
    actions = MultiDiscreteActions(MINECRAFT)
    shown = read_demonstrations(store, actions, 2, "train", 2)
    acted_on = shown.pictures[shown.seen[:, -1], 0, 0, 0]
    jumping = [int(picture) for picture, action in zip(acted_on, shown.actions, strict=True) if action[2]]
    assert jumping == [6] and len(shown) == 9
    # A slot is chosen by a tap of one frame, which is no less of one for the step's other frame.
    assert [int(p) for p, action in zip(acted_on, shown.actions, strict=True) if action[6]] == [12]
    some = read_demonstrations(store, actions, 2, "train", 2, scripts=["climb"])
    assert some.pictures[some.seen[:, -1], 0, 0, 0].tolist() == [10, 12, 14, 16]
    # What a climber saw before it began to climb is remembered too.
    assert some.stacked(np.array([0]))[0, 0, 0].tolist() == [8, 8, 8, 10, 10, 10]
    with pytest.raises(UserError, match="shows swim"):
        read_demonstrations(store, actions, 2, "train", 2, scripts=["swim"])


def test_engines_behind_worlds_are_known_and_others_are_told():
    assert env_id("WorldSim-Minecraft-v0", "engine") == "WorldSim-Luanti-v0"
    assert env_id("worldsim:WorldSim-Pong-v0", "engine") == "WorldSim-PongEngine-v0"
    assert env_id("worldsim:WorldSim-Pong-v0", "dream") == "WorldSim-Pong-v0"
    assert env_id("Bright-v0", "dream") == "Bright-v0"
    for env, place in (("Bright-v0", "engine"), ("WorldSim-Minecraft-v0", "moon")):
        with pytest.raises(UserError):
            env_id(env, place)
    with pytest.raises(UserError, match="cannot make"):
        make_rows("Nothing-v0", 1, steps=3, kwargs={})
