"""Forks and a planner: before each move, sixteen copies of the present play sixteen futures, and the best one's first
move is made.

What one sees (planner.mp4): a paddle that nobody trained follows the ball, since the learned world of Pong shows the
planner what each key would lead to; random keys are tried from the same beginning. At the end the moment before is
restored, and replayed to the same bytes.

    python examples/forks_and_a_planner.py
"""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np

import worldsim  # noqa: F401 (registers the environments)
from worldsim.datasets.store.video import write_video

TASK = "worldsim.envs.pong.tasks:follow_ball"
moves, futures, horizon = (int(word) for word in (*sys.argv[1:], *("60", "16", "8")[len(sys.argv) - 1 :]))

env = gym.make("WorldSim-Pong-v0", task=TASK).unwrapped
imagined = gym.make_vec("WorldSim-Pong-v0", num_envs=futures, task=TASK).unwrapped
dice, keys = np.random.default_rng(0), env.action_space.n
obs, _ = env.reset(seed=1)
imagined.reset(seed=0)
beginning = moment = env.snapshot()
by_chance = sum(float(env.step(int(dice.integers(keys)))[1]) for _ in range(moves))
env.restore(beginning)

frames, earned, action = [obs], 0.0, 0
for _ in range(moves):
    moment = env.snapshot()
    imagined.restore(moment)  # one moment into every row
    plans = dice.integers(keys, size=(horizon, futures))
    plans[:, :keys] = np.arange(keys)  # each key held is a plan too
    returns = sum(imagined.step(plan)[1] for plan in plans)
    action = int(plans[0, int(np.argmax(returns))])
    obs, reward, _, _, _ = env.step(action)
    frames.append(obs)
    earned += float(reward)

env.restore(moment)
again, _, _, _, _ = env.step(action)
assert np.array_equal(again, obs), "a restored moment goes on to the same bytes"
write_video(Path("planner.mp4"), np.stack(frames), fps=15)
print(f"the paddle followed the ball by {earned / moves:.2f} of 1, under random keys by {by_chance / moves:.2f}")
