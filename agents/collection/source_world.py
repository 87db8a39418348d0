"""A learned world as a source: dreaming new episodes from start clips, under scripted or random players.

r video frames per chunk, H W pixels, A action vector.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import worldsim
from worldsim.agents.collection.source_engine import DOINGS
from worldsim.agents.collection.types import NOBODY, Buffer, Facts, MapJob, RecordingEnv, Transition
from worldsim.agents.policies.factory import policy_for
from worldsim.agents.policies.random import sample_minecraft
from worldsim.datasets.captions.templates import PHRASES
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.starts import StartClips
from worldsim.datasets.recording.recorder import UNSTATED, split_of_recording
from worldsim.datasets.store.store import EpisodeStore, Split, split_of
from worldsim.envs.learned.initial_context import InitialContext, choose, fit_past, prefill, resolve
from worldsim.errors import UserError
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import FILES, WorldModel
from worldsim.spec.actions import MINECRAFT

# Frames of an episode of a store that a dream begins from.
PAST_FRAMES = 33


@dataclass(frozen=True, kw_only=True)
class WorldSource:
    """A learned world.

    Attributes:
        world: a shipped world's name, or a checkpoint folder.
        starts: folder of start clips, or an episode store, to begin from; default: the world's own start clips.
        split: of the store's episodes to begin from; None for all.
        prompt: text condition.
        threads: CPU threads of each worker.
    """

    world: str = "minecraft"
    starts: str | None = None
    split: Split | None = None
    prompt: str | None = None
    threads: int = 1
    policy: str = "mixture"

    @property
    def name(self) -> str:
        """For provenance."""
        return f"worldsim:{Path(self.world).name}"

    def __call__(self, world: MapJob, fps: float) -> RecordingEnv:
        """Load the world."""
        return DreamStage(self)

    def check(self, policy: str, script: str) -> float:
        """Load it once, here."""
        stage = DreamStage(self, threads=False)
        policy_for(policy, stage, script)
        return stage.fps

    def splits(self) -> set[str]:
        """The splits that dreams will be in, for start clips: those of the clips' maps."""
        return set() if self._store() else {_split(p, i) for i, p in enumerate(self.load()[1].provenance)}

    def load(self) -> tuple[WorldModel, StartClips]:
        """The world, and its start clips."""
        return resolve(self.world, None if self._store() else self.starts)

    def _store(self) -> bool:
        return self.starts is not None and Path(self.starts, "episodes").is_dir()

    def pasts(self) -> ClipSampler | None:
        """Pasts from a store, if dreams begin from one."""
        if not self._store():
            return None
        assert self.starts is not None
        return ClipSampler(EpisodeStore(self.starts), self.split, frames=PAST_FRAMES)


class DreamStage:
    """One world; each episode begins at the last frame of a real past, and all that follows is dreamed.

    Args:
        source: which world, begun from what.
        threads: whether to set the process's number of threads.
    """

    rejects_frozen = False

    def __init__(self, source: WorldSource, *, threads: bool = True):
        self._threads = torch.get_num_threads()
        if threads:
            torch.set_num_threads(source.threads)
        self.source = source
        self.world, self._starts = source.load()
        self._pasts = source.pasts()
        self.spec, self.chunk, self.fps = self.world.spec, self.world.chunk, float(self.world.config.fps)
        self.poses = self.spec == MINECRAFT
        self._state: WorldState | None = None
        self._pose = np.zeros(5)
        self._begun: Mapping[str, Any] = {}
        self._about: Mapping[str, Any] = {}

    def reset(self, rng: np.random.Generator) -> Transition:
        """Begin from a past that ``rng`` draws."""
        if self._pasts is not None:
            return self._begin(self._from_store(rng))
        options = {"prompt": self.source.prompt} if self.source.prompt else None
        return self.begin(choose(self.world, self._starts, rng, options))

    def begin(self, beginning: InitialContext, **told: Any) -> Transition:
        """Begin from a start clip, or from a past from elsewhere, of which ``told`` goes into provenance."""
        known = beginning.start >= 0
        self._about = self._starts.provenance[beginning.start] if known else {}
        self._begun = ({"clip": beginning.start} if known else {}) | told | {"noise_seed": beginning.seed}
        return self._begin(beginning)

    def _begin(self, beginning: InitialContext) -> Transition:
        self._state = prefill(self.world, [beginning])
        self._pose = np.zeros(5)
        return Transition(frame=beginning.frames[-1], info=_info(self._pose, np.zeros(3)), action=self.spec.noop())

    def advance(self, actions: NDArray[np.float32]) -> list[Transition]:
        """Dream the next chunk; its reward and its end belong to its last frame."""
        assert self._state is not None, "reset comes first"
        self._state, out = self.world.step(self._state, actions[None], inplace=True)
        before, after = self._pose, out.pose[0].astype(np.float64)
        self._pose = after
        velocity = (after[:3] - before[:3]) * self.fps / self.chunk
        poses = _poses(before, after, actions[:, -2:] if self.spec.camera else None, self.chunk)
        moments = []
        for i, pose in enumerate(poses):
            last = i + 1 == self.chunk
            moments.append(
                Transition(
                    frame=out.frames[0, i],
                    info=_info(pose, velocity),
                    action=actions[i],
                    reward=float(out.reward[0]) if last else 0.0,
                    terminated=last and bool(out.terminated[0]),
                )
            )
        return moments

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random action."""
        return sample_minecraft(self.spec, rng)

    def idle(self) -> NDArray[np.float32]:
        """Nothing pressed."""
        return self.spec.noop()

    def facts(self, tape: Buffer) -> Facts:
        """Which checkpoint dreamed it, from which past; state is the world's own estimate."""
        about = self._about
        provenance: dict[str, Any] = {
            "engine": "worldsim",
            "engine_version": worldsim.__version__,
            "checkpoint": checkpoint_hashes(self.source.world),
            "source": self.source.name,
            "licence": about.get("licence", UNSTATED),
            "consent": about.get("consent", NOBODY),
            "split": _split(about, self._begun.get("clip", 0)),
            "start": dict(self._begun),
            "prompt": self.source.prompt or "",
            "state_is": "estimated by the world, relative to the start",
            "real_frames": 1,
        }
        if isinstance(about.get("seed"), int):
            provenance["seed"] = about["seed"]
        kinds = {"position": np.float32, "velocity": np.float32, "yaw": np.float32, "pitch": np.float32}
        state = {name: np.array([info[name] for info in tape.infos], kind) for name, kind in kinds.items()}
        return Facts(text=self._caption(tape), state=state, provenance=provenance)

    def close(self) -> None:
        """Give the process its threads back."""
        torch.set_num_threads(self._threads)

    def _from_store(self, rng: np.random.Generator) -> InitialContext:
        assert self._pasts is not None
        clip, seed = int(rng.integers(len(self._pasts))), int(rng.integers(2**31))
        name, first = self._pasts.locate(clip)
        episode = self._pasts.read(clip)
        frames, actions = fit_past(self.world, episode.frames, episode.actions[:-1])
        self._about = {**episode.provenance, "text": episode.text, "recording": name}
        self._begun = {"episode": name, "frame": first + PAST_FRAMES - 1, "noise_seed": seed}
        return InitialContext(frames=frames, actions=actions, seed=seed, prompt=self.source.prompt)

    def _caption(self, tape: Buffer) -> str:
        """What the player did, in the place and at the time that the dream began in."""
        doing = Counter(tape.scripts).most_common(1)[0][0]
        before = str(self._about.get("text", ""))
        known = next((p for p in sorted(PHRASES.values(), key=len, reverse=True) if before.startswith(p)), None)
        return (PHRASES.get(doing) or DOINGS.get(doing, doing)) + (before.removeprefix(known) if known else "")


def checkpoint_hashes(world: str) -> dict[str, str]:
    """sha256 of a checkpoint's files."""
    return _hashes(worldsim.world_folder(world))


@lru_cache(maxsize=4)
def _hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def _poses(
    before: NDArray[np.float64], after: NDArray[np.float64], mouse: NDArray[np.float32] | None, chunk: int
) -> NDArray[np.float64]:
    """Where one is at each frame of a chunk (r, 5): the world estimates its end alone.

    Within it the view turns as the mouse (r, 2: pitch, yaw) did; what the world turned beside that, and the way gone,
    are spread evenly.
    """
    moved = np.tile((after - before) / chunk, (chunk, 1))
    if mouse is not None:
        moved[:, 3:] += mouse[:, ::-1] - mouse[:, ::-1].mean(0)
    return before + moved.cumsum(0)


def _info(pose: NDArray[np.float64], velocity: NDArray[np.float64]) -> dict[str, Any]:
    yaw = (float(pose[3]) + 180) % 360 - 180
    return {"position": pose[:3].copy(), "velocity": velocity, "yaw": yaw, "pitch": float(pose[4])}


def _split(about: Mapping[str, Any], clip: int) -> Split:
    """The split of the map that a dream begins on: what a model must not train on, its dreams must not teach it."""
    if isinstance(about.get("seed"), int):
        return split_of(about["seed"])
    if (known := about.get("split")) in ("train", "validation", "test"):
        return known
    return split_of_recording(str(about.get("recording", about.get("episode", f"clip {clip}"))))


def check_split(split: str | None) -> Split | None:
    """A split's name, or None.

    Raises:
        UserError: there is no such split.
    """
    if split is None or split in ("train", "validation", "test"):
        return split
    raise UserError(f"split must be train, validation or test, got {split!r}")
