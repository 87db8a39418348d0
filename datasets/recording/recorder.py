"""Record your own game: frames and actions, one after the other, become episodes of a store.

Any program:

    with Recorder("data/my-game", keys=("left", "right", "fire"), fps=60, source="my-game") as recorder:
        while playing:
            recorder.add(frame, {"left": 1})  # the picture that is shown, and what is done about it

A Gymnasium environment: ``worldsim.datasets.recording.recorder_gym``. A pygame program:
``worldsim.datasets.recording.recorder_pygame``.

F video frames, H W pixels, A action vector.
"""

import hashlib
import importlib.metadata
import os
import re
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.recording.session import RecordingSession
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split, split_of
from worldsim.spec.actions import ActionSpec

# Pixels that an unfinished episode may hold in memory, in bytes; a longer one is continued in another episode.
MEMORY = 2**30
UNSTATED = "NOASSERTION"  # SPDX: nobody said
STARTED_BY_PLAYER = "the player started this recording"


def split_of_recording(name: str) -> Split:
    """The split of a recording without a map seed: a hash of its name decides, with the shares of ``split_of``."""
    return split_of(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


class Recorder(RecordingSession):
    """Collects frames and actions; writes an episode when it is closed, when the game ends, or when it is full.

    A crash loses the unfinished episode only. Left by an error, the unfinished episode is dropped; left by Ctrl-C or
    ``sys.exit``, it is kept. A change of the picture's size begins another episode. Writing happens in the background.

    Args:
        store: folder of the episode store; made if need be.
        keys: names of the keys, or a whole ``ActionSpec``.
        camera: whether actions also have ``camera``: pitch and yaw in degrees a frame.
        fps: frames a second.
        source: where the recording comes from, in a few words.
        policy: who plays.
        licence: of the pictures: an SPDX id or a sentence.
        consent: what was agreed with the player.
        seed: of the game's map, if it has one: recordings of one map are in one split.
        split: train, validation or test; default: by the map's seed, else by a hash of the recording's name.
        text: caption of the episodes.
        name: of the session, the beginning of its episodes' names; default: from the source and the time.
        episode_frames: longest episode; a longer one is continued in another.
        provenance: what else is known, for example engine and engine_version.

    Raises:
        ValueError: an option makes no sense, or the split contradicts the seed.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | EpisodeStore,
        keys: Sequence[str] | ActionSpec,
        *,
        camera: bool = False,
        fps: float,
        source: str,
        policy: str = "human",
        licence: str = UNSTATED,
        consent: str = STARTED_BY_PLAYER,
        seed: int | None = None,
        split: Split | None = None,
        text: str = "",
        name: str | None = None,
        episode_frames: int = 1000,
        provenance: Mapping[str, Any] | None = None,
    ):
        self.spec = keys if isinstance(keys, ActionSpec) else ActionSpec(keys=tuple(keys), camera=camera)
        if fps <= 0 or episode_frames < 2:
            raise ValueError(f"fps must be positive and episode_frames at least 2, got {fps} and {episode_frames}")
        if seed is not None and split not in (None, split_of(seed)):
            raise ValueError(f"map seed {seed} belongs to split {split_of(seed)!r}, not {split!r}")
        self.store = store if isinstance(store, EpisodeStore) else EpisodeStore(store)
        self.fps, self.text, self.episode_frames = fps, text, episode_frames
        self.name = name or f"{_slug(source)}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
        self.names: list[str] = []
        self._about: dict[str, Any] = {
            "engine": source,
            "engine_version": "",
            "source": source,
            "policy": policy,
            "policy_version": "",
            "licence": licence,
            "consent": consent,
            "keys": list(self.spec.keys),
            "fps": fps,
            "software": f"worldsim {importlib.metadata.version('worldsim')}",
        } | dict(provenance or {})
        self._seed, self._split = seed, split
        self._recording = self._piece = 0
        self._tape = _Tape()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._writing: Future[None] | None = None
        self._closed = False

    def add(
        self,
        frame: NDArray[np.uint8],
        action: Any = None,
        *,
        reward: float = 0.0,
        terminated: bool = False,
        state: Mapping[str, Any] | None = None,
        events: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Add a frame, and the action that is taken at it: the one that leads to the next frame.

        Args:
            frame: uint8 (H, W, 3), RGB; it is copied.
            action: ``{"left": 1, "camera": (pitch, yaw)}``, the names of the keys that are held, the number of the only
                key, a vector (A,), or None for nothing.
            reward: what the action earned on its way to the next frame.
            terminated: the game ends at this frame: the episode is written.
            state: what else is known about the frame: the same names for every frame of an episode.
            events: what happened at this frame, each with its ``kind``.

        Raises:
            ValueError: a frame, an action or a state does not fit; what was added before stays.
            OSError: an earlier episode could not be written.
        """
        if self._closed:
            raise ValueError("the recorder is closed")
        picture = np.asarray(frame)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(f"a frame must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
        vector = action_vector(self.spec, action)
        if self._tape.frames and (
            self._tape.frames[0].shape != picture.shape
            or len(self._tape.frames) >= max(2, min(self.episode_frames, MEMORY // picture.nbytes))
        ):
            self._finish()
        self._tape.add(picture.copy(), vector, float(reward), bool(terminated), state or {}, events)
        if terminated:
            self.begin()

    def begin(self, *, seed: int | None = None) -> None:
        """Write what there is, and go on with a new recording (of another map, if a seed is given)."""
        self._finish()
        if self._piece:
            self._recording, self._piece = self._recording + 1, 0
        self._seed = seed if seed is not None else self._seed

    def close(self) -> None:
        """Write the last episode, and wait until it is on disk.

        Raises:
            OSError: an episode could not be written.
        """
        if self._closed:
            return
        try:
            self._finish()
            self._wait()
        finally:
            self._closed = True
            self._writer.shutdown()

    def discard(self) -> None:
        """Give the unfinished episode up and close."""
        self._tape = _Tape()
        self.close()

    def _finish(self) -> None:
        if not self._tape.frames:
            return
        # First, so that an error leaves the tape as it is.
        self._wait()
        recording = f"{self.name}-r{self._recording:03d}"
        name = f"{recording}-p{self._piece:02d}"
        split = self._split or (split_of_recording(recording) if self._seed is None else split_of(self._seed))
        about = self._about | {
            "recording": recording,
            "split": split,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if self._seed is not None:
            about["seed"] = self._seed
        tape, self._tape = self._tape, _Tape()
        self._piece += 1
        self._writing = self._writer.submit(self._write, tape, name, about)

    def _write(self, tape: "_Tape", name: str, about: Mapping[str, Any]) -> None:
        self.store.append(tape.episode(self.text, about), name)
        self.names.append(name)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


class _Tape:
    """The unfinished episode."""

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.actions: list[NDArray[np.float32]] = []
        self.rewards: list[float] = []
        self.terminated: list[bool] = []
        self.states: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []

    def add(
        self,
        frame: NDArray[np.uint8],
        action: NDArray[np.float32],
        reward: float,
        terminated: bool,
        state: Mapping[str, Any],
        events: Sequence[Mapping[str, Any]],
    ) -> None:
        if self.states and self.states[0].keys() != state.keys():
            raise ValueError(f"state {sorted(state)} differs from the first frame's {sorted(self.states[0])}")
        self.events += [{**event, "frame": len(self.frames)} for event in events]
        self.frames.append(frame)
        self.actions.append(action)
        self.rewards.append(reward)
        self.terminated.append(terminated)
        self.states.append(dict(state))

    def episode(self, text: str, provenance: Mapping[str, Any]) -> Episode:
        actions, rewards = np.stack(self.actions), np.array(self.rewards, np.float32)
        # The last row leads out of the episode: by the format it is zeros.
        actions[-1], rewards[-1] = 0, 0
        return Episode(
            frames=np.stack(self.frames),
            actions=actions,
            rewards=rewards,
            terminated=np.array(self.terminated),
            state={name: np.array([state[name] for state in self.states]) for name in self.states[0]},
            events=self.events,
            text=text,
            provenance=provenance,
        )


def action_vector(spec: ActionSpec, action: Any) -> NDArray[np.float32]:
    """The vector (A,) of an action in any of the forms of ``Recorder.add``.

    Raises:
        ValueError: an unknown key, a wrong value or shape.
    """
    if action is None:
        return spec.noop()
    if isinstance(action, Mapping):
        return spec.vector(action)
    if isinstance(action, str):
        return spec.vector({action: 1})
    if isinstance(action, int | np.integer) and not isinstance(action, bool):
        if not 0 <= action < len(spec.keys):
            raise ValueError(f"there is no action {action}: the keys are numbered 0 to {len(spec.keys) - 1}")
        return spec.vector({spec.keys[int(action)]: 1})
    if isinstance(action, Collection) and all(isinstance(name, str) for name in action):
        return spec.vector(dict.fromkeys(action, 1))
    vector = np.asarray(action, np.float32)
    if vector.shape != (spec.size,) or not np.isfinite(vector).all():
        raise ValueError(f"an action must be {spec.size} finite numbers, got shape {vector.shape}")
    return vector.copy()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "recording"
