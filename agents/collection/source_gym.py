"""Any Gymnasium environment with pictures: Atari, classic control, and whatever is installed.

H W pixels, A action vector.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import Error as GymnasiumError
from numpy.typing import NDArray

from worldsim.agents.collection.types import NOBODY, Buffer, Facts, MapJob, RecordingEnv, Transition
from worldsim.agents.policies.factory import policy_for
from worldsim.datasets.recording.action_codec import SpaceCodec
from worldsim.datasets.recording.env_pictures import EnvPictures, action_meanings, frames_per_second, is_picture
from worldsim.datasets.recording.recorder import UNSTATED
from worldsim.datasets.store.picture import scale_picture
from worldsim.datasets.store.store import SPLIT_PERIOD, split_of
from worldsim.errors import UserError
from worldsim.extras import require

# Namespaces whose package registers them only when it is imported.
PACKAGES = {"ALE": "ale_py"}


@dataclass(frozen=True, kw_only=True)
class GymSource:
    """A Gymnasium id.

    Attributes:
        env: id, such as ``ALE/Breakout-v5`` or ``package.module:Name-v0``.
        kwargs: passed to ``gymnasium.make``.
        frames: "observation", "render", or "auto": observations where they are pictures.
        fps: frames a second; default: as the environment tells.
        size: width and height in pixels that pictures are scaled to; default: as they come.
        licence: of its pictures.
        text: caption of the episodes; default: the environment's name.
    """

    env: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    frames: str = "auto"
    fps: float | None = None
    size: tuple[int, int] | None = None
    licence: str = UNSTATED
    text: str = ""
    policy: str = "random"

    @property
    def name(self) -> str:
        """For provenance."""
        return f"gym:{self.env}"

    def __call__(self, world: MapJob, fps: float) -> RecordingEnv:
        """Make the environment."""
        return GymStage(self, split_residue=world.map_seed % SPLIT_PERIOD)

    def check(self, policy: str, script: str) -> float:
        """Make it once, here."""
        stage = GymStage(self)
        try:
            policy_for(policy, stage, script)
            stage.reset(np.random.default_rng(0))
        except (GymnasiumError, ImportError, ValueError) as error:
            raise UserError(f"{self.env}: {_first_line(error)}") from error
        finally:
            stage.close()
        return stage.fps


class GymStage:
    """One environment; its own actions are played and recorded as an action vector.

    Args:
        source: what to make.
        split_residue: seeds are drawn with this remainder, so that all of them are in one split.

    Raises:
        UserError: there is no such environment, it shows no pictures, or its actions cannot be written as keys.
    """

    chunk, poses, rejects_frozen = 1, False, False

    def __init__(self, source: GymSource, split_residue: int = 0):
        self.source, self._residue = source, split_residue
        self.env = make_env(source.env, source.kwargs, source.frames)
        try:
            self.codec = SpaceCodec(self.env.action_space, action_meanings(self.env))
            self.pictures = EnvPictures(self.env, source.frames)
        except ValueError as error:
            self.env.close()
            raise UserError(f"{source.env}: {error}") from error
        self.spec = self.codec.spec
        self.fps = source.fps or frames_per_second(self.env)
        self._seed = 0

    def reset(self, rng: np.random.Generator) -> Transition:
        """Begin an episode from a seed of its own."""
        return self.begin(int(rng.integers(2**31 // SPLIT_PERIOD - 1)) * SPLIT_PERIOD + self._residue)

    def begin(self, seed: int) -> Transition:
        """Begin from a given seed, as provenance tells it of a recorded episode."""
        self._seed = seed
        obs, info = self.env.reset(seed=seed)
        return Transition(frame=self._picture(obs), info=info, action=self.spec.noop())

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Play one frame."""
        native = self.codec.action(actions[0])
        executed = self.codec.vector(native)
        obs, reward, terminated, truncated, info = self.env.step(native)
        return [
            Transition(
                frame=self._picture(obs),
                info={**info, "reward": float(reward)},
                action=executed,
                reward=float(reward),
                terminated=bool(terminated),
                truncated=bool(truncated),
            )
        ]

    def _picture(self, obs: Any) -> NDArray[np.uint8]:
        picture = self.pictures(obs)
        return picture if self.source.size is None else scale_picture(picture, self.source.size)

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action."""
        return self.codec.sample(rng)

    def idle(self) -> NDArray[np.float32]:
        """The option called noop, else the first one; no buttons; axes at zero."""
        return self.codec.noop()

    def facts(self, tape: Buffer) -> Facts:
        """Caption, numbers that ``info`` tells in every frame, and which environment it was."""
        spec = self.env.spec
        bare = re.sub(r"-v\d+$", "", self.source.env.rpartition(":")[2].rpartition("/")[2])
        provenance = {
            "engine": "gymnasium",
            "engine_version": gymnasium.__version__,
            "game": self.source.env,
            "game_settings": {k: v for k, v in (spec.kwargs if spec else {}).items() if isinstance(v, PLAIN)},
            "package_version": _package_version(self.env),
            "seed": self._seed,
            "split": split_of(self._seed),
            "source": self.source.name,
            "licence": self.source.licence,
            "consent": NOBODY,
            **({"resized": list(self.source.size)} if self.source.size else {}),
            "frames_from": "observation" if self.pictures.observed else "render",
        }
        return Facts(text=self.source.text or f"playing {bare}", state=_numbers(tape.infos), provenance=provenance)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


PLAIN = (str, int, float, bool, type(None))


def make_env(name: str, kwargs: Mapping[str, Any], frames: str = "auto") -> gymnasium.Env[Any, Any]:
    """Make an environment that shows pictures: by its observations, else by rendering.

    Raises:
        UserError: there is no such environment, its package is missing, or it cannot be made so.
    """
    if frames not in ("auto", "observation", "render"):
        raise UserError(f"frames must be auto, observation or render, got {frames!r}")
    namespace = name.rpartition(":")[2].rpartition("/")[0]
    if namespace in PACKAGES:
        gymnasium.register_envs(require(PACKAGES[namespace], name))
    try:
        if frames != "render":
            env = gymnasium.make(name, **kwargs)
            if frames == "observation" or is_picture(env.observation_space) or env.render_mode == "rgb_array":
                return env
            env.close()
        return gymnasium.make(name, **({**kwargs, "render_mode": "rgb_array"}))
    except (GymnasiumError, ModuleNotFoundError, TypeError, ValueError) as error:
        raise UserError(f"{name} cannot be made: {_first_line(error)}") from error


def _numbers(infos: list[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Numbers that every frame's ``info`` has, and plain names."""
    # The first frame's info comes from reset and often has less: ``reward`` and the like are stored elsewhere.
    names = {name for name in infos[0] if re.fullmatch(r"[A-Za-z_]\w*", str(name)) and name != "reward"}
    kinds = (bool, int, float, np.bool_, np.integer, np.floating)
    kept = [name for name in sorted(names) if all(isinstance(info.get(name), kinds) for info in infos)]
    arrays = {name: np.array([info[name] for info in infos]) for name in kept}
    return {name: array for name, array in arrays.items() if array.dtype != object}


def _package_version(env: gymnasium.Env[Any, Any]) -> str:
    """Name and version of the package that an environment's class comes from."""
    package = type(env.unwrapped).__module__.partition(".")[0]
    version = getattr(importlib.import_module(package), "__version__", "")
    return f"{package} {version}".strip()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
