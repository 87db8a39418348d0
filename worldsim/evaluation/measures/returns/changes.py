"""Blocks that were dug or placed, looked away from and looked at again, as recorded: is the change still there?

B changes, F frames, H W pixels.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.datasets.checks.reprojection import poses_of, reproject
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import draw_evenly, map_of
from worldsim.evaluation.measures.dug_blocks import dug_patch, persistence
from worldsim.evaluation.measures.metrics import CROSSHAIR
from worldsim.evaluation.measures.returns.stretches import (
    LOOK,
    Stretch,
    returns_in,
    scripted_episodes,
    spans,
    standing_still,
)
from worldsim.simulation.memory.camera import Intrinsics, to_camera
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import Camera, camera_for

Frames = NDArray[np.uint8]
SCRIPT = "alter"
KINDS: Mapping[str, str] = {"dig": "dug", "place": "placed"}
TOOL_KEYS = ("attack", "use")
# Who moved by more than this (metres) sees the block from elsewhere: the picture before cannot be laid over it.
SAME_EYE = 0.05
# Pixels around a block that belong to its change: shadows, and what its edges covered.
MARGIN = 2
# Least pixels of a change: the frame that the game draws around a block in reach is no change.
LEAST_AREA = 100


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change that was looked away from.

    Attributes:
        stretch: from looking away to being back.
        kind: dug or placed.
        before: the view on return as it was without the change (H, W, 3).
        patch: pixels (h, W) that the change touched.
    """

    stretch: Stretch
    kind: str
    before: Frames
    patch: NDArray[np.bool_]


def find_changes(store: EpisodeStore, splits: Sequence[Split], prefix: int, most: int, seed: int = 0) -> list[Change]:
    """At most ``most`` recorded changes that can be seen on return; by map in turn, sorted by length."""
    by_map: dict[int, list[tuple[Stretch, int]]] = defaultdict(list)
    found: list[Change] = []
    for name, episode in scripted_episodes(store, splits, (SCRIPT,)):
        for change in changes_in(episode, name, prefix):
            by_map[map_of(store, name)].append((change.stretch, len(found)))
            found.append(change)
    drawn = [found[number] for _, number in draw_evenly(by_map, most, seed)]
    return sorted(drawn, key=lambda change: (len(change.stretch), change.stretch))


def changes_in(episode: Episode, name: str, prefix: int) -> Iterator[Change]:
    """The changes of an episode that were looked away from and can be seen on return."""
    poses = poses_of(episode.state)
    assert poses is not None
    told = episode.provenance.get("camera")
    camera = camera_for(MINECRAFT) if told is None else Camera.from_json(told)
    assert camera is not None
    keys = [MINECRAFT.keys.index(key) for key in TOOL_KEYS]
    pressed = np.any(episode.actions[:, keys] > 0.5, axis=1)
    for span in spans(episode, SCRIPT):
        since = span[0]
        for stretch in returns_in(episode, name, span, LOOK, prefix):
            events = [v for v in episode.events if v["kind"] in KINDS and since <= int(v["frame"]) <= stretch.leaves]
            touched = np.flatnonzero(pressed[since : stretch.leaves]) + since
            since = stretch.back
            # Before the first stroke, since cracks show before a block is gone.
            if not events or not len(touched) or int(touched[0]) > int(events[0]["frame"]):
                continue
            t = int(touched[0])
            if standing_still(episode, (t, stretch.leaves, stretch.back)).max() > SAME_EYE:
                continue
            after = episode.frames[stretch.back]
            before = turned_to(episode.frames[t], poses[t], poses[stretch.back], after, camera)
            nodes = [v["position"] for v in events if "position" in v]
            patch = dug_patch(before, after)
            patch &= around(nodes, poses[stretch.back], after.shape[:2], camera)[: len(patch)]
            patch &= ~crosshair(after.shape[:2])[: len(patch)]
            if patch.sum() >= LEAST_AREA:
                yield Change(stretch=stretch, kind=KINDS[events[-1]["kind"]], before=before, patch=patch)


def turned_to(
    frame: Frames, pose: NDArray[np.float64], target: NDArray[np.float64], fill: Frames, camera: Camera
) -> Frames:
    """A picture (H, W, 3) as it is seen when the head turns from one pose (5,) to another; ``fill`` where it ends.

    Whoever only turns sees every point at the same distance, so that no depth is needed.
    """
    nowhere_near = np.zeros(frame.shape[:2], np.uint16)
    picture, seen = reproject(frame, nowhere_near, pose, target, camera)
    out = fill.copy()
    out[: len(picture)][seen] = picture[seen].round().astype(np.uint8)
    return out


def around(
    nodes: Sequence[Sequence[int]], pose: NDArray[np.float64], size: tuple[int, int], camera: Camera
) -> NDArray[np.bool_]:
    """Pixels (H, W) at which blocks lie, seen from a pose; all of them where no place of a block is told.

    A block is one metre wide around whole coordinates.
    """
    out = np.zeros(size, bool)
    lens = Intrinsics.of(camera, *size)
    corners = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for node in nodes:
        points = torch.as_tensor(np.asarray(node, np.float64) + corners)
        seen = to_camera(points, torch.as_tensor(pose).expand(8, 5), camera.eye_height)
        if float(seen[:, 2].min()) < camera.near:
            # It reaches behind the eye: it may be anywhere.
            return np.ones(size, bool)
        u, v, _ = lens.project(seen)
        top, left = (max(0, int(x.min()) - MARGIN) for x in (v, u))
        out[top : int(v.max()) + MARGIN + 1, left : max(0, int(u.max()) + MARGIN + 1)] = True
    return out if len(nodes) else np.ones(size, bool)


def crosshair(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (H, W) that the crosshair may touch, which does not turn with the view."""
    out, half = np.zeros(size, bool), CROSSHAIR // 2
    y, x = size[0] // 2, size[1] // 2
    out[y - half : y + half + 1, x - half : x + half + 1] = True
    return out


def change_scores(changes: Sequence[Change], after: Frames, shown: Frames) -> tuple[NDArray, NDArray]:
    """How much of each change is in pictures (B, H, W, 3), as ``persistence`` tells it: shares and what is lost (B,).

    ``after``: recorded on return (B, H, W, 3).
    """
    found = [persistence(x, c.before, b, c.patch) for x, b, c in zip(shown, after, changes, strict=True)]
    share, rest = np.array(found, np.float64).T
    return share, rest


def still_changed(found: tuple[NDArray, NDArray], least: float) -> NDArray[np.bool_]:
    """Whether a picture (B,) is as after the change, and shows its place at all."""
    share, rest = found
    return (share > least) & (rest < 1)


def kinds_of(changes: Sequence[Change]) -> dict[str, Any]:
    """How many changes there are of each kind."""
    return {kind: sum(change.kind == kind for change in changes) for kind in KINDS.values()}
