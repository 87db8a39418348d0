"""PPO in the dream: stable-baselines3 learns Pong inside the learned world, then plays the real console.

What one sees (ppo.mp4): the trained agent, in the dream on the left, in the emulator on the right. The lines printed
say how well the paddle followed the ball before and after, in both. Some 20,000 steps are needed to see a difference.

    pip install '.[rl,atari]'
    python examples/ppo_in_the_dream.py 20000
"""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO

import worldsim
from worldsim.datasets.store.video import write_video
from worldsim.envs.learned.sb3_vec_env import WorldSimVecEnv

TASK = "worldsim.envs.pong.tasks:follow_ball"
steps, rows, episode = (int(word) for word in (*sys.argv[1:], *("20000", "16", "40")[len(sys.argv) - 1 :]))


def play(env_id: str, agent: PPO) -> tuple[float, np.ndarray]:
    """Mean reward of an episode, and its pictures."""
    env = gym.make(env_id, task=TASK)
    obs, _ = env.reset(seed=1)
    frames, rewards = [obs], []
    for _ in range(episode):
        action, _ = agent.predict(obs, deterministic=False)
        obs, reward, _, _, _ = env.step(action)
        frames.append(obs)
        rewards.append(float(reward))
    env.close()
    return float(np.mean(rewards)), np.stack(frames)


dream = WorldSimVecEnv(rows, "pong", task=TASK, max_episode_steps=episode)
agent = PPO("CnnPolicy", dream, n_steps=40, batch_size=160, gamma=0.95, learning_rate=3e-4, seed=0)
for when in ("before", "after"):
    if when == "after":
        agent.learn(steps)
    films = {}
    for where, env_id in (("dream", "WorldSim-Pong-v0"), ("console", "WorldSim-PongEngine-v0")):
        reward, films[where] = play(env_id, agent)
        print(f"{when}, in the {where}: the paddle follows the ball by {reward:.2f} of 1")
write_video(Path("ppo.mp4"), np.concatenate([films["dream"], films["console"]], 2), fps=15)
print(f"worldsim {worldsim.__version__}: ppo.mp4")
