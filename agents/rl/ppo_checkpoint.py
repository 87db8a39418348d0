"""A training run's checkpoint, without pickle: the policy's file, and what resuming needs beside it.

stable-baselines3's own ``model.save`` writes a zip file that holds pickles: it is not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy

from worldsim.agents.policies.policy_net import (
    FILE,
    LearnedPolicy,
    NetConfig,
    load_policy,
    load_policy_tensors,
    policy_tensors,
    save_policy,
)
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_module, load_tensors, read_metadata, save_tensors
from worldsim.optim.train_state import optimizer_state
from worldsim.spec.damage import reading

STATE = "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class PolicyWriter:
    """Writes the policy of a run.

    Attributes:
        net: sizes of the policy.
        about: plain JSON that goes into every policy's file.
    """

    net: NetConfig
    about: Mapping[str, Any]

    def write(self, path: Path, model: BaseAlgorithm, **more: Any) -> None:
        """Write the policy of ``model`` to ``path``; ``more`` is added to what the file says about it."""
        assert isinstance(model.policy, ActorCriticCnnPolicy)
        save_policy(path, model.policy, self.net, {**self.about, "steps": model.num_timesteps, **more})


def save_checkpoint(folder: Path, model: PPO, writer: PolicyWriter) -> None:
    """Write the policy, and weights and optimizer for resuming, into the folder of a run."""
    policy = model.policy
    assert isinstance(policy, ActorCriticCnnPolicy)
    tensors = {f"policy/{n}": t for n, t in policy_tensors(policy).items()}
    for key, state in policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{key}/{n}": torch.as_tensor(v) for n, v in state.items()}
    writer.write(folder / FILE, model)
    save_tensors(folder / STATE, tensors, {"steps": model.num_timesteps, "updates": model._n_updates})


def steps_done(folder: Path) -> int:
    """Environment steps of the checkpoint in the folder of a run; 0 where there is none."""
    if not (folder / STATE).is_file():
        return 0
    with reading(folder / STATE, "the state of a run"):
        return int(read_metadata(folder / STATE)["steps"])


def resumed_policy(folder: Path, about: Mapping[str, Any]) -> LearnedPolicy | None:
    """The policy with which a run of ``about`` goes on in ``folder``; None where it begins. Writes nothing.

    Raises:
        UserError: the folder holds a run of another task or environment.
    """
    if not steps_done(folder):
        return None
    before = load_policy(folder / FILE)
    for name in ("task", "env"):
        if before.about.get(name) != about.get(name):
            raise UserError(f"{folder} began with {name} {before.about.get(name)!r}, not {about.get(name)!r}")
    return before


def restore_checkpoint(folder: Path, model: PPO) -> None:
    """Set weights, optimizer and step count of ``model`` to those of the checkpoint in ``folder``.

    Raises:
        ValueError: the file is damaged or does not fit.
    """
    path = folder / STATE
    tensors, about = load_tensors(path)
    weights = {n.removeprefix("policy/"): t for n, t in tensors.items() if n.startswith("policy/")}
    assert isinstance(model.policy, ActorCriticCnnPolicy)
    with reading(path, "the state of a run"):
        state = optimizer_state(tensors, "optimizer", model.policy.optimizer)
        steps, updates = int(about["steps"]), int(about["updates"])
    load_policy_tensors(model.policy, weights, str(path))
    groups = model.policy.optimizer.state_dict()["param_groups"]
    model.policy.optimizer.load_state_dict({"state": state, "param_groups": groups})
    model.num_timesteps, model._n_updates = steps, updates


def start_from(given: LearnedPolicy, where: str, model: PPO) -> None:
    """Set the weights of ``model`` to those of another policy; ``where`` names its file.

    Raises:
        UserError: that policy sees other pictures or has other actions.
    """
    policy = model.policy
    if given.policy.observation_space != policy.observation_space or given.policy.action_space != policy.action_space:
        raise UserError(f"{where} sees other pictures or has other actions than this environment")
    load_module(policy, given.policy.state_dict(), where)
