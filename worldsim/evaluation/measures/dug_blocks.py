"""Blocks that were dug before a dream: whether they stay dug. The part ``memory`` reports it.

B digs, H W pixels.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import Clips, draw_evenly, map_of, read_clips
from worldsim.evaluation.measures.metrics import grey
from worldsim.evaluation.measures.rollouts import all_held, look_away
from worldsim.evaluation.measures.starts import estimate_by_start
from worldsim.evaluation.measures.statistics import estimate
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
# The picture change of a dug block: brightness, and its least area in pixels.
DUG_GREY, DUG_AREA = 20.0, 40


@dataclass(frozen=True, kw_only=True)
class DigEvents:
    """Pasts (B) that end just after a block was dug, and the last picture before it was (B, H, W, 3)."""

    clips: Clips
    before: Frames


def find_dig_events(
    store: EpisodeStore, splits: Sequence[Split], prefix: int, most: int, seed: int = 0
) -> DigEvents | None:
    """At most ``most`` digs whose digger stood still and whose block can be seen to vanish; None where there are none.

    Drawn with the seed, as many of each map as of any other.
    """
    by_map: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name in (name for split in splits for name in store.names(split)):
        episode = store.read(name, depth=False)
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
    return DigEvents(clips=clips, before=np.concatenate([store.read(name, f - 3, f - 2).frames for name, f in drawn]))


def dug_patch(before: Frames, after: Frames) -> NDArray[np.bool_]:
    """Pixels (h, W) of pictures (H, W, 3) that a dug block changed; thin cracks and the hand's edge do not count."""
    return np.abs(gaussian_filter(grey(after) - grey(before), 1.5)) > DUG_GREY


def persistence(
    shown: Frames, before: Frames, after: Frames, patch: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """How much of a changed block's change is in a picture: 1 as after it, 0 as if it had never happened.

    Above a half, the picture is nearer to the one after the change than to the one before it.

    Args:
        shown: the picture (H, W, 3).
        before, after: the view without and with the change.
        patch: pixels (h, W) that the change touched; default: ``dug_patch`` of the two.

    Returns:
        That share, and the size of all else that differs in the patch, in units of the change: from 1 on the view
        itself is lost, and the share says nothing.
    """
    patch = dug_patch(before, after) if patch is None else patch
    rows = patch.shape[0]
    a, b, x = (f[:rows][patch].astype(np.float64) for f in (before, after, shown))
    size = max(1e-9, float(((b - a) ** 2).sum()))
    share = float(((x - a) * (b - a)).sum()) / size
    rest = float(((x - a - share * (b - a)) ** 2).sum()) / size
    return share, float(np.sqrt(rest))


def dig_report(
    world: WorldModel, digs: DigEvents, prefix: int, gap: int, threshold: float, rows: int = 8, seed: int = 0
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
