"""What a world remembers: a view that was looked away from, a block that was dug.

B starts, K chunks, r frames per chunk, H W pixels.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from worldsim.agents.eval_clips import Clips, draw_evenly, map_of, read_clips
from worldsim.agents.eval_rollouts import all_held
from worldsim.agents.eval_starts import by_start, estimate_by_start
from worldsim.agents.eval_statistics import estimate
from worldsim.agents.measures import grey, psnr, texture
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
# How far away one looks, and how fast at most (degrees, degrees a frame).
AWAY, FASTEST = 72.0, 18.0
# The picture change of a dug block: brightness, and its least area in pixels.
DUG_GREY, DUG_AREA = 20.0, 40


def likeness(a: Frames, b: Frames) -> NDArray[np.float64]:
    """Correlation (B,) of the local texture of pictures (B, H, W, 3): 1 for one view, about 0 for two."""
    out = []
    for x, y in zip(a, b, strict=True):
        p, q = texture(x), texture(y)
        out.append(float((p * q).mean() / np.sqrt((p * p).mean() * (q * q).mean() + 1e-12)))
    return np.array(out)


def look_away(world: WorldModel, gap: int) -> dict[str, NDArray[np.float32]]:
    """Actions (K, r, A) that look away and come back after ``gap`` chunks, and their controls of equal length.

    ``return``: turn right by up to 72 degrees, wait, turn left as far; ``away``: turn right twice as far (another view
    after the same time); ``stay``: do nothing. Each ends with a chunk of nothing.
    """
    r = world.chunk
    half = max(1, gap // 2)
    frames = half * r
    turning = min(frames, max(4, round(AWAY / 8)))
    rate = min(FASTEST, AWAY / turning)
    out = np.zeros((2 * frames, world.spec.size), np.float32)
    out[:turning, -1] = rate
    back, on = out.copy(), out.copy()
    back[frames : frames + turning, -1], on[frames : frames + turning, -1] = -rate, rate
    rest = np.zeros((r, world.spec.size), np.float32)
    branches = {"return": back, "away": on, "stay": np.zeros_like(out)}
    return {k: np.concatenate([v, rest]).reshape(-1, r, world.spec.size) for k, v in branches.items()}


def memory_scores(
    world: WorldModel, clips: Clips, prefix: int, gaps: Sequence[int], rows: int = 8,
    progress: Progress = lambda *_: None,
) -> tuple[dict[int, dict[str, NDArray]], dict[int, Frames]]:  # fmt: skip
    """Per gap and branch: likeness and PSNR (B,) of the last frame to the last one of the past; films of returns."""
    scores: dict[int, dict[str, NDArray]] = {}
    films: dict[int, Frames] = {}
    first = clips.frames[:, prefix - 1]
    for done, gap in enumerate(gaps):
        scores[gap] = {}
        for name, made in all_held(world, clips, prefix, look_away(world, gap), rows).items():
            last = made[:, -1, -1]
            scores[gap][name] = likeness(last, first)
            scores[gap][f"psnr {name}"] = psnr(last, first)
            if name == "return":
                picked = np.linspace(0, made.shape[1] - 1, 7).astype(int)
                films[gap] = np.concatenate([first[:, None], made[:, picked, -1]], 1)
        progress("look away", done + 1, len(gaps))
    return scores, films


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
    scores: dict[int, dict[str, NDArray]], recorded: dict[str, Any], maps: NDArray, seed: int = 0
) -> dict[str, Any]:
    """Likeness after looking away, by gap in chunks, beside not looking away, another view, and recorded revisits."""
    gaps = {
        str(gap): {name: estimate(values, maps, seed=seed) for name, values in found.items()}
        | {"recall": mean_recall(found, maps, seed), "per_start": recall(found).round(4).tolist()}
        for gap, found in scores.items()
    }
    return {"starts": len(maps), "gaps": gaps, "recorded": recorded}


def recorded_revisits(store: EpisodeStore, splits: Sequence[Split], most: int = 60, seed: int = 0) -> dict[str, Any]:
    """The same likeness in recorded play: of views that were looked away from and back at, and of views that were not.

    Pairs of frames 1 to 8 seconds apart in which the player stands at one place, looks 50 degrees or more away between
    them, and (revisit) looks the same way again or (other) does not. At most ``most`` of each, drawn with the seed.
    """
    found: dict[str, dict[int, list[tuple[str, int, int]]]] = {"revisit": defaultdict(list), "other": defaultdict(list)}
    for name in (name for split in splits for name in store.names(split)):
        for kind, pairs in revisits(store.read(name)).items():
            found[kind][map_of(store, name)] += [(name, a, b) for a, b in pairs]
    out = {}
    for kind, by_map in found.items():
        drawn = draw_evenly(by_map, most, seed)
        seen = [[store.read(name, t, t + 1).frames for t in (b, a)] for name, a, b in drawn]
        alike = [float(likeness(*pair)[0]) for pair in seen]
        out[kind] = estimate(alike, [map_of(store, name) for name, _, _ in drawn], seed=seed)
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


@dataclass(frozen=True, kw_only=True)
class Digs:
    """Pasts (B) that end just after a block was dug, and the last picture before it was (B, H, W, 3)."""

    clips: Clips
    before: Frames


def find_digs(store: EpisodeStore, splits: Sequence[Split], prefix: int, most: int, seed: int = 0) -> Digs | None:
    """At most ``most`` digs whose digger stood still and whose block can be seen to vanish; None where there are none.

    Drawn with the seed, as many of each map as of any other.
    """
    by_map: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name in (name for split in splits for name in store.names(split)):
        episode = store.read(name)
        for event in episode.events:
            f = int(event["frame"])
            if event["kind"] != "dig" or not prefix <= f + 4 < len(episode) or not _stood(episode, f - 3, f + 3):
                continue
            if dug_patch(episode.frames[f - 3], episode.frames[f + 3]).sum() >= DUG_AREA:
                by_map[map_of(store, name)].append((name, f))
    drawn = draw_evenly(by_map, most, seed)
    if not drawn:
        return None
    clips = read_clips(store, [(name, f + 4 - prefix) for name, f in drawn], prefix)
    return Digs(clips=clips, before=np.concatenate([store.read(name, f - 3, f - 2).frames for name, f in drawn]))


def dug_patch(before: Frames, after: Frames) -> NDArray[np.bool_]:
    """Pixels (h, W) of pictures (H, W, 3) that a dug block changed; thin cracks and the hand's edge do not count."""
    return np.abs(gaussian_filter(grey(after) - grey(before), 1.5)) > DUG_GREY


def persistence(shown: Frames, before: Frames, after: Frames) -> tuple[float, float]:
    """How much of a dug block's change is in a picture: 1 as after the dig, 0 as if it had never been dug.

    Returns:
        That share, and the size of all else that differs in the patch, in units of the change: from 1 on the view
        itself is lost, and the share says nothing.
    """
    patch = dug_patch(before, after)
    rows = patch.shape[0]
    a, b, x = (f[:rows][patch].astype(np.float64) for f in (before, after, shown))
    size = max(1e-9, float(((b - a) ** 2).sum()))
    share = float(((x - a) * (b - a)).sum()) / size
    rest = float(((x - a - share * (b - a)) ** 2).sum()) / size
    return share, float(np.sqrt(rest))


def dig_report(
    world: WorldModel, digs: Digs, prefix: int, gap: int, threshold: float, rows: int = 8, seed: int = 0
) -> tuple[dict[str, Any], Frames]:
    """Whether a block that was dug before the dream stays dug: after looking away, and without.

    Where the view itself is lost, a block does not stay dug.
    """
    after = digs.clips.frames[:, prefix - 1]
    out: dict[str, Any] = {"digs": len(after), "gap_chunks": gap}
    film = after[:, None]
    branches = {name: branch for name, branch in look_away(world, gap).items() if name != "away"}
    for name, made in all_held(world, digs.clips, prefix, branches, rows).items():
        last = made[:, -1, -1]
        found = [persistence(x, a, b) for x, a, b in zip(last, digs.before, after, strict=True)]
        values, rest = np.array(found).T
        seen = np.where(rest < 1, values, np.nan)
        out[name] = estimate(np.clip(seen, -1, 2), digs.clips.maps, seed=seed)
        stays = seen > threshold
        out[f"{name}_stays_dug"] = estimate_by_start(stays, digs.clips.maps, seed)
        out[f"{name}_view_lost"] = estimate(rest >= 1, digs.clips.maps, seed=seed)
        out[f"per_start_{name}"] = seen.round(4).tolist()
        if name == "return":
            picked = np.linspace(0, made.shape[1] - 1, 6).astype(int)
            film = np.concatenate([digs.before[:, None], after[:, None], made[:, picked, -1]], 1)
    return out, film


def _stood(episode: Episode, first: int, last: int) -> bool:
    if not {"position", "yaw", "pitch"} <= set(episode.state) or first < 0 or last >= len(episode):
        return False
    state = episode.state
    moved = np.linalg.norm(state["position"][last] - state["position"][first])
    turned = max(abs(float(state[k][last]) - float(state[k][first])) for k in ("yaw", "pitch"))
    return bool(moved < 0.03 and turned < 0.5)
