"""Engines that can be brought to the end of a recorded past again and again.

P frames of past after the first, F frames, H W pixels, A action vector.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.agents.collection.source_engine import EngineStage
from worldsim.agents.collection.source_gym import GymSource, GymStage
from worldsim.agents.collection.types import Transition
from worldsim.envs.luanti.env import LuantiEnv, map_changed
from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec

REST_FRAMES = 60


@dataclass(frozen=True, kw_only=True)
class Film:
    """What the engine showed.

    Attributes:
        frames: uint8 (F, H, W, 3), one after each action. Of a past (P + 1, H, W, 3): the first frame comes before.
        actions: float32 (F, A), as they were really executed.
        rewards: float32 (F,), the engine's own.
        pose: float64 (F, 5) x, y up, z in metres, yaw to the right and pitch down in degrees; as ``frames``. None where
            the engine tells no pose.
        ended: the frame after which the game was over, or None; the last picture is repeated from there on.
        infos: what the engine told of each frame, as ``frames``.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    pose: NDArray[np.float64] | None = None
    ended: int | None = None
    infos: tuple[Mapping[str, Any], ...] = ()


class Engine(ABC):
    """A game that can be brought to the end of a past as often as one likes.

    Attributes:
        spec: its actions.
        fps: frames a second.
    """

    spec: ActionSpec
    fps: float

    @abstractmethod
    def rewind(self, actions: NDArray[np.float32]) -> Film:
        """Bring the game to where it is after actions (P, A) from its start; returns that past."""

    @abstractmethod
    def advance(self, action: NDArray[np.float32]) -> Transition:
        """Play one frame."""

    @abstractmethod
    def close(self) -> None:
        """End the game."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LuantiReplay(Engine):
    """Luanti (or an environment like it) from a start: map, seed of the start, time of day and view.

    Args:
        map_seed, mapgen: the map.
        seed: of the start, which decides the spot unless ``options`` name a position.
        options: of ``LuantiEnv.reset``: ``time_of_day``, ``yaw``, ``pitch``, ``position``, ``spread``.
        fps: frames a second.
        make_env: makes the engine; by default Luanti in the size that ``worldsim collect`` records.
    """

    def __init__(
        self,
        *,
        map_seed: int,
        mapgen: str = "v7",
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        fps: float = 20,
        make_env: Callable[[], gymnasium.Env[Any, Any]] | None = None,
    ):
        if make_env is None:
            env = LuantiEnv(map_seed=map_seed, mapgen=mapgen, fps=int(fps))
        else:
            env = make_env()
        self._stage = EngineStage(env, None, fps)
        self.spec, self.fps = self._stage.spec, fps
        self._seed, self._options = seed, dict(options or {})
        self._changed = True

    def rewind(self, actions: NDArray[np.float32]) -> Film:
        """Play the past from the start; on a map made anew, where this game's map was changed."""
        if not self._changed:
            self._come_to_rest()
        first = self._stage.begin(self._seed, {**self._options, "fresh": self._changed})
        self._changed = False
        return play(self, actions, first)

    def advance(self, action: NDArray[np.float32]) -> Transition:
        """Play one frame."""
        moment = self._stage.advance(action[None])[0]
        self._changed = self._changed or map_changed(moment.info)
        return moment

    def _come_to_rest(self) -> None:
        """A player who is moved while walking or falling arrives with what is left of it."""
        for _ in range(REST_FRAMES):
            velocity = self.advance(self.spec.noop()).info.get("velocity", np.zeros(3))
            if np.linalg.norm(velocity) < 0.01:
                return

    def close(self) -> None:
        """Stop the engine."""
        self._stage.close()


class GymReplay(Engine):
    """A Gymnasium environment from a seed. Atari games are cloned at the end of the past; others are played again.

    Args:
        source: which environment.
        seed: of its reset.

    Raises:
        UserError: there is no such environment.
    """

    def __init__(self, source: GymSource, seed: int):
        self._stage = GymStage(source)
        self.spec, self.fps = self._stage.spec, self._stage.fps
        self._seed = seed
        self._clone: Any = None
        self._past: tuple[NDArray[np.float32], Film] | None = None

    def rewind(self, actions: NDArray[np.float32]) -> Film:
        """Go back to the clone, if there is one of this past; else play the past from the start."""
        if self._clone is not None and self._past is not None and np.array_equal(self._past[0], actions):
            self._bare.restore_state(self._clone)
            for limit in _limits(self._stage.env):
                limit._elapsed_steps = len(actions)
            return self._past[1]
        film = play(self, actions, self._stage.begin(self._seed))
        if film.ended is not None:
            raise UserError(f"the game is over after {film.ended} of {len(actions)} actions of the past")
        if callable(getattr(self._bare, "clone_state", None)):
            # With the generator: sticky actions are noise, which all branches share.
            self._clone, self._past = self._bare.clone_state(include_rng=True), (actions.copy(), film)
        return film

    @property
    def _bare(self) -> Any:
        return self._stage.env.unwrapped

    def advance(self, action: NDArray[np.float32]) -> Transition:
        """Play one frame."""
        return self._stage.advance(action[None])[0]

    def close(self) -> None:
        """Close the environment."""
        self._stage.close()


def _limits(env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
    """Wrappers that count steps: a clone of the game does not set them back."""
    while isinstance(env, gymnasium.Wrapper):
        if hasattr(env, "_elapsed_steps"):
            yield env
        env = env.env


def engine_of(provenance: Mapping[str, Any]) -> Engine:
    """The engine at the start of a recorded episode.

    Args:
        provenance: as the episode's manifest holds it.

    Raises:
        UserError: the episode does not tell how to begin it, or its engine cannot be begun again.
    """
    kind = provenance.get("engine")
    needed = {"luanti": ("seed", "mapgen", "start_seed", "start"), "gymnasium": ("seed", "game")}.get(str(kind))
    if needed is None:
        raise UserError(f"episodes of the engine {kind!r} cannot be played again: only luanti's and gymnasium's can")
    if missing := [name for name in needed if name not in provenance]:
        raise UserError(f"the episode's provenance lacks {', '.join(missing)}: it does not tell how to begin it again")
    if kind == "luanti":
        return LuantiReplay(
            map_seed=int(provenance["seed"]),
            mapgen=str(provenance["mapgen"]),
            seed=int(provenance["start_seed"]),
            options=provenance["start"],
            fps=float(provenance.get("fps", 20)),
        )
    source = GymSource(
        env=str(provenance["game"]),
        kwargs=dict(provenance.get("game_settings", {})),
        frames=str(provenance.get("frames_from", "auto")),
        size=None if "resized" not in provenance else tuple(provenance["resized"]),
    )
    return GymReplay(source, int(provenance["seed"]))


def pose_of(info: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """x, y, z, yaw, pitch (5,) that an engine tells of a frame; None where it does not."""
    if not {"position", "yaw", "pitch"} <= info.keys():
        return None
    return np.array([*info["position"], info["yaw"], info["pitch"]], np.float64)


def play(engine: Engine, actions: NDArray[np.float32], first: Transition | None = None) -> Film:
    """Play actions (F, A); with ``first``, its frame and pose stand at the beginning."""
    moments: list[Transition] = []
    for action in actions:
        if moments and (moments[-1].terminated or moments[-1].truncated):
            break
        moments.append(engine.advance(action))
    shown = [*moments] if first is None else [first, *moments]
    if not shown:
        raise ValueError("a branch needs at least one action")
    over = moments and (moments[-1].terminated or moments[-1].truncated)
    missing = len(actions) - len(moments)
    shown += [shown[-1]] * missing
    poses = [pose_of(moment.info) for moment in shown]
    reported = [pose for pose in poses if pose is not None]
    return Film(
        frames=np.stack([moment.frame for moment in shown]),
        actions=np.concatenate(
            [np.array([m.action for m in moments]).reshape(-1, actions.shape[1]), actions[len(moments) :]]
        ),
        rewards=np.array([m.reward for m in moments] + [0.0] * missing, np.float32),
        pose=np.stack(reported) if len(reported) == len(shown) else None,
        ended=len(moments) if over else None,
        # What happened in the last frame did not happen again in those that repeat it.
        infos=tuple(m.info for m in shown[: len(shown) - missing]) + ({**shown[-1].info, "events": ()},) * missing,
    )
