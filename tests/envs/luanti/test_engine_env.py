"""The engine behind the learned world's interface; with a stand-in for the game, and once with the game itself."""

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_checker
from stable_baselines3.common.env_checker import check_env as sb3_checker

from tests.fake_engine import FakeEngine
from tests.real_game import needs_game
from worldsim.envs.learned.tasks import StepInformation
from worldsim.envs.luanti.engine_env import EngineEnv, relative_pose
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT

FORWARD = np.array([1, 0, 0, 0, 0, 0, 0, 5, 5])


class Shore(FakeEngine):
    """Water from 2 metres on along z."""

    def _info(self, executed):
        wet = self.position[2] > 2
        return super()._info(executed) | {"node_feet": "default:water_source" if wet else "air"}

    def reset(self, *, seed=None, options=None):
        assert options is not None and {"map_seed", "time_of_day"} <= set(options)
        super().reset(seed=seed, options={"yaw": 0.0})
        self.position[:] = 0.0
        return self._picture(), self._info(np.zeros(22, np.float32))


def engine(**settings) -> EngineEnv:
    return EngineEnv(game=Shore(size=(144, 80)), **settings)


def test_an_action_is_held_for_a_chunk_and_explore_is_the_distance_walked():
    env = engine(task="explore")
    obs, info = env.reset(seed=0)
    assert obs.shape == (80, 144, 3) and info["frames"].shape == (2, 80, 144, 3)
    before = obs
    for k in range(3):
        obs, reward, terminated, truncated, info = env.step(FORWARD)
        # 4 m/s for two frames of 50 ms.
        assert reward == pytest.approx(0.4, abs=1e-5) and not terminated and not truncated
        assert info["pose"][[0, 1, 2]] == pytest.approx([0, 0, 0.4 * (k + 1)], abs=1e-5)
        np.testing.assert_array_equal(info["frames"][-1], obs)
        assert not np.array_equal(before, obs) and not np.array_equal(info["frames"][0], obs)
        before = obs


def test_survive_ends_in_the_step_that_leads_into_water_and_not_before():
    env = engine(task="survive")
    env.reset(seed=0)
    ends = [env.step(FORWARD)[1:3] for _ in range(6)]
    # After five chunks the player stands at 2 metres, after six at 2.4.
    assert [end for _, end in ends] == [False] * 5 + [True]
    assert [reward for reward, _ in ends] == pytest.approx([0.1] * 5 + [0.0])
    with pytest.raises(ResetNeeded):
        env.step(FORWARD)
    env.reset()
    assert not env.step(FORWARD)[2]


class Diggers(Shore):
    """Digs whenever attack is held; remembers which resets asked for a new copy of the map."""

    fresh: list[bool]

    def reset(self, *, seed=None, options=None):
        assert options is not None
        self.fresh = [*getattr(self, "fresh", []), options["fresh"]]
        return super().reset(seed=seed, options=options)

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        dug = MINECRAFT.mapping(action)["attack"] > 0
        info |= {"events": [{"kind": "dig", "node": "default:dirt"}] if dug else []}
        return obs, reward, terminated, truncated, info


def test_what_an_episode_dug_is_whole_again_in_the_next():
    game = Diggers(size=(144, 80))
    env = EngineEnv(game=game)
    dig = np.array([0, 0, 0, 0, 0, 1, 0, 5, 5])
    for actions in ([FORWARD], [FORWARD, dig, FORWARD], [FORWARD], []):
        env.reset(seed=3)
        for action in actions:
            env.step(action)
    assert game.fresh == [False, False, True, False]


@pytest.mark.filterwarnings("error")
def test_both_checkers_accept_the_engine():
    gymnasium_checker(engine(), skip_render_check=True)
    sb3_checker(engine())


def test_functions_see_true_facts_and_limits_truncate():
    reported: list[StepInformation] = []
    env = engine(task=lambda step: (reported.append(step) or 1.0, False), max_episode_steps=2)
    env.reset(seed=0)
    assert [env.step(FORWARD)[3] for _ in range(2)] == [False, True]
    assert reported[1].before == reported[0].after and reported[1].after["z"] == pytest.approx(0.8, abs=1e-5)
    with pytest.raises(ResetNeeded):
        env.step(FORWARD)


def test_poses_are_seen_from_the_start():
    start = {"position": np.array([5.0, 1.0, 5.0]), "yaw": 90.0, "pitch": 10.0}
    now = {"position": np.array([7.0, 2.0, 4.0]), "yaw": -170.0, "pitch": 5.0}
    # At yaw 90 ahead is +x and right is -z.
    assert relative_pose(start, now).tolist() == pytest.approx([1.0, 1.0, 2.0, 100.0, -5.0])


def test_mistakes_are_told():
    for settings, message in (
        ({"task": "fly"}, "unknown task"), ({"task": "goal: a forest"}, "no truth"), ({"maps": ()}, "maps"),
        ({"render_mode": "human"}, "render_mode"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            engine(**settings)
    env = engine()
    with pytest.raises(ResetNeeded):
        env.step(FORWARD)


@needs_game
def test_in_the_game_itself_walking_earns_what_the_positions_say():
    env = EngineEnv(task="explore", maps=(9,))
    try:
        _, info = env.reset(seed=4)
        start, total = info["position"], 0.0
        for _ in range(12):
            _, reward, _, _, info = env.step(FORWARD)
            total += reward
        moved = float(np.hypot(*(info["position"] - start)[[0, 2]]))
        assert total == pytest.approx(moved, abs=0.05) and moved > 0.2
        assert info["pose"][2] == pytest.approx(moved, abs=0.1)
    finally:
        env.close()


@needs_game
def test_in_the_game_itself_a_jump_is_paid_in_the_step_that_rises():
    env = EngineEnv(task="climb_high", maps=(9,))
    jump, nothing = (np.array([0, 0, up, 0, 0, 0, 0, 5, 5]) for up in (1, 0))
    try:
        _, info = env.reset(seed=4)
        rises = []
        for action in (nothing, nothing, jump, *[nothing] * 12):
            height = info["position"][1]
            _, reward, terminated, _, info = env.step(action)
            assert reward == pytest.approx(info["position"][1] - height, abs=1e-4) and not terminated
            rises.append(reward)
        # Nothing before the key is held; half a metre at least while it is; and down again.
        assert rises[:2] == pytest.approx([0, 0], abs=0.01) and max(rises[2:4]) > 0.3
        assert sum(rises) == pytest.approx(0, abs=0.05)
    finally:
        env.close()


def test_actions_are_named_as_in_the_learned_world():
    env = engine()
    assert env.action_meanings[7][0] == "pitch -10/frame" and env.action_meanings[8][5] == "yaw 0 (rest)"  # pyright: ignore
    assert env.noop_action.tolist() == [0, 0, 0, 0, 0, 0, 0, 5, 5] and env.action_space.contains(env.noop_action)
