"""``worldsim agent eval``: returns of a policy over episodes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from worldsim.cli.agent.environments import (
    POLICIES,
    POLICY,
    checkpoint_setting,
    env_setting,
    environment_of,
    length_setting,
    maps_setting,
    sampling_setting,
    take_task,
    trust_setting,
)
from worldsim.cli.runs import everywhere, run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, seed_setting, setting, threads_setting
from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.progress import display
from worldsim.simulation.devices import device_of


@dataclass(kw_only=True)
class EvaluateAgent:
    """Settings of ``worldsim agent eval``."""

    policy: list[str] = setting(help=f"{POLICIES}; or runs, one for each trained seed: [a,b,c]", example=POLICY)
    against: list[str] = setting(
        [], help="a policy (or seeds of one) to compare with, from the same starts: against=scripted"
    )
    in_: str = setting(
        "dream",
        help="the learned world, the real game behind it, or both and the gap between them",
        choices=("dream", "engine", "both"),
    )
    task: str | None = setting(None, help="default: what the policy was trained for, else the world's own reward")
    env: str = env_setting()
    world: str | None = checkpoint_setting()
    sampling_steps: int | None = sampling_setting()
    episodes: int = setting(10, help="for each policy; seeds are seed, seed + 1, ...", minimum=1)
    episode: int = length_setting()
    maps: list[int] = maps_setting()
    min_trust: float | None = trust_setting()
    deterministic: bool = setting(False, help="always the likeliest action")
    seed: int = seed_setting("decides where episodes begin, and the players' draws")
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    ray: str | None = setting(
        None,
        help="play episodes side by side on a Ray cluster: local, auto, or its address; default: one by one, here",
    )
    folder: str | None = folder_setting("agent-eval")


def evaluate(config: EvaluateAgent) -> None:
    """``worldsim agent eval``."""
    require("stable_baselines3", "worldsim agent eval")
    from worldsim.agents.rl.contest import Contest, play_here, play_on_ray
    from worldsim.agents.rl.evaluation import advantage, exploitation_gap, summary

    names, others = config.policy, config.against
    if not names:
        raise UserError(f"policy is empty: give, for example, {POLICY}")
    use_threads(config.threads)
    take_task(config, names[0])
    places = ("dream", "engine") if config.in_ == "both" else (config.in_,)
    told = config if config.ray is None else _everywhere(config)
    contest = Contest(
        opens=partial(environment_of, told),
        places=places,
        players=(*told.policy, *told.against),
        steps=config.episode,
        episodes=config.episodes,
        seed=config.seed,
        deterministic=config.deterministic,
        threads=config.threads,
        gpus=int(device_of(config.device) != "cpu"),
    )
    # What is wrong with these settings is said before anything is played.
    for place in places:
        contest.opens(place)
    folder = run_folder("agent-eval", config)
    results: dict[str, Any] = {"policy": names, "task": config.task, "env": config.env, "places": {}}
    with display() as show:
        found = play_here(contest, show) if config.ray is None else play_on_ray(contest, config.ray, show)
        for place in places:
            groups = found[place]
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


def _everywhere(config: EvaluateAgent) -> EvaluateAgent:
    """The settings as processes in other folders understand them, each of which has one GPU at most."""
    from worldsim.agents.policies.player import KNOWN

    def found(names: list[str]) -> list[str]:
        return [name if name in KNOWN else everywhere(name) for name in names]

    world = config.world and everywhere(config.world)
    device = None if config.device is None else config.device.partition(":")[0]
    return replace(config, world=world, device=device, policy=found(config.policy), against=found(config.against))


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
