"""``worldsim agent train``: PPO by reward, or behaviour cloning of recorded play."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.agents.policies.net_config import NetConfig
from worldsim.agents.rl.settings import CloneTraining, PpoTraining, Schedule
from worldsim.cli.agent.environments import (
    checkpoint_setting,
    env_setting,
    environment_of,
    frame_rate,
    length_setting,
    maps_setting,
    sampling_setting,
    trust_setting,
)
from worldsim.cli.runs import existing_path, plain, run_folder, use_threads, wanted
from worldsim.cli.settings import device_setting, folder_setting, group, seed_setting, setting, threads_setting
from worldsim.cli.stores import open_store
from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.progress import display


@dataclass(kw_only=True)
class TrainAgent:
    """Settings of ``worldsim agent train``."""

    task: str | None = setting(
        None,
        help='explore, climb_high, look_at_tree, collect_wood, survive, points, "goal: TEXT", package.module:function; '
        "default: the world's own reward",
    )
    algo: str = setting(
        "ppo",
        help="ppo learns by reward; bc clones what was done in the recordings of store",
        choices=("ppo", "bc"),
    )
    env: str = env_setting("a world's id, or any Gymnasium id with pictures and discrete actions")
    in_: str = setting("dream", help="the learned world, or the real game behind it", choices=("dream", "engine"))
    world: str | None = checkpoint_setting()
    sampling_steps: int | None = sampling_setting()
    rows: int = setting(8, help="environments side by side, one forward pass for all in the dream", minimum=1)
    episode: int = length_setting()
    maps: list[int] = maps_setting()
    min_trust: float | None = trust_setting()
    store: str | None = setting(
        None,
        help="episode store: what bc clones, and real prefixes that dreams begin from; default: the world's clips",
    )
    starts: int = setting(64, help="how many prefixes are drawn from the store's train split", minimum=1)
    scripts: list[str] = setting([], help="bc: clone only what these scripted players did, as scripts=[climb]")
    initial: str | None = setting(
        None, help="a run's folder or policy file to start from, cloned by algo=bc, say; default: fresh weights"
    )
    seed: int = seed_setting("decides weights, draws, starts")
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("agent", "of this run; resumes there")
    training: PpoTraining = group(PpoTraining)
    schedule: Schedule = group(Schedule)
    net: NetConfig = group(NetConfig)
    cloning: CloneTraining = group(CloneTraining)


def train(config: TrainAgent) -> None:
    """``worldsim agent train``."""
    require("stable_baselines3", "worldsim agent train")
    if config.initial is not None:
        existing_path(config.initial)
    use_threads(config.threads)
    (_clone if config.algo == "bc" else _learn)(config)


def _learn(config: TrainAgent) -> None:
    from worldsim.agents.policies.policy_net import FILE
    from worldsim.agents.rl.envs import make_one, make_rows
    from worldsim.agents.rl.ppo import learn, resumed_policy

    env, kwargs = environment_of(config, config.in_)
    if config.folder is not None:
        # Before anything in there is written anew.
        resumed_policy(Path(config.folder), _about(config, env))
    learning = kwargs | ({} if config.store is None or config.in_ == "engine" else {"starts": _prefixes(config)})
    envs = make_rows(env, config.rows, steps=config.episode, kwargs=learning)
    folder = run_folder("agent", config)
    # In the engine every further environment is a game of its own, so there evaluation is left to `agent eval`.
    apart = make_rows(env, 1, steps=config.episode, kwargs=kwargs) if config.in_ == "dream" else None
    with display() as show:
        try:
            model = learn(
                envs,
                folder,
                config.training,
                config.schedule,
                net=config.net,
                progress=lambda done: show("steps", done, config.schedule.steps),
                about=_about(config, env),
                eval_envs=apart,
                watched=(lambda: make_one(env, steps=config.episode, kwargs=kwargs)) if apart is not None else None,
                fps=frame_rate(envs),
                initial=None if config.initial is None else Path(config.initial),
                seed=config.seed,
            )
        finally:
            envs.close()
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    if returns:
        print(f"return of the last {len(returns)} training episodes: {np.mean(returns):.3f}")
    print(folder / FILE)


def _clone(config: TrainAgent) -> None:
    import torch

    from worldsim.agents.policies.policy_net import FILE, load_policy, make_policy_net, save_policy
    from worldsim.agents.rl.cloning import clone, read_demonstrations
    from worldsim.agents.rl.envs import make_one
    from worldsim.envs.learned.action_spaces import DiscreteActions, MultiDiscreteActions

    store = open_store(wanted(config.store, "store", "store=data/luanti"))
    env, kwargs = environment_of(config, "dream")
    made = make_one(env, steps=config.episode, kwargs=kwargs)
    actions = getattr(made.unwrapped, "actions", None)
    if not isinstance(actions, MultiDiscreteActions | DiscreteActions):
        raise UserError(f"algo=bc clones recordings for worlds of ours, not for {env}")
    net = config.net
    chunk = int(getattr(made.unwrapped, "world").chunk)  # noqa: B009 - gymnasium.Env has no such attribute
    given = None if config.initial is None else load_policy(config.initial)
    if given is not None:
        given.check(made)
        net = given.net
    shown = read_demonstrations(store, actions, chunk, "train", net.stack, scripts=config.scripts, seed=config.seed)
    folder = run_folder("agent", config)
    torch.manual_seed(config.seed)
    if given is None:
        policy = make_policy_net(made.observation_space, made.action_space, net, shown.pictures)
    else:
        policy = given.policy
    with display() as show:
        likelihood = clone(
            policy,
            shown,
            config.cloning,
            config.seed,
            lambda done, total, loss: show("cloning", done, total, f"loss {loss:.4f}"),
        )
    save_policy(folder / FILE, policy, net, _about(config, env) | {"scripts": config.scripts, "examples": len(shown)})
    print(f"{len(shown)} examples; log-likelihood of what was done {likelihood:.2f}, by chance {_chance(actions):.2f}")
    print(folder / FILE)


def _prefixes(config: TrainAgent) -> Any:
    """Real prefixes from the train split of a store."""
    from worldsim.training.release import choose_starts

    return choose_starts(
        open_store(wanted(config.store, "store", "store=data/luanti")), "train", config.starts, seed=config.seed
    )


def _about(config: TrainAgent, env: str) -> dict[str, Any]:
    """What goes into a policy's file: what it was trained for, in and with."""
    kept = ("task", "algo", "world", "sampling_steps", "min_trust", "initial", "store", "seed")
    settings = plain(config.cloning if config.algo == "bc" else config.training)
    return {name: getattr(config, name) for name in kept} | {"env": env, "training": settings}


def _chance(actions: Any) -> float:
    return -float(np.log(getattr(actions.space, "nvec", getattr(actions.space, "n", 1))).sum())
