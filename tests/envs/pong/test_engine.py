"""Pong's emulator as the learned world shows it, its exact clones, its player, and reading positions from pictures."""

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from worldsim.agents.policies.pong import PongPlayer
from worldsim.envs.pong.engine import PongEngine
from worldsim.envs.pong.pixels import read
from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec

pytest.importorskip("ale_py")


@pytest.fixture(scope="module")
def played():
    """A short game of the scripted player: engine, frames, infos, actions, rewards."""
    env, rng = PongEngine(), np.random.default_rng(1)
    obs, info = env.reset(seed=12)
    player = PongPlayer(ActionSpec(keys=("noop", "up", "down"), camera=False), 15)
    player.reset(rng, info)
    frames, infos, actions, rewards = [obs], [info], [], []
    for _ in range(150):
        actions.append(player.act(obs, info).argmax())
        obs, reward, _, _, info = env.step(actions[-1])
        frames.append(obs)
        infos.append(info)
        rewards.append(reward)
    yield env, np.stack(frames), infos, np.array(actions), np.array(rewards)
    env.close()


@pytest.mark.slow
def test_gymnasium_accepts_it():
    check_env(gymnasium.make("WorldSim-PongEngine-v0").unwrapped, skip_render_check=True)


def test_same_seed_same_game_and_other_seeds_other_games(played):
    _, frames, _, actions, _ = played
    again = PongEngine()
    first, _ = again.reset(seed=12)
    assert np.array_equal(first, frames[0])
    for action, frame in zip(actions[:40], frames[1:41], strict=True):
        assert np.array_equal(again.step(action)[0], frame)
    assert not np.array_equal(again.reset(seed=13)[0], frames[0])


def test_a_clone_shows_the_same_pictures_under_the_same_actions_in_another_emulator(played):
    env, *_ = played
    moment, other = env.clone_state(), PongEngine()
    other.reset(seed=99)
    actions = np.random.default_rng(0).integers(3, size=60)
    mine = [env.step(a)[:2] for a in actions]
    other.restore_state(moment)
    theirs = [other.step(a)[:2] for a in actions]
    for (frame, reward), (copy, same) in zip(mine, theirs, strict=True):
        assert np.array_equal(frame, copy) and reward == same


def test_up_moves_the_paddle_up_and_down_moves_it_down(played):
    env, *_ = played
    moment = env.clone_state()
    ends = {}
    for action in (1, 2):
        env.restore_state(moment)
        ends[action] = [env.step(action)[4]["paddle_y"] for _ in range(4)][-1]
    assert ends[1] < ends[2] - 5


def test_positions_read_from_pictures_are_those_in_memory(played):
    _, frames, infos, _, _ = played
    sight = read(frames)
    reported = {name: np.array([info[name] for info in infos]) for name in infos[0]}
    # Half of the ball may have left the picture.
    inside = reported["ball_seen"] & (reported["ball_x"] > 1) & (reported["ball_x"] < 78)
    assert inside.sum() > 50
    assert np.abs(sight.ball_x - reported["ball_x"])[inside].max() < 0.6
    assert np.abs(sight.ball_y - reported["ball_y"])[inside].max() < 0.6
    whole = (reported["paddle_y"] > 5) & (reported["paddle_y"] < 75)
    assert np.abs(sight.paddle_y - reported["paddle_y"])[whole].max() < 0.6
    whole = (reported["opponent_y"] > 5) & (reported["opponent_y"] < 75)
    assert np.abs(sight.opponent_y - reported["opponent_y"])[whole].max() < 0.6


def test_no_ball_is_seen_where_there_is_none(played):
    _, frames, infos, _, _ = played
    absent = np.array([not info["ball_seen"] for info in infos])
    assert absent.any()
    assert np.isnan(read(frames[absent]).ball_x).mean() > 0.9


def test_the_player_keeps_the_ball_in_play_and_loses_points(played):
    _, _, _, actions, rewards = played
    assert set(actions) == {0, 1, 2}
    assert np.abs(rewards).sum() >= 1


def test_following_the_ball_is_judged_by_pictures_as_the_console_knows_it(played):
    _, frames, infos, actions, _ = played
    earned = []
    judged = PongEngine(task="worldsim.envs.pong.tasks:follow_ball")
    judged.reset(seed=12)
    for action, frame, info in zip(actions, frames[1:], infos[1:], strict=True):
        picture, reward, *_ = judged.step(action)
        assert np.array_equal(picture, frame)
        # Half of the paddle may have left the picture.
        whole = 5 < info["paddle_y"] < 75
        away = abs(info["ball_y"] - info["paddle_y"])
        if info["ball_seen"] and 41 < info["ball_x"] < 69 and whole:
            earned.append(reward)
            assert reward == pytest.approx(max(0, 1 - away / 10), abs=0.13)
        elif not info["ball_seen"] or info["ball_x"] < 38:
            assert reward == 0
    assert 0 < sum(earned) < len(earned)


def test_a_function_may_end_the_game():
    env = PongEngine(task=lambda step: (2.0, bool(step.after["lost"])))
    env.reset(seed=3)
    for _ in range(300):
        _, reward, ended, _, _ = env.step(0)
        assert reward == 2
        if ended:
            return
    pytest.fail("nobody lost")


def test_a_game_that_is_over_wants_a_reset():
    env = PongEngine(task=lambda step: (0.0, bool(step.action[0, 1])))
    env.reset(seed=3)
    running = env.clone_state()
    assert env.step(1)[2]
    over = env.clone_state()
    with pytest.raises(ResetNeeded, match="over"):
        env.step(0)
    env.restore_state(running)
    assert not env.step(0)[2]
    env.restore_state(over)
    with pytest.raises(ResetNeeded, match="over"):
        env.step(0)
    env.reset()
    assert not env.step(0)[2]


def test_errors():
    with pytest.raises(UserError, match="task"):
        PongEngine(task="explore")
    with pytest.raises(UserError, match=r"pong\.tasks:nothing' is not available"):
        PongEngine(task="worldsim.envs.pong.tasks:nothing")
    with pytest.raises(UserError, match="0, 1 or 2"):
        env = PongEngine()
        env.reset(seed=0)
        env.step(3)
    with pytest.raises(UserError, match="noop, up, down"):
        PongPlayer(ActionSpec(keys=("a", "b"), camera=False), 15)


def test_actions_are_named_and_there_are_no_options(played):
    env, *_ = played
    assert env.action_meanings == ("NOOP", "UP", "DOWN") and env.action_meanings[env.noop_action] == "NOOP"
    assert env.action_space.contains(env.noop_action)
    with pytest.raises(UserError, match="unknown reset option 'start': the emulator of Pong has none"):
        PongEngine().reset(seed=1, options={"start": 3})
