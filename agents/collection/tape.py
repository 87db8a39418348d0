"""An episode while it is being recorded, and the finished episode with where it comes from."""

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.collection.types import MapJob, RecordingEnv, Transition
from worldsim.agents.policies.return_scripts import RESTING
from worldsim.agents.policies.scripts import SCRIPTS
from worldsim.datasets.checks.stillness import difference
from worldsim.datasets.store.episode import Episode

SCRIPT_NAMES = tuple(SCRIPTS)


class EpisodeBuffer:
    """Frames, what is known about them, and the actions between them.

    Args:
        first: where the episode begins.
        frozen_below: mean difference of two pictures (of 255) under which the second counts as frozen; 0: equal ones.
    """

    def __init__(self, first: Transition, frozen_below: float = 0.0):
        self._frozen_below = frozen_below
        self.frames: list[NDArray[np.uint8]] = [first.frame]
        self.infos: list[Mapping[str, Any]] = [first.info]
        self.actions: list[NDArray[np.float32]] = []
        self.rewards: list[float] = []
        self.terminated = [False]
        self.scripts: list[str] = []
        self.ended = "cut"
        self.frozen = 0
        self.stretch = 0

    def add(self, moment: Transition, doing: str) -> None:
        """Add a moment, and what the player was doing on the way to it."""
        if self._frozen_below:
            still = bool(difference(moment.frame, self.frames[-1]) < self._frozen_below)
        else:
            still = np.array_equal(moment.frame, self.frames[-1])
        # Who rests on purpose has not got stuck.
        still = still and not (doing in RESTING and not moment.action.any())
        self.frozen += still
        self.stretch = self.stretch + 1 if still else 0
        self.frames.append(moment.frame)
        self.infos.append(moment.info)
        self.actions.append(moment.action)
        self.rewards.append(moment.reward)
        self.terminated.append(moment.terminated)
        self.scripts.append(doing)
        if moment.terminated or moment.truncated:
            self.ended = "terminated" if moment.terminated else "truncated"

    def episode(self, world: MapJob, stage: RecordingEnv) -> Episode:
        """The finished episode."""
        facts = stage.facts(self)
        actions = np.zeros((len(self.frames), stage.spec.size), np.float32)
        actions[:-1] = np.stack(self.actions)
        version = importlib.metadata.version("worldsim")
        script = f"sha256:{hashlib.sha256(world.script.encode()).hexdigest()}"
        provenance = dict(facts.provenance) | {
            "policy": world.policy,
            "policy_version": script if world.policy == "script" else f"worldsim {version}",
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "software": f"worldsim {version}",
            "keys": list(stage.spec.keys),
            "frozen_frames": int(self.frozen),
            "fps": round(stage.fps, 4) if stage.fps % 1 else int(stage.fps),
            "ended": self.ended,
        }
        state = dict(facts.state)
        if set(self.scripts) <= set(SCRIPT_NAMES):
            provenance["scripts"] = list(SCRIPT_NAMES)
            numbers = [SCRIPT_NAMES.index(name) for name in self.scripts]
            state["script"] = np.array([*numbers, numbers[-1]], np.int16)
        return Episode(
            frames=np.stack(self.frames),
            actions=actions,
            rewards=np.array([*self.rewards, 0.0], np.float32),
            terminated=np.array(self.terminated),
            state=state,
            events=[{**event, "frame": t} for t, info in enumerate(self.infos) for event in info.get("events", ())],
            text=facts.text,
            provenance=provenance,
        )
