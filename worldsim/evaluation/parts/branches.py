"""Counterfactuals: does the world part its futures as the engine does, from the same past and by the same actions?

S starts, K branches, F frames of a branch, r frames per chunk, H W pixels, A action vector. E engine, M model.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import whole_file
from worldsim.datasets.loading.starts import recorded_poses
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.evaluation.counterfactuals.branch_scores import distances, effect_ratio
from worldsim.evaluation.interface.figures import Chart, Overlay, Picture, Section, plain
from worldsim.evaluation.interface.lines import Line, at_least, between, line, number
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, amount, limit
from worldsim.evaluation.measures.rollouts import rollout
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import ActionSpec
from worldsim.spec.damage import reading

Frames = NDArray[np.uint8]
# The engine repeats a past well for about 200 frames: pasts end before that, and after the first second's settling.
LATEST, EARLIEST = 150, 60
# What K = 8 branches do: (name, action); the camera in degrees a frame.
SCRIPTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nothing", {}),
    ("forward", {"forward": 1}),
    ("back", {"back": 1}),
    ("left", {"left": 1}),
    ("right", {"right": 1}),
    ("turn right", {"camera": (0.0, 4.0)}),
    ("turn left", {"camera": (0.0, -4.0)}),
    ("look down", {"camera": (3.0, 0.0)}),
)


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    branch_starts: int = amount(quick=3, full=12, help="starts of counterfactual branches")
    prefix: int
    branch_chunks: int = amount(quick=10, full=10, help="length of counterfactual branches in chunks")


@dataclass(frozen=True, kw_only=True)
class Goals(Checked):
    """What a world should reach."""

    retrieval: float = limit(0.6, "share of counterfactual branches that are told apart, at least")
    effect: tuple[float, float] = limit((0.7, 1.3), "effect ratio of branches, from and to")

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or negative, or ``effect`` is not a range.
        """
        given = self.effect
        super().__post_init__()
        if len(self.effect) != 2 or not 0 <= self.effect[0] <= self.effect[1]:
            raise ValueError(f"effect must go from a number of 0 or more to a larger one, got {list(given)}")


@dataclass(frozen=True, kw_only=True)
class Branches:
    """One start in the engine.

    Attributes:
        past: uint8 (P, H, W, 3), actions (P - 1, A): what the world is given.
        engine: uint8 (K, F, H, W, 3); again: the same branches, those that were played twice (k, F, H, W, 3).
        map: seed of the map.
        poses: of the past (P, 5); None where they are not known.
    """

    past: Frames
    actions: NDArray[np.float32]
    engine: Frames
    again: Frames
    map: int
    poses: NDArray[np.float32] | None = None


def scripts(spec: ActionSpec, frames: int) -> NDArray[np.float32]:
    """The actions (K, F, A) of all branches."""
    return np.stack([np.tile(spec.vector(action), (frames, 1)) for _, action in SCRIPTS])


def branch_starts(store: EpisodeStore, split: Split, count: int, prefix: int, seed: int) -> list[tuple[str, int]]:
    """Episodes and frames at which pasts end: early in an episode, maps in turn, nothing dug or placed before."""
    rng = np.random.default_rng(seed)
    by_map: dict[int, list[tuple[str, int]]] = {}
    for name in store.names(split):
        manifest = store.manifest(name)
        about = manifest["provenance"]
        if about.get("engine") != "luanti" or "start" not in about or int(manifest["frames"]) <= LATEST:
            continue
        end = int(rng.integers(max(EARLIEST, prefix), LATEST))
        if not any(
            e["kind"] in ("dig", "place") and int(e["frame"]) <= end for e in store.read(name, 0, 1 + end).events
        ):
            by_map.setdefault(int(about["seed"]), []).append((name, end))
    turns = max(map(len, by_map.values()), default=0)
    found = [members[i] for i in range(turns) for _, members in sorted(by_map.items()) if i < len(members)]
    return found[:count]


def engine_truth(
    store: EpisodeStore,
    place: tuple[str, int],
    folder: Path,
    prefix: int,
    frames: int,
    progress: Progress = lambda *_: None,
) -> Branches:
    """The engine's branches of one start: read from ``folder`` if they were played before, else played and kept there.

    Raises:
        UserError: the engine does not repeat the recorded past.
        FileNotFoundError: the engine is not installed.
    """
    from worldsim.evaluation.counterfactuals.engine_branches import Check, replay_branches
    from worldsim.evaluation.counterfactuals.engine_replays import engine_of

    name, end = place
    key = hashlib.sha256(json.dumps([store.digest(name), end, prefix, frames, repr(SCRIPTS)]).encode()).hexdigest()[:16]
    path = folder / f"{name}-{end}-{key}.npz"
    kept = _read(path)
    if kept is not None:
        return kept
    episode = store.read(name, 0, end + 1)
    state = episode.state
    pose = np.array([*state["position"][end], state["yaw"][end], state["pitch"][end]], np.float64)
    with engine_of(episode.provenance) as engine:
        truth = replay_branches(
            engine, episode.actions[:end], list(scripts(engine.spec, frames)), again=2,
            check=Check(frame=episode.frames[end], pose=pose), progress=progress,
        )  # fmt: skip
    # The past as this engine played it: the same as recorded but for some pixels.
    poses = recorded_poses(episode)
    assert poses is not None, "without poses the engine's start could not be checked"
    out = Branches(
        poses=poses[end + 1 - prefix : end + 1],
        past=truth.past.frames[-prefix:],
        actions=episode.actions[end + 1 - prefix : end],
        engine=np.stack([film.frames for film in truth.branches]),
        again=np.stack([film.frames for film in truth.again]),
        map=int(episode.provenance["seed"]),
    )
    with whole_file(path, ".npz") as aside:
        np.savez_compressed(aside, map=np.int64(out.map), **{name: getattr(out, name) for name in _ARRAYS})
    return out


def dream_branches(world: WorldModel, start: Branches, frames: int, seed: int) -> Frames:
    """The same branches in the world (K, F, H, W, 3), all with the same noise."""
    count = len(SCRIPTS)
    poses = None if start.poses is None else start.poses[None]
    state = world.prefill(start.past[None], start.actions[None], [seed], poses=poses).select([0] * count)
    future = scripts(world.spec, frames).reshape(count, -1, world.chunk, world.spec.size)
    made = rollout(world, state, future)
    return made.reshape(count, frames, *made.shape[3:])


def retrieval(made: Frames, engine: Frames) -> NDArray[np.float64]:
    """For each of the first branches i (k,) whether the nearest engine branch (of K) to M_i is E_i (chance: 1 / K)."""
    return (distances(made, engine).argmin(1) == np.arange(len(made))).astype(float)


def rank_agreement(made: Frames, engine: Frames) -> float:
    """Spearman's correlation of the pairwise distances of M's and of E's branches."""
    from scipy.stats import spearmanr

    upper = np.triu_indices(len(made), 1)
    own, true = distances(made, made)[upper], distances(engine, engine)[upper]
    # Branches that do not part at all agree with nothing.
    if np.ptp(own) == 0 or np.ptp(true) == 0:
        return 0.0
    found = spearmanr(own, true)
    return float(np.asarray(found)[0])


def branch_report(starts: Sequence[Branches], made: Sequence[Frames], chunk: int, seed: int = 0) -> dict[str, Any]:
    """Retrieval, effect ratio and rank agreement at the end of the branches and along them; and the engine's floor."""
    maps = np.array([s.map for s in starts])
    frames = starts[0].engine.shape[1]
    at = list(range(chunk - 1, frames, chunk))
    hits = np.array(
        [[retrieval(m[:, t], s.engine[:, t]).mean() for t in at] for s, m in zip(starts, made, strict=True)]
    )
    effect = np.array([[effect_ratio(m[:, t], s.engine[:, t]) for t in at] for s, m in zip(starts, made, strict=True)])
    agree = np.array([rank_agreement(m[:, -1], s.engine[:, -1]) for s, m in zip(starts, made, strict=True)])
    # The engine against itself: the branches that were played twice, looked for among all of the first round.
    floor = [retrieval(s.again[:, -1], s.engine[:, -1]).mean() if len(s.again) else np.nan for s in starts]
    noise = [np.diag(distances(s.again[:, -1], s.engine[: len(s.again), -1])).mean() if len(s.again) else np.nan
             for s in starts]  # fmt: skip
    still = np.array([retrieval(np.repeat(s.past[-1:], len(s.engine), 0), s.engine[:, -1]).mean() for s in starts])
    return {
        "starts": len(starts),
        "branches": [name for name, _ in SCRIPTS],
        "chance": 1 / len(SCRIPTS),
        "frames": frames,
        "retrieval": estimate_by_start(hits[:, -1], maps, seed),
        "retrieval_by_chunk": hits.mean(0).round(4).tolist(),
        "retrieval_of_last_frame": estimate(still, maps, seed=seed),
        "retrieval_engine": estimate(floor, maps, seed=seed),
        "effect_ratio": estimate_by_start(effect[:, -1], maps, seed),
        "effect_ratio_by_chunk": effect.mean(0).round(4).tolist(),
        "rank_agreement": estimate_by_start(agree, maps, seed),
        "engine_repeats_itself_to": estimate(noise, maps, seed=seed),
        "per_start": {"retrieval": hits[:, -1].round(4).tolist(), "effect_ratio": effect[:, -1].round(4).tolist()},
    }


_ARRAYS = ("past", "actions", "engine", "again", "poses")


def _read(path: Path) -> Branches | None:
    if not path.is_file():
        return None
    try:
        with reading(path, "branches of an engine"), np.load(path, allow_pickle=False) as kept:
            return Branches(map=int(kept["map"]), **{name: kept[name] for name in _ARRAYS})
    except (OSError, ValueError):
        # Written by a run that was cut off, or damaged: played again.
        return None


class CounterfactualBranches(EvaluationPart):
    """Counterfactual branches against the engine's own."""

    name = "branches"
    settings, goals = Settings, Goals
    overlays = (
        Overlay(title="Counterfactual retrieval by chunk", where=("retrieval_by_chunk",), unit="share"),
        Overlay(title="Effect ratio of branches by chunk", where=("effect_ratio_by_chunk",), unit="ratio"),
    )
    headlines = ("counterfactual retrieval", "effect ratio")

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Play or read the engine's branches, and dream the same ones."""
        p = Settings.of(e.preset)
        places = branch_starts(e.store, e.split, p.branch_starts, p.prefix, e.seed)
        if not places:
            return {"skipped": f"no {e.split} episode of Luanti in {e.store.url} tells how to begin it again"}, {}
        frames, starts, refused = p.branch_chunks * e.world.chunk, [], []
        for i, place in enumerate(places):
            try:
                starts.append(engine_truth(e.store, place, e.branches, p.prefix, frames))
            except (UserError, FileNotFoundError, ModuleNotFoundError, RuntimeError) as error:
                refused.append(f"{place[0]}: {error}")
            e.progress("engine", i + 1, len(places))
        if not starts:
            return {"skipped": f"the engine gave no branch: {refused[0]}"}, {}
        made = [dream_branches(e.world, start, frames, e.seed + i) for i, start in enumerate(starts)]
        film = np.stack([np.concatenate([s.engine[:, -1], m[:, -1]]) for s, m in zip(starts, made, strict=True)])
        return branch_report(starts, made, e.world.chunk, e.seed) | {"refused": refused}, {"branches": film}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """How well branches are told apart, and how far they part."""
        beside = f"chance {number(found['chance'], '%')}, engine {number(found['retrieval_engine']['value'], '%')}"
        name = f"counterfactual retrieval of {len(found['branches'])}"
        yield line(name, found["retrieval"], "%", at_least(goals.retrieval, "%"), beside)
        yield line("effect ratio", found["effect_ratio"], "", between(*goals.effect))
        yield line("rank agreement of branches", found["rank_agreement"])

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Both by chunk."""
        curves = {
            "retrieval": plain(found["retrieval_by_chunk"]),
            "effect ratio": plain(found["effect_ratio_by_chunk"]),
        }
        ends = (1, len(found["retrieval_by_chunk"]))
        yield Chart(
            title="Counterfactual retrieval and effect ratio by chunk", curves=curves, ends=ends, unit="share; ratio"
        )

    def sections(self, found: Results, films: Films) -> Iterator[Section]:
        """The ends of all branches."""
        if "branches" in films:
            names = ", ".join(found["branches"])
            words = f"Above: where the engine gets to from one past. Below: where the world gets to. {names}"
            pictures = [Picture(frames=row, caption="", columns=len(row) // 2) for row in films["branches"]]
            yield Section(title="Counterfactual branches", words=words, pictures=pictures)
