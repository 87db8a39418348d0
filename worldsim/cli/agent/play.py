"""Commands that train agents, measure them, and show them playing."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from worldsim.cli_config import build, compose_config, plain, required, run_folder, several
from worldsim.cli_train import existing, use_threads
from worldsim.errors import UserError

POLICY = "policy=scripted or policy=runs/agent"


def train(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim agent train``."""
    _needs_sb3()
    from worldsim.agents.clone import CloneTraining
    from worldsim.agents.learn import PpoTraining, Schedule
    from worldsim.agents.policy_net import NetConfig

    groups = {"training": PpoTraining, "schedule": Schedule, "net": NetConfig, "cloning": CloneTraining}
    config = compose_config("agent_train", overrides, flags, groups)
    if config.algo not in ("ppo", "bc"):
        raise UserError(f"algo must be ppo or bc, got {config.algo!r}")
    _check_sizes(config, "rows", "episode", "starts")
    if config.initial is not None:
        existing(config.initial)
    use_threads(config.threads)
    (_clone if config.algo == "bc" else _learn)(config)


def _learn(config: DictConfig) -> None:
    from worldsim.agents.agent_envs import make_one, make_rows
    from worldsim.agents.learn import PpoTraining, Schedule, learn, resumed_policy
    from worldsim.agents.policy_net import FILE, NetConfig

    env, kwargs = _environment(config, config["in"])
    schedule, net = build(Schedule, config.schedule), build(NetConfig, config.net)
    if config.folder is not None:
        # Before anything in there is written anew.
        resumed_policy(Path(config.folder), _about(config, env))
    learning = kwargs | ({} if config.store is None or config["in"] == "engine" else {"starts": _prefixes(config)})
    envs = make_rows(env, config.rows, steps=config.episode, kwargs=learning)
    folder = run_folder("agent", config)
    # In the engine every further environment is a game of its own, so there evaluation is left to `agent eval`.
    apart = make_rows(env, 1, steps=config.episode, kwargs=kwargs) if config["in"] == "dream" else None
    with Progress() as bar:
        steps = bar.add_task("steps", total=schedule.steps)
        try:
            model = learn(
                envs, folder, build(PpoTraining, config.training), schedule, net=net,
                progress=lambda done: bar.update(steps, completed=done), about=_about(config, env), eval_envs=apart,
                watched=(lambda: make_one(env, steps=config.episode, kwargs=kwargs)) if apart is not None else None,
                fps=_fps(envs), initial=None if config.initial is None else Path(config.initial), seed=config.seed,
            )  # fmt: skip
        finally:
            envs.close()
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    if returns:
        print(f"return of the last {len(returns)} training episodes: {np.mean(returns):.3f}")
    print(folder / FILE)


def _clone(config: DictConfig) -> None:
    import torch

    from worldsim.agents.agent_envs import make_one
    from worldsim.agents.clone import CloneTraining, clone, read_demonstrations
    from worldsim.agents.policy_net import FILE, NetConfig, load_policy, make_policy_net, save_policy
    from worldsim.cli_store import open_store
    from worldsim.envs.action_spaces import DiscreteActions, MultiDiscreteActions

    store = open_store(required(config, "store", "store=data/luanti"))
    env, kwargs = _environment(config, "dream")
    made = make_one(env, steps=config.episode, kwargs=kwargs)
    actions = getattr(made.unwrapped, "actions", None)
    if not isinstance(actions, MultiDiscreteActions | DiscreteActions):
        raise UserError(f"algo=bc clones recordings for worlds of ours, not for {env}")
    net, training = build(NetConfig, config.net), build(CloneTraining, config.cloning)
    chunk = int(getattr(made.unwrapped, "world").chunk)  # noqa: B009 - gymnasium.Env has no such attribute
    scripts = [str(name) for name in config.scripts]
    given = None if config.initial is None else load_policy(config.initial)
    if given is not None:
        given.check(made)
        net = given.net
    shown = read_demonstrations(store, actions, chunk, "train", net.stack, scripts=scripts, seed=config.seed)
    folder = run_folder("agent", config)
    torch.manual_seed(config.seed)
    if given is None:
        policy = make_policy_net(made.observation_space, made.action_space, net, shown.pictures)
    else:
        policy = given.policy
    with Progress() as bar:
        task = bar.add_task("cloning", total=training.steps)
        likelihood = clone(
            policy, shown, training, config.seed, lambda done, total, loss: bar.update(task, completed=done)
        )
    save_policy(folder / FILE, policy, net, _about(config, env) | {"scripts": scripts, "examples": len(shown)})
    print(f"{len(shown)} examples; log-likelihood of what was done {likelihood:.2f}, by chance {_chance(actions):.2f}")
    print(folder / FILE)


def evaluate(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim agent eval``."""
    from worldsim.agents.agent_envs import make_one
    from worldsim.agents.eval_agent import advantage, exploitation_gap, play_episodes, summary
    from worldsim.agents.players import make_player

    config = compose_config("agent_eval", overrides, flags)
    names, others = several(required(config, "policy", POLICY)), several(config.against)
    if not names:
        raise UserError(f"policy is empty: give, for example, {POLICY}")
    _check_sizes(config, "episodes", "episode")
    use_threads(config.threads)
    _task_of(config, names[0])
    places = ("dream", "engine") if config["in"] == "both" else (config["in"],)
    wanted = [(place, *_environment(config, place)) for place in places]
    folder = run_folder("agent-eval", config)
    results: dict[str, Any] = {"policy": names, "task": config.task, "env": config.env, "places": {}}
    with Progress(transient=True) as bar:
        for place, env, kwargs in wanted:
            made = make_one(env, steps=config.episode, kwargs=kwargs)
            try:
                groups = []
                for name in (*names, *others):
                    task = bar.add_task(f"{name} in the {place}", total=config.episodes)
                    player = make_player(name, made, deterministic=config.deterministic)
                    show: Callable[[int, int], None] = lambda done, _, task=task: bar.update(task, completed=done)  # noqa: E731
                    groups.append(play_episodes(made, player, config.episodes, config.seed, show))
            finally:
                made.close()
            returns = [[p.total for p in group] for group in groups]
            own, theirs = returns[: len(names)], returns[len(names) :]
            played = [p for group in groups[: len(names)] for p in group]
            results["places"][place] = summary(own, config.seed) | {
                "terminated": float(np.mean([p.ended == "terminated" for p in played])),
                "steps": float(np.mean([p.steps for p in played])),
                "returns": own,
            }
            if others:
                results["places"][place]["against"] = {"policy": others, "returns": theirs} | advantage(
                    own, theirs, config.seed
                )
    if len(places) == 2:
        results["gap"] = exploitation_gap(*(results["places"][place] for place in places))
    (folder / "agent.json").write_text(json.dumps(results, indent=1) + "\n")
    _tell(results)
    print(folder / "agent.json")


def watch(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim agent watch``."""
    from worldsim.agents.agent_envs import make_one
    from worldsim.agents.eval_agent import episode
    from worldsim.agents.players import make_player
    from worldsim.datasets.video import VideoWriter
    from worldsim.envs.window import Window, has_display

    config = compose_config("agent_watch", overrides, flags)
    name = str(required(config, "policy", POLICY))
    _check_sizes(config, "episodes", "episode", "scale")
    use_threads(config.threads)
    _task_of(config, name)
    env, kwargs = _environment(config, config["in"])
    made = make_one(env, steps=config.episode, kwargs=kwargs)
    try:
        player = make_player(name, made, deterministic=config.deterministic)
        height, width = (made.observation_space.shape or (0, 0))[:2]
        headless, fps = config.headless or not has_display(), _fps(made)
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


def _environment(config: DictConfig, place: str) -> tuple[str, dict[str, Any]]:
    """Id and settings of the environment in the dream or the engine."""
    from worldsim.agents.agent_envs import ENGINES, env_id, env_settings, sampled

    env = env_id(config.env, place)
    # Any other environment has a reward of its own, and takes no settings of ours.
    ours = config.env in ENGINES or config.env in ENGINES.values()
    if not ours and any(config.get(name) is not None for name in ("task", "world", "sampling_steps")):
        raise UserError(f"{config.env} has its own reward and no world: task, world and sampling_steps are for ours")
    luanti = env == "WorldSim-Luanti-v0"
    maps = [int(seed) for seed in config.maps] if luanti else ()
    if not ours:
        return env, {}
    real = luanti or place == "engine"
    kwargs = env_settings(
        "engine" if real else "dream",
        task=config.task,
        world=config.world,
        maps=maps,
        min_trust=config.get("min_trust"),
    )
    if config.sampling_steps is not None and not real:
        kwargs |= sampled(env, config.world, config.sampling_steps)
    return env, kwargs


def _prefixes(config: DictConfig) -> Any:
    """Real prefixes from the train split of a store."""
    from worldsim.agents.shipping import choose_starts
    from worldsim.cli_store import open_store

    return choose_starts(open_store(config.store), "train", config.starts, seed=config.seed)


def _task_of(config: DictConfig, policy: str) -> None:
    """Without a task, a trained policy's own one."""
    if config.task is None and Path(policy).exists():
        from worldsim.agents.policy_net import load_policy

        config.task = load_policy(policy).about.get("task")


def _about(config: DictConfig, env: str) -> dict[str, Any]:
    """What goes into a policy's file: what it was trained for, in and with."""
    told = ("task", "algo", "world", "sampling_steps", "min_trust", "initial", "store", "seed")
    settings = plain(config.cloning if config.algo == "bc" else config.training)
    return {name: config[name] for name in told} | {"env": env, "training": settings}


def _fps(env: Any) -> float:
    """Frames a second of what ``info["frames"]`` holds: those of a chunk, or one a step."""
    # Of many environments, the first: a list of them, or all in one.
    inner = getattr(env, "envs", env)
    inner = inner[0] if isinstance(inner, list) else inner
    unwrapped = getattr(inner, "unwrapped", inner)
    chunk = getattr(getattr(unwrapped, "world", unwrapped), "chunk", 1)
    return float((inner.metadata or {}).get("render_fps") or 30) * int(chunk)


def _chance(actions: Any) -> float:
    return -float(np.log(getattr(actions.space, "nvec", getattr(actions.space, "n", 1))).sum())


def _check_sizes(config: DictConfig, *names: str) -> None:
    for name in names:
        if OmegaConf.select(config, name) is not None and config[name] < 1:
            raise UserError(f"{name} must be at least 1, got {config[name]}")


def _needs_sb3() -> None:
    from importlib.util import find_spec

    if find_spec("stable_baselines3") is None:
        raise UserError("agents learn with stable-baselines3: pip install 'worldsim[rl]'")


def _tell(results: Mapping[str, Any]) -> None:
    print(f"{', '.join(results['policy'])}, task {results['task'] or 'own reward'}: returns, interquartile mean (IQM)")
    table = Table()
    for column in ("in", "IQM", "95 % interval", "mean", "steps", "ended", "episodes", "seeds"):
        table.add_column(column, no_wrap=True)
    for place, r in results["places"].items():
        low, high = r["interval"]
        table.add_row(
            place, f"{r['iqm']:.2f}", f"{low:.2f} to {high:.2f}", f"{r['mean']:.2f}", f"{r['steps']:.0f}",
            f"{r['terminated']:.0%}", str(r["episodes"]), str(r["seeds"]),
        )  # fmt: skip
    Console().print(table)
    for place, r in results["places"].items():
        if "against" in r:
            other, (low, high) = r["against"], r["against"]["interval"]
            print(
                f"in the {place} {other['difference']:+.2f} ({low:+.2f} to {high:+.2f}) against "
                f"{', '.join(other['policy'])}, IQM {other['iqm']:.2f}, from the same starts"
            )
    if "gap" in results:
        print(f"exploitation gap (dream less engine): {results['gap']:.3f}")
