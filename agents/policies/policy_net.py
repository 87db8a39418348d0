"""Learned policies: stable-baselines3's actor-critic over a small picture network, kept without pickle.

A policy is one safetensors file: weights, and as JSON the spaces and sizes that it was made with.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.preprocessing import is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecTransposeImage
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations
from torch import Tensor, nn

from worldsim.agents.policies.net_config import NetConfig
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_module, load_tensors, misfits, save_tensors
from worldsim.models.shield import shielded
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

FILE = "policy.safetensors"
FORMAT = "worldsim-policy-3"
# Where stable-baselines3 names the same network twice.
ALIAS = "pi_features_extractor."


class PictureNet(BaseFeaturesExtractor):
    """Pictures (B, C, H, W) of any size to features.

    Pictures are told by how they differ from a mean picture, in units of how much pictures differ: beside a still
    background, a ball of two pixels is otherwise not learnt from.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, observation_space: spaces.Box, shrink: int, channels: int, features: int) -> None:
        super().__init__(observation_space, features)
        self.register_buffer("mean", torch.full(observation_space.shape, 0.5))
        self.register_buffer("deviation", torch.tensor(0.25))
        c = channels
        self.convolutions = nn.Sequential(
            nn.AvgPool2d(shrink),
            nn.Conv2d(observation_space.shape[0], c, 5, 2, 2), nn.SiLU(),
            nn.Conv2d(c, 2 * c, 3, 2, 1), nn.SiLU(),
            nn.Conv2d(2 * c, 2 * c, 3, 2, 1), nn.SiLU(),
            nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, *observation_space.shape)).shape[1]
        self.linear = nn.Sequential(nn.Linear(size, features), nn.SiLU())

    def forward(self, observations: Tensor) -> Tensor:
        """Features (B, F)."""
        return self.linear(self.convolutions((observations - self.mean) / self.deviation))

    @torch.no_grad()
    def fit(self, pictures: NDArray[np.uint8]) -> None:
        """Take mean picture and deviation from pictures uint8 (N, H, W, 3)."""
        shown = torch.from_numpy(pictures[:: max(1, len(pictures) // 500)]).permute(0, 3, 1, 2).float() / 255
        mean = shown.mean(0)
        self.mean.copy_(mean.repeat(len(self.mean) // len(mean), 1, 1))
        self.deviation.copy_((shown - mean).square().mean().sqrt().clamp_min(0.02))


def policy_settings(net: NetConfig) -> dict[str, Any]:
    """``policy_kwargs`` for stable-baselines3's ``CnnPolicy``."""
    return {
        "features_extractor_class": PictureNet,
        "features_extractor_kwargs": {"shrink": net.shrink, "channels": net.channels, "features": net.features},
        "net_arch": [],
        # The value has a picture network of its own: its errors, large at first, would undo what was cloned.
        "share_features_extractor": False,
    }


def make_policy_net(
    observation: spaces.Space[Any],
    action: spaces.Space[Any],
    net: NetConfig,
    pictures: NDArray[np.uint8] | None = None,
) -> ActorCriticCnnPolicy:
    """A policy with fresh weights for pictures uint8 (H, W, C), of which it sees ``net.stack`` together.

    ``pictures`` (N, H, W, C) are examples of what it will see.

    Raises:
        UserError: observations are no pictures.
    """
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 3 or observation.dtype != np.uint8:
        raise UserError(f"policies read pictures, uint8 (H, W, 3), not {observation}")
    stacked = StackedObservations(1, net.stack, observation).stacked_observation_space
    assert isinstance(stacked, spaces.Box)
    first = stacked if is_image_space_channels_first(stacked) else VecTransposeImage.transpose_space(stacked)
    assert isinstance(first, spaces.Box)
    policy = ActorCriticCnnPolicy(first, action, lambda _: 0.0, **policy_settings(net))
    if pictures is not None:
        for net_of in (policy.pi_features_extractor, policy.vf_features_extractor):
            assert isinstance(net_of, PictureNet)
            net_of.fit(pictures)
    return policy


def policy_tensors(policy: ActorCriticCnnPolicy) -> dict[str, Tensor]:
    """A policy's weights, each once."""
    return {name: tensor for name, tensor in policy.state_dict().items() if not name.startswith(ALIAS)}


def load_policy_tensors(policy: ActorCriticCnnPolicy, tensors: Mapping[str, Tensor], where: str) -> None:
    """The inverse of ``policy_tensors``.

    Raises:
        ValueError: names or shapes do not fit; ``where`` names the file.
    """
    own = "features_extractor."
    twice = {ALIAS + n.removeprefix(own): tensor for n, tensor in tensors.items() if n.startswith(own)}
    load_module(policy, {**tensors, **twice}, where)


class Memory:
    """The last pictures of an episode, as stable-baselines3's VecFrameStack has them: black before the first."""

    def __init__(self, net: NetConfig, observation: spaces.Space[Any]) -> None:
        assert isinstance(observation, spaces.Box)
        self._stacked = StackedObservations(1, net.stack, observation)

    def forget(self) -> None:
        """Begin an episode."""
        self._stacked.stacked_obs[...] = 0

    def see(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture uint8 (H, W, C) with those before it, the latest last: (H, W, C * stack)."""
        stacked, _ = self._stacked.update(picture[None], np.array([False]), [{}])
        return np.asarray(stacked)[0]


def save_policy(path: Path, policy: ActorCriticCnnPolicy, net: NetConfig, about: dict[str, Any]) -> None:
    """Write a policy; ``about`` (plain JSON) says what it was trained for."""
    action, shape = policy.action_space, policy.observation_space.shape
    if isinstance(action, spaces.MultiDiscrete):
        options: Any = action.nvec.tolist()
    elif isinstance(action, spaces.Discrete):
        options = int(action.n)
    else:
        raise UserError(f"policies choose among options, not {action}: use action_space='multidiscrete'")
    metadata = {"format": FORMAT, "net": asdict(net), "picture": list(shape or ()), "options": options, "about": about}
    save_tensors(path, policy_tensors(policy), metadata)


@dataclass(frozen=True)
class LearnedPolicy:
    """A trained policy and what it was trained for."""

    policy: ActorCriticCnnPolicy
    net: NetConfig
    about: dict[str, Any]

    @shielded
    def act(self, observation: NDArray[np.uint8], *, deterministic: bool = False) -> NDArray[Any]:
        """The action for one observation uint8 (H, W, C * stack), as ``Memory`` has it."""
        action, _ = self.policy.predict(observation, deterministic=deterministic)
        return action

    def check(self, env: Any) -> None:
        """Whether it fits an environment.

        Raises:
            UserError: it sees other pictures or chooses among other actions.
        """
        h, w, c = env.observation_space.shape
        channels, *size = self.policy.observation_space.shape or (0, 0, 0)
        read = (*size, channels // self.net.stack)
        if read != (h, w, c):
            raise UserError(f"the policy reads pictures {read}, here they are {(h, w, c)}")
        if self.policy.action_space != env.action_space:
            raise UserError(f"the policy chooses among {self.policy.action_space}, here it is {env.action_space}")


@shielded
def load_policy(path: str | Path) -> LearnedPolicy:
    """Read a policy, from its file or from a run's folder (the best one there, else the last).

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or no policy.
    """
    path = Path(path)
    if path.is_dir():
        path = next((p for p in (path / "best" / FILE, path / FILE) if p.is_file()), path / FILE)
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no policy of this version of worldsim")
    with reading(path, "a policy"):
        options, net, told = about["options"], dataclass_of(NetConfig, about["net"]), dict(about["about"])
        action = spaces.Discrete(options) if isinstance(options, int) else spaces.MultiDiscrete(options)
        channels, *size = about["picture"]
        # Sizes are compared before memory is taken: the mean picture tells that of pictures.
        if tuple(tensors["features_extractor.mean"].shape) != (channels, *size):
            raise ValueError(f"pictures {about['picture']!r:.60} are not those of its mean picture")
        seen = spaces.Box(0, 255, (channels // net.stack, *size), np.uint8)
        with torch.random.fork_rng(devices=()):
            with torch.device("meta"):
                expected = policy_tensors(make_policy_net(seen, action, net))
            if text := misfits(expected, tensors):
                raise ValueError(f"its weights do not fit what it says of itself: {text}")
            policy = make_policy_net(seen, action, net)
    load_policy_tensors(policy, tensors, str(path))
    policy.set_training_mode(False)
    return LearnedPolicy(policy, net, told)
