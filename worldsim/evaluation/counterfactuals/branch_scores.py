"""How well one tree's branches agree with the engine's: the same past, the same actions, both frame by frame.

B branches, F video frames, K chunks, r frames per chunk, H W pixels. Pictures are compared in colour, by which many
games tell things apart; ``eval_branches`` has the statistics over many starts, in brightness alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.task_facts import FactsFollower, points_facts
from worldsim.envs.learned.tasks import GOAL, FactRewardFunction
from worldsim.envs.luanti.engine_env import relative_pose
from worldsim.evaluation.counterfactuals.engine_branches import Truth
from worldsim.evaluation.counterfactuals.engine_replays import Film
from worldsim.evaluation.measures.metrics import psnr
from worldsim.simulation.branching import Tree

Frames = NDArray[np.uint8]


def score_branches(tree: Tree, truth: Truth, chunk: int, *, task: str | None = None, fps: float = 20) -> dict[str, Any]:
    """Scores of a tree against the engine's films of the same actions.

    Per branch: ``psnr`` (dB, mean over frames, ``psnr_last`` of the last), ``repeat`` (the same for the last picture of
    the past held), ``found`` (whether the engine's branch nearest to its last picture is its own; branches that the
    engine shows alike count as found), ``metres`` and ``degrees`` (of the estimated pose at the end, where the engine
    tells poses), ``drift`` (metres between where the engine's pasts ended), ``engine_reward``.

    In all: ``retrieval`` (share of branches found, beside ``chance``), ``effect_ratio`` (how far the dream's branches
    part over how far the engine's do: 0 means that actions are ignored, above 1 overshoot), ``effect_agreement``
    (cosine between the differences of pictures of each pair of branches), and ``floor``: the branches that the engine
    played twice against themselves.

    Args:
        tree: dreamed.
        truth: played; frames as many as the tree's.
        chunk: frames per step, r.
        task: what the engine's play is rewarded for; default: see ``engine_reward``.
        fps: frames a second.
    """
    dreamed = np.stack([branch.frames for branch in tree.branches])
    played = np.stack([film.frames for film in truth.branches])
    still = np.broadcast_to(truth.past.frames[-1], played.shape)
    quality, held = psnr(dreamed, played), psnr(still, played)
    near = distances(dreamed[:, -1], played[:, -1])
    apart = distances(played[:, -1], played[:, -1])
    branches = []
    for b, (branch, film) in enumerate(zip(tree.branches, truth.branches, strict=True)):
        nearest = int(near[b].argmin())
        one: dict[str, Any] = {
            "psnr": _round(quality[b].mean()),
            "psnr_last": _round(quality[b, -1]),
            "repeat": _round(held[b].mean()),
            "found": nearest == b or bool(apart[nearest, b] == 0.0),
            "drift": _round(truth.drift[b]),
        }
        if (pose := pose_from(truth.past, film)) is not None:
            one["metres"] = _round(np.linalg.norm(branch.pose[-1, :3] - pose[-1, :3]))
            one["degrees"] = _round(np.abs((branch.pose[-1, 3:] - pose[-1, 3:] + 180) % 360 - 180).max())
            one["engine_pose"] = [_round(value) for value in pose[-1]]
        one["engine_reward"] = engine_reward(truth.past, film, chunk, task=task, fps=fps)
        branches.append(one)
    ends = range(chunk - 1, dreamed.shape[1], chunk)
    return {
        "psnr": _round(quality.mean()),
        "repeat": _round(held.mean()),
        "retrieval": _round(np.mean([one["found"] for one in branches])),
        "chance": _round(1 / len(branches)),
        "effect_ratio": _or_none(effect_ratio(dreamed[:, -1], played[:, -1])),
        "effect_ratio_by_chunk": [_or_none(effect_ratio(dreamed[:, t], played[:, t])) for t in ends],
        "effect_agreement": _or_none(effect_agreement(dreamed[:, -1], played[:, -1])),
        "psnr_by_frame": [_round(value) for value in quality.mean(0)],
        "floor": _floor(truth),
        "branches": branches,
    }


def engine_reward(past: Film, film: Film, chunk: int, *, task: str | None, fps: float) -> float | None:
    """What a film earned after its past, up to its end, judged by what the engine told of each frame.

    Without a task, metres explored; or the engine's own rewards where it tells no positions. Such an engine knows
    nothing else but points: a task that is a function is judged with poses of 0, and for all others, as for text goals
    anywhere, the answer is None.
    """
    if task is not None and task.startswith(GOAL):
        return None
    pose = pose_from(past, film)
    follower = None if pose is None or not past.infos else FactsFollower(past.infos[-1])
    if follower is None and (task is None or ":" not in task):
        return _round(film.rewards.sum(dtype=np.float64)) if task in (None, "points") else None
    poses = np.zeros((len(film.frames), 5), np.float32) if pose is None else pose
    fact_rewards, earned = FactRewardFunction(task or "explore", chunk / fps), 0.0
    before = points_facts(np.zeros(chunk, np.float32)) if follower is None else follower.facts
    for at in range(0, len(film.frames) if film.ended is None else film.ended, chunk):
        part = slice(at, at + chunk)
        after = points_facts(film.rewards[part]) if follower is None else follower.advance(film.infos[part])
        rewards, ends = fact_rewards.judge(
            before, after, film.frames[None, part], film.actions[None, part], poses[None, part][:, -1]
        )
        earned += float(rewards[0])
        if ends[0]:
            break
        before = after
    return _round(earned)


def pose_from(past: Film, film: Film) -> NDArray[np.float32] | None:
    """A film's poses (F, 5) as seen from the end of the past, as learned worlds tell theirs; None without poses."""
    if past.pose is None or film.pose is None:
        return None
    start = _told(past.pose[-1])
    return np.stack([relative_pose(start, _told(pose)) for pose in film.pose])


def _told(pose: NDArray[np.float64]) -> dict[str, Any]:
    return {"position": pose[:3], "yaw": pose[3], "pitch": pose[4]}


def distances(a: Frames, b: Frames) -> NDArray[np.float64]:
    """Root mean square difference (Ka, Kb) between pictures (Ka, H, W, 3) and (Kb, H, W, 3), of 255."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return np.array([[np.sqrt(np.square(p - q).mean()) for q in y] for p in x])


def effect_ratio(made: Frames, engine: Frames) -> float:
    """How far pictures (B, H, W, 3) of M's branches part, over how far E's do; not a number where E's are all alike."""
    pairs = np.triu_indices(len(made), 1)
    apart = distances(engine, engine)[pairs]
    return float(distances(made, made)[pairs].mean() / apart.mean()) if len(apart) and apart.any() else float("nan")


def effect_agreement(made: Frames, engine: Frames) -> float:
    """Mean cosine between the difference of two of M's pictures and that of E's, over the pairs whose E's differ."""
    x, y = made.astype(np.float64), engine.astype(np.float64)
    found = []
    for i, k in zip(*np.triu_indices(len(made), 1), strict=True):
        m, e = (x[i] - x[k]).ravel(), (y[i] - y[k]).ravel()
        if e.any():
            found.append(float(m @ e / max(np.linalg.norm(m) * np.linalg.norm(e), 1e-9)))
    return float(np.mean(found)) if found else float("nan")


def _floor(truth: Truth) -> dict[str, Any] | None:
    """The engine against itself."""
    if not truth.again:
        return None
    pairs: Sequence[tuple[Film, Film]] = list(zip(truth.branches, truth.again, strict=False))
    found: dict[str, Any] = {
        "branches": len(pairs),
        "psnr": _round(np.mean([psnr(a.frames, b.frames).mean() for a, b in pairs])),
    }
    if all(a.pose is not None and b.pose is not None for a, b in pairs):
        found["metres"] = _round(max(np.linalg.norm(a.pose[-1, :3] - b.pose[-1, :3]) for a, b in pairs))  # pyright: ignore[reportOptionalSubscript]
    return found


def _round(value: Any) -> float:
    return round(float(value), 4)


def _or_none(value: float) -> float | None:
    return _round(value) if np.isfinite(value) else None
