"""Walks as what ego-motion learns from: displacements, actions, turns, and summaries of what was seen around.

F frames, R video frames of a chunk, K chunks, A action vector, S summary, H W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.loading.walks import Walk, read_walk
from worldsim.datasets.store.store import SPLITS, EpisodeStore
from worldsim.errors import UserError
from worldsim.models.shield import shielded
from worldsim.simulation.memory.ego_motion import motion_of
from worldsim.simulation.memory.render import FAR
from worldsim.simulation.memory.surroundings import surroundings
from worldsim.spec.camera import Camera

# Degrees by which recorded turns may differ from the actions'.
TURN_TOLERANCE = 0.01
# Metres a video frame beyond which a player was moved by the game (respawn), not by himself.
FARTHEST = 3.0
# Metres a video frame below which a recorded player rests.
RESTING = 1e-4
# Summaries made at a time.
_ROWS = 64


@dataclass(frozen=True)
class Track:
    """One walk.

    Attributes:
        camera: what took the pictures.
        actions: (F - 1, A); row t leads from frame t to frame t + 1.
        moved: forward, right, up (m) (F - 1, 3) from frame t to frame t + 1.
        pitch: degrees (F,).
        near: summaries (views, K, S) float16 of every R-th frame: of the recorded depth, then of depth with the errors
            that a predicted one has.
    """

    camera: Camera
    actions: Tensor
    moved: Tensor
    pitch: Tensor
    near: Tensor

    def __len__(self) -> int:
        return len(self.actions)


def split_names(store: EpisodeStore, only: EpisodeFilter, episodes: int, held_out: int) -> tuple[list[str], list[str]]:
    """Episodes of training maps to learn from, and of other maps to judge with, spread evenly over the names.

    Judges are validation maps, else test maps, else the last map of the training maps, which then is not learned from.

    Raises:
        UserError: there are too few episodes.
    """
    train, *others = (only.names(store, split) for split in SPLITS)
    judges = next((names for names in others if names), [])
    if not judges:
        maps = {name: store.manifest(name)["provenance"].get("seed", name) for name in train}
        judges = [name for name in train if maps[name] == maps[train[-1]]]
        train = [name for name in train if name not in judges]
    if not train:
        raise UserError(f"{store.url} has no episodes of two training maps: record more (worldsim collect)")
    return _spread(train, episodes), _spread(judges, held_out)


def _spread(names: list[str], most: int) -> list[str]:
    count = min(len(names), most)
    return [names[i * len(names) // count] for i in range(count)]


@shielded
def read_tracks(
    store: EpisodeStore,
    names: Sequence[str],
    *,
    chunk: int,
    seed: int,
    noisy: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Track]:
    """Read walks one by one; their pictures and depth are not kept.

    Raises:
        UserError: one was recorded without poses, depth or camera, or its actions do not turn the camera.
    """
    tracks = []
    for done, name in enumerate(names):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + done)
        try:
            tracks.append(track_of(read_walk(store, name), chunk=chunk, generator=generator if noisy else None))
        except ValueError as error:
            raise UserError(f"episode {name}: {error}") from error
        progress(done + 1, len(names))
    return tracks


def track_of(walk: Walk, *, chunk: int, generator: torch.Generator | None) -> Track:
    """What a walk teaches; with a generator, also with errors of depth.

    Raises:
        ValueError: the recorded turns are not those of the actions between the same frames, or it has no depth.
    """
    if walk.inverse_depth is None:
        raise ValueError("was read without depth")
    actions = walk.actions[: len(walk) - 1].float()
    turned = (walk.poses[1:, 3] - walk.poses[:-1, 3] + 180) % 360 - 180
    wrong = (turned - actions[:, walk.camera.yaw_action] + 180) % 360 - 180
    # One lost frame would shift every action after it: the network would learn the wrong moment.
    if bool((wrong.abs() > TURN_TOLERANCE).any()):
        frame = int((wrong.abs() > TURN_TOLERANCE).float().argmax())
        raise ValueError(f"frame {frame} turns by {turned[frame]:.2f} degrees, its action says otherwise")
    depth = walk.inverse_depth[: len(walk) - 1 : chunk]
    views = [depth] if generator is None else [depth, *erroneous(depth.float(), generator)[None]]
    pitch = walk.poses[: len(walk) - 1 : chunk, 4]
    near = [
        torch.cat([
            surroundings(view[i : i + _ROWS].float(), None, pitch[i : i + _ROWS], walk.camera)
            for i in range(0, len(depth), _ROWS)
        ])
        for view in views
    ]  # fmt: skip
    moved = motion_of(walk.poses[None].double())[0].float()
    return Track(walk.camera, actions, moved, walk.poses[:, 4], torch.stack(near).half())


def erroneous(inverse_depth_KHW: Tensor, generator: torch.Generator) -> Tensor:
    """Depth with the errors of a predicted one: blurred, and off by a factor that changes slowly over picture and time.

    Mean error of the logarithm about .3: half of it the whole picture's, half that of its parts.
    """
    count, height, width = inverse_depth_KHW.shape
    whole = _slow(torch.randn(count, 1, 1, 1, generator=generator), 0.9)
    parts = _slow(torch.randn(count, 1, 4, 6, generator=generator), 0.9)
    error = 0.2 * whole + 0.35 * F.interpolate(parts, size=(height, width), mode="bilinear", align_corners=True)
    blurred = F.avg_pool2d(inverse_depth_KHW[:, None], 3, 1, 1, count_include_pad=False)
    blurred = torch.where(inverse_depth_KHW[:, None] > FAR, blurred, inverse_depth_KHW[:, None])
    return (blurred * error.exp())[:, 0]


def _slow(noise: Tensor, stays: float) -> Tensor:
    """White noise (K, ...) of unit variance as one that changes slowly along K, of the same variance."""
    out, fresh = [noise[0]], (1 - stays**2) ** 0.5
    for one in noise[1:]:
        out.append(stays * out[-1] + fresh * one)
    return torch.stack(out)
