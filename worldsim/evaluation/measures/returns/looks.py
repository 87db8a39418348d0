"""Looking away and back: what is left of the view, beside not looking away and another view, and in recorded play.

B starts, K chunks, r frames per chunk, H W pixels.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import Clips, draw_evenly, map_of
from worldsim.evaluation.measures.judged import Mask, judged_in_recordings, judged_psnr
from worldsim.evaluation.measures.metrics import psnr, texture
from worldsim.evaluation.measures.rollouts import AWAY, kept_frames, look_away
from worldsim.evaluation.measures.starts import by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Progress
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
# The key of a full turn among looks, which have their chunks.
FULL_TURN = "full turn"


def likeness(a: Frames, b: Frames) -> NDArray[np.float64]:
    """Correlation (B,) of the local texture of pictures (B, H, W, 3): 1 for one view, about 0 for two."""
    out = []
    for x, y in zip(a, b, strict=True):
        p, q = texture(x), texture(y)
        out.append(float((p * q).mean() / np.sqrt((p * p).mean() * (q * q).mean() + 1e-12)))
    return np.array(out)


def memory_scores(
    world: WorldModel, clips: Clips, prefix: int, gaps: Sequence[int], rows: int = 8,
    progress: Progress = lambda *_: None, *, degrees: float = AWAY, turn: int = 0, judged: Mask | None = None,
) -> tuple[dict[int | str, dict[str, NDArray]], dict[int | str, Frames]]:  # fmt: skip
    """Per gap and branch: likeness and PSNR (B,) of the last frame to the last one of the past; films of returns.

    Args:
        world: dreams.
        clips: the pasts.
        prefix: frames of a past.
        gaps: chunks between looking away and being back.
        rows: side by side.
        progress: told of each look.
        degrees: how far away one looks.
        turn: chunks of a turn of 360 degrees, which is measured too (``FULL_TURN``); 0: it is not.
        judged: pixels (B, H, W) over which PSNR goes; all by default.
    """
    ways: dict[int | str, NDArray[np.float32]] = {gap: look_away(world, gap, degrees)["return"] for gap in gaps}
    if turn:
        ways[FULL_TURN] = full_turn(world, turn)
    first, r = clips.frames[:, prefix - 1], world.chunk

    def dreamt(actions: NDArray[np.float32], chunks: Sequence[int]) -> Frames:
        flat = actions.reshape(1, -1, actions.shape[-1]).repeat(len(clips), 0)
        kept = np.tile(np.array(chunks, np.int64) * r, (len(clips), 1))
        return kept_frames(world, clips, prefix, flat, kept, rows)

    # Another view, and the same one without looking away: seen once, after as long as each look takes.
    lengths = [len(way) for way in ways.values()]
    beside = {
        name: dreamt(branch, lengths)
        for name, branch in look_away(world, min(gaps), degrees).items()
        if name != "return"
    }
    scores: dict[int | str, dict[str, NDArray]] = {}
    films: dict[int | str, Frames] = {}
    for done, (key, way) in enumerate(ways.items()):
        picked = np.linspace(1, len(way), 7).astype(int)
        film = dreamt(way, picked.tolist())
        scores[key] = {}
        for name, last in {"return": film[:, -1], **{name: made[:, done] for name, made in beside.items()}}.items():
            scores[key][name] = likeness(last, first)
            scores[key][f"psnr {name}"] = psnr(last, first) if judged is None else judged_psnr(last, first, judged)
        films[key] = np.concatenate([first[:, None], film], 1)
        progress("look away", done + 1, len(ways))
    return scores, films


def full_turn(world: WorldModel, chunks: int) -> NDArray[np.float32]:
    """Actions (K, r, A) of a turn of 360 degrees to the right, and a chunk of nothing."""
    out = np.tile(world.spec.idle(), ((chunks + 1) * world.chunk, 1))
    out[: chunks * world.chunk, -1] = 360 / (chunks * world.chunk)
    return out.reshape(-1, world.chunk, world.spec.size)


def recall(scores: dict[str, NDArray]) -> NDArray[np.float64]:
    """Share (B,) of what is remembered without looking away, over what another view has by chance: 1 all, 0 nothing.

    Below 0 and above 1 too, by chance: cut off there, the mean of a world that remembers nothing would lie above 0. NaN
    where even staying forgets.
    """
    span = scores["stay"] - scores["away"]
    return np.where(span > 0.1, (scores["return"] - scores["away"]) / np.maximum(span, 0.1), np.nan)


def mean_recall(scores: dict[str, NDArray], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Recall of the mean likenesses, with its interval: single starts divide by a likeness that is itself uncertain."""

    def statistic(rows: NDArray[np.int64]) -> float:
        return float(recall({name: values[rows].mean(keepdims=True) for name, values in scores.items()})[0])

    found = estimate(scores["return"], maps, seed=seed, statistic=statistic)
    return found | by_start(scores["return"] - scores["away"], maps, scores["stay"] - scores["away"])


def memory_report(
    scores: Mapping[Any, dict[str, NDArray]], recorded: dict[str, Any], maps: NDArray, seed: int = 0
) -> dict[str, Any]:
    """Likeness after looking away, by gap in chunks, beside not looking away, another view, and recorded revisits."""
    gaps = {
        str(gap): {name: estimate(values, maps, seed=seed) for name, values in found.items()}
        | {"recall": mean_recall(found, maps, seed), "per_start": recall(found).round(4).tolist()}
        for gap, found in scores.items()
    }
    return {"starts": len(maps), "gaps": gaps, "recorded": recorded}


def recorded_revisits(store: EpisodeStore, splits: Sequence[Split], most: int = 60, seed: int = 0) -> dict[str, Any]:
    """The same likeness and PSNR in recorded play: of views looked away from and back at, and of others.

    Pairs of frames 1 to 8 seconds apart in which the player stands at one place, looks 50 degrees or more away between
    them, and (revisit) looks the same way again or (other) does not. At most ``most`` of each, drawn with the seed.
    """
    found: dict[str, dict[int, list[tuple[str, int, int]]]] = {"revisit": defaultdict(list), "other": defaultdict(list)}
    for name in (name for split in splits for name in store.names(split)):
        for kind, pairs in revisits(store.read(name, depth=False)).items():
            found[kind][map_of(store, name)] += [(name, a, b) for a, b in pairs]
    out = {}
    for kind, by_map in found.items():
        drawn = draw_evenly(by_map, most, seed)
        seen = [[store.read(name, t, t + 1, depth=False).frames for t in (b, a)] for name, a, b in drawn]
        judged = [
            judged_in_recordings(store, [(name, a)], pair[1]) for (name, a, _), pair in zip(drawn, seen, strict=True)
        ]
        alike = [float(likeness(*pair)[0]) for pair in seen]
        near = [float(judged_psnr(pair[0], pair[1], mask)[0]) for pair, mask in zip(seen, judged, strict=True)]
        maps = [map_of(store, name) for name, _, _ in drawn]
        out |= {kind: estimate(alike, maps, seed=seed), f"psnr {kind}": estimate(near, maps, seed=seed)}
    return out


def revisits(episode: Episode) -> dict[str, list[tuple[int, int]]]:
    """Pairs of frames of one place between which the player looked away: ``revisit`` the same view, ``other`` not."""
    out: dict[str, list[tuple[int, int]]] = {"revisit": [], "other": []}
    if not {"position", "yaw", "pitch"} <= set(episode.state):
        return out
    place, yaw, pitch = (np.asarray(episode.state[k], np.float64) for k in ("position", "yaw", "pitch"))
    for a in range(0, len(episode) - 20, 6):
        away = np.abs((yaw[a : a + 160] - yaw[a] + 180) % 360 - 180)
        there = np.linalg.norm(place[a : a + 160] - place[a], axis=1).cumsum() < 0.05
        looked = np.maximum.accumulate(away) > 50
        steady = there & looked & (np.abs(pitch[a : a + 160] - pitch[a]) < 1) & (np.arange(len(away)) >= 20)
        for kind, wanted in (("revisit", away < 0.7), ("other", away > 50)):
            hits = np.flatnonzero(steady & wanted)
            if len(hits):
                out[kind].append((a, a + int(hits[0])))
    return out
