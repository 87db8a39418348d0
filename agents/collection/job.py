"""Plan and record one world: one map seed, a few episodes from different starting points."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.agents.collection.source_engine import EngineStage, LuantiSource
from worldsim.agents.collection.tape import EpisodeBuffer
from worldsim.agents.collection.types import MakeEnv, MapJob, RecordingEnv, Report, Transition
from worldsim.agents.policies.factory import policy_for
from worldsim.agents.policies.mixture import Policy
from worldsim.datasets.checks.stillness import FROZEN_DIFFERENCE
from worldsim.datasets.store.store import SPLIT_PERIOD, EpisodeStore, Split, split_of
from worldsim.errors import UserError

# A stretch of so many frozen frames ends the attempt.
FROZEN_STRETCH = 80
FROZEN_ATTEMPTS = 4
# Worlds take map generators in turn; v7 is Luanti's default.
MAPGENS = ("v7", "v6", "valleys", "v7", "carpathian", "v5")
# Frames between two reports of a worker.
REPORT_EVERY = 50


def plan_worlds(
    *,
    seed: int,
    episodes: int,
    episodes_per_world: int,
    episode_frames: int,
    policy: str,
    frozen_limit: float,
    script: str = "",
    prefix: str = "",
    maps: Split | None = None,
) -> list[MapJob]:
    """The worlds of a collection. A longer collection with the same seed begins with the same worlds.

    Args:
        seed: of the collection.
        episodes: how many in all.
        episodes_per_world: how many of them share a map.
        episode_frames: the longest.
        policy: who plays.
        frozen_limit: share of unchanged frames above which an engine's episode is rejected.
        script: text of the action script, for ``policy="script"``.
        prefix: of the episodes' names, so that different collections can share a store.
        maps: only worlds whose maps are of this split; they are the same ones as without it.
    """
    wanted = (n for n in itertools.count() if maps is None or split_of(n) == maps)
    worlds = []
    for place, number in enumerate(itertools.islice(wanted, math.ceil(episodes / episodes_per_world))):
        count = min(episodes_per_world, episodes - place * episodes_per_world)
        # Residues in turn, so that every twelve worlds hold one for validation and one for test.
        block = int(np.random.default_rng((seed, number)).integers(2**31 // SPLIT_PERIOD - 1))
        worlds.append(
            MapJob(
                seed=seed,
                number=number,
                map_seed=block * SPLIT_PERIOD + number % SPLIT_PERIOD,
                # A step of seven against the twelve residues lets every split see every generator.
                mapgen=MAPGENS[(number + number // SPLIT_PERIOD) % len(MAPGENS)],
                names=tuple(f"{prefix}s{seed}-w{number:04d}-e{i:02d}" for i in range(count)),
                episode_frames=episode_frames,
                policy=policy,
                frozen_limit=frozen_limit,
                script=script,
            )
        )
    return worlds


# The default engine.
make_luanti = LuantiSource()


def record_world(store: EpisodeStore, world: MapJob, *, make_env: MakeEnv, fps: float, report: Report) -> None:
    """Record the episodes of a world that the store lacks, in this process.

    ``report`` receives ``("steps", n)``, ``("episode", {...})`` and ``("frozen", name)`` as they happen.

    Raises:
        Exception: whatever the engine raises; what is committed stays.
    """
    stage = _as_stage(make_env(world, fps), world, fps)
    try:
        for number, name in enumerate(world.names):
            for attempt in range(FROZEN_ATTEMPTS):
                if store.taken(name):
                    break
                rng = np.random.default_rng((world.seed, world.number, number, attempt))
                tape = _play(stage, world, rng, report)
                still = tape.frozen > world.frozen_limit * max(1, len(tape.frames)) or tape.stretch >= FROZEN_STRETCH
                if still and _rejects_frozen(stage, world):
                    report(("frozen", name))
                    continue
                if not tape.actions:
                    raise UserError("the script ended before its first action")
                episode = tape.episode(world, stage)
                store.append(episode, name)
                report(("episode", {"name": name, "frames": len(episode), "frozen": tape.frozen}))
    finally:
        stage.close()


def _rejects_frozen(stage: RecordingEnv, world: MapJob) -> bool:
    """Whoever is told to stand still may do so."""
    return stage.rejects_frozen and world.policy not in ("noop", "script")


def _as_stage(opened: "RecordingEnv | gymnasium.Env[Any, Any]", world: MapJob, fps: float) -> RecordingEnv:
    return EngineStage(opened, world, fps) if isinstance(opened, gymnasium.Env) else opened


def _play(stage: RecordingEnv, world: MapJob, rng: np.random.Generator, report: Report) -> EpisodeBuffer:
    """One attempt at an episode, given up when the picture stands still for too long."""
    policy = policy_for(world.policy, stage, world.script)
    here = stage.reset(rng)
    tape = EpisodeBuffer(here, FROZEN_DIFFERENCE if stage.rejects_frozen else 0.0)
    policy.reset(rng, here.info)
    unreported = 0
    while len(tape.frames) < world.episode_frames and tape.ended == "cut":
        actions, doing = _decide(policy, stage, here)
        if not len(actions):
            tape.ended = "script"
            break
        for here in stage.advance(actions)[: min(len(doing), world.episode_frames - len(tape.frames))]:
            tape.add(here, doing.pop(0))
            unreported += 1
            if unreported == REPORT_EVERY:
                report(("steps", unreported))
                unreported = 0
        hopeless = tape.frozen > world.frozen_limit * world.episode_frames
        if (hopeless or tape.stretch >= FROZEN_STRETCH) and _rejects_frozen(stage, world):
            break
    report(("steps", unreported))
    return tape


def _decide(policy: Policy, stage: RecordingEnv, here: Transition) -> tuple[NDArray[np.float32], list[str]]:
    """Actions (r, A) for the next step, and what each of them is about; none when the policy has finished."""
    actions, doing, info = [], [], here.info
    for _ in range(stage.chunk):
        action = policy.act(here.frame, info)
        if getattr(policy, "finished", False):
            break
        actions.append(action)
        doing.append(policy.name)
        info = _foreseen(info, action)
    if not actions:
        return np.zeros((0, stage.spec.size), np.float32), doing
    actions += [stage.idle()] * (stage.chunk - len(actions))
    return np.stack(actions), doing


def _foreseen(info: Mapping[str, Any], action: NDArray[np.float32]) -> Mapping[str, Any]:
    """Where the player will look after an action: within a chunk, the next action is chosen before it is shown."""
    if "yaw" not in info or "pitch" not in info:
        return info
    turned = {"yaw": float(info["yaw"]) + float(action[-1]), "pitch": float(info["pitch"]) + float(action[-2])}
    return {**info, **turned, "events": ()}
