"""``worldsim agent watch``: a policy plays in a window or a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.cli.agent.environments import (
    POLICIES,
    POLICY,
    checkpoint_setting,
    env_setting,
    environment_of,
    frame_rate,
    length_setting,
    maps_setting,
    sampling_setting,
    take_task,
)
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, seed_setting, setting, threads_setting, video_setting
from worldsim.extras import require


@dataclass(kw_only=True)
class Watch:
    """Settings of ``worldsim agent watch``."""

    policy: str = setting(help=POLICIES, example=POLICY)
    in_: str = setting("dream", help="the learned world, or the real game behind it", choices=("dream", "engine"))
    task: str | None = setting(None, help="default: what the policy was trained for, else the world's own reward")
    env: str = env_setting()
    world: str | None = checkpoint_setting()
    sampling_steps: int | None = sampling_setting()
    episodes: int = setting(1, help="how many", minimum=1)
    episode: int = length_setting()
    maps: list[int] = maps_setting()
    deterministic: bool = setting(False, help="always the likeliest action")
    headless: bool = setting(False, help="a video instead of a window; also where there is no display")
    scale: int = setting(4, help="the picture's pixels per world pixel", minimum=1)
    out: str | None = video_setting("the video; default: watch.mp4 in the run folder")
    seed: int = seed_setting("decides where episodes begin, and the player's draws")
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("agent-watch")


def watch(config: Watch) -> None:
    """``worldsim agent watch``."""
    require("stable_baselines3", "worldsim agent watch")
    from worldsim.agents.policies.player import make_player
    from worldsim.agents.rl.envs import make_one
    from worldsim.agents.rl.evaluation import episode
    from worldsim.datasets.store.video import VideoWriter
    from worldsim.plotting.window import Window, has_display

    name = config.policy
    use_threads(config.threads)
    take_task(config, name)
    env, kwargs = environment_of(config, config.in_)
    made = make_one(env, steps=config.episode, kwargs=kwargs)
    try:
        player = make_player(name, made, deterministic=config.deterministic)
        height, width = (made.observation_space.shape or (0, 0))[:2]
        headless, fps = config.headless or not has_display(), frame_rate(made)
        out = Path(config.out) if config.out else run_folder("agent-watch", config) / "watch.mp4"
        shown: Any = VideoWriter(out, fps) if headless else Window(width, height, f"WorldSim: {name}", config.scale)
        with shown if headless else _Closing(shown):
            for number in range(config.episodes):
                total = 0.0
                for frames, reward, ended in episode(made, player, config.seed + number):
                    total += reward
                    for frame in frames:
                        if headless:
                            shown.append(frame.repeat(config.scale, 0).repeat(config.scale, 1))
                        else:
                            shown.show(frame, fps)
                    if ended or getattr(shown, "closed", False):
                        print(f"episode {number + 1}: return {total:.3f}, {ended or 'closed'}")
                        break
    finally:
        made.close()
    if headless:
        print(out)


class _Closing:
    """A window that is closed at the end."""

    def __init__(self, window: Any):
        self.window = window

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.window.close()
