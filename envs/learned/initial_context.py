"""Where an episode inside a learned world begins: a past of real frames and actions, a noise seed, a prompt.

F video frames, H W pixels, A action vector, r frames per chunk.
"""

import errno
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

import worldsim
from worldsim.datasets.loading.starts import StartClips, load_starts
from worldsim.datasets.store.picture import PICTURE_SUFFIXES, read_picture, scale_picture
from worldsim.datasets.store.video import index_times, stream_video
from worldsim.errors import UserError
from worldsim.simulation.devices import device_of
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

# Frames of a past: far more than a world remembers.
MOST_FRAMES = 2000
OPTIONS = ("start", "prefix", "actions", "prompt")


@dataclass(frozen=True, kw_only=True)
class InitialContext:
    """The past that one row starts from.

    Attributes:
        frames: uint8 (F, H, W, 3), F = 1 + r k.
        actions: float32 (F - 1, A).
        seed: of the noise.
        prompt: text condition, or None.
        start: number of the start clip, -1 for a past from elsewhere.
        poses: float32 (F, 5) of the camera: x, y, z (m), yaw, pitch (degrees); None where they are not known.
        depth: uint16 (H, W) of the last frame, as in ``Episode.state``; None where it is not known.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    seed: int
    prompt: str | None = None
    start: int = -1
    poses: NDArray[np.float32] | None = None
    depth: NDArray[np.uint16] | None = None


@lru_cache(maxsize=4)
def shared_world(name: str, device: str) -> WorldModel:
    """Load a world once per process and device, by its absolute folder; all its environments share the weights."""
    return worldsim.load(name, device=device)


@lru_cache(maxsize=4)
def shared_starts(name: str) -> StartClips:
    """Start clips that lie beside a world's checkpoint, else those shipped with the Minecraft world."""
    folders = [Path(name) / "starts", worldsim.ASSETS / "minecraft" / "starts"]
    return load_starts(next((f for f in folders if f.is_dir()), folders[0]))


def resolve(
    world: str | os.PathLike[str] | WorldModel,
    starts: str | os.PathLike[str] | StartClips | None,
    device: str | None = None,
) -> tuple[WorldModel, StartClips]:
    """Load what was named; pass through what was given.

    ``device``: where the world is to compute; default: the CPU, or where a loaded one is.

    Raises:
        FileNotFoundError: there is no such world, or it has no start clips.
        UserError: the start clips do not fit the world, or there is no such device.
    """
    place = str(worldsim.world_folder("minecraft" if isinstance(world, WorldModel) else os.fspath(world)))
    if not isinstance(world, WorldModel):
        model = shared_world(place, device or "cpu")
    else:
        model = world if device is None else world.to(device_of(device))
    if starts is None:
        starts = shared_starts(place)
    elif not isinstance(starts, StartClips):
        starts = load_starts(starts)
    size = (model.config.height, model.config.width)
    if starts.frames.shape[2:4] != size or starts.actions.shape[-1] != model.spec.size:
        raise UserError(
            f"start clips of {starts.frames.shape[3]}x{starts.frames.shape[2]} pixels and {starts.actions.shape[-1]} "
            f"action values do not fit a world of {size[1]}x{size[0]} and {model.spec.size}"
        )
    return model, starts


def choose(
    world: WorldModel, starts: StartClips, rng: np.random.Generator, options: Mapping[str, Any] | None = None
) -> InitialContext:
    """Draw a beginning, or take the one that ``options`` describe.

    Args:
        world: gives picture size, chunk and actions.
        starts: clips to draw from.
        rng: draws the start clip and the noise seed (always both, so that options do not shift later draws).
        options: ``start``: number of a start clip;
            ``prefix``: instead of it, path of a video, uint8 frames (F, H, W, 3) or (H, W, 3), or a clip's number too;
            ``actions``: float32 (F - 1, A) that go with it (default: those recorded, else none pressed);
            ``prompt``: text.

    Raises:
        FileNotFoundError: there is no such video.
        UserError: an unknown option, a wrong shape or type.
    """
    options = checked_options(options)
    if unknown := sorted(map(str, options.keys() - set(OPTIONS))):
        raise UserError(f"unknown reset option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    drawn, seed = int(rng.integers(len(starts))), int(rng.integers(2**31))
    prefix = _clip_or_prefix(options.get("start"), options.get("prefix"))
    start = drawn if prefix is None else -1
    if _is_number(prefix):
        if not 0 <= prefix < len(starts):
            raise UserError(f"there is no start clip {prefix}: choose 0 to {len(starts) - 1}")
        start = int(prefix)
    actions = options.get("actions")
    poses = depth = None
    if start >= 0:
        frames = starts.frames[start]
        actions = starts.actions[start] if actions is None else actions
        poses, depth = starts.known(start).values()
    else:
        frames = _frames(world, prefix)
    frames, vectors = fit_past(world, frames, actions)
    if poses is not None:
        poses = poses[len(poses) - len(frames) :]
    prompt = _prompt(options.get("prompt"))
    return InitialContext(
        frames=frames, actions=vectors, seed=seed, prompt=prompt, start=start, poses=poses, depth=depth
    )


def checked_options(options: Any) -> dict[str, Any]:
    """The options of a ``reset`` as a dictionary.

    Raises:
        UserError: they are no mapping.
    """
    if options is not None and not isinstance(options, Mapping):
        raise UserError(f"reset options are a mapping of {', '.join(OPTIONS)}, got {type(options).__name__}")
    return dict(options or {})


def _clip_or_prefix(start: Any, prefix: Any) -> Any:
    """The one of the two options that was given; both count clips."""
    if start is None:
        return prefix
    if not _is_number(start):
        raise UserError(f"start must be a start clip's number, got {start!r}; frames and videos are given as prefix")
    if prefix is not None:
        raise UserError("start and prefix both say where the episode begins: give one of them")
    return start


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def fit_past(world: WorldModel, frames: NDArray[Any], actions: Any) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Check a past and drop its oldest frames so that F = 1 + r k.

    Raises:
        UserError: a wrong shape or type, or actions that are not finite.
    """
    size = (world.config.height, world.config.width, 3)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != size or not len(frames):
        raise UserError(
            f"a prefix must be uint8 frames of {size[1]}x{size[0]} pixels, got {frames.dtype} {frames.shape}"
        )
    wanted = (len(frames) - 1, world.spec.size)
    vectors = np.zeros(wanted, np.float32) if actions is None else _action_array(actions, wanted)
    if vectors.shape != wanted or not np.isfinite(vectors).all():
        raise UserError(f"the prefix's actions must be finite numbers of shape {wanted}, got {vectors.shape}")
    surplus = (len(frames) - 1) % world.chunk
    return frames[surplus:], vectors[surplus:]


def prefill(world: WorldModel, beginnings: Sequence[InitialContext]) -> WorldState:
    """One state with a row per beginning; pasts of equal length go through the network together."""
    kinds = [(len(b.frames), b.poses is None, b.depth is None) for b in beginnings]
    states, order = [], []
    for kind in dict.fromkeys(kinds):
        rows = [i for i, other in enumerate(kinds) if other == kind]
        chosen = [beginnings[i] for i in rows]
        frames, actions = np.stack([b.frames for b in chosen]), np.stack([b.actions for b in chosen])
        prompts = [b.prompt or "" for b in chosen] if any(b.prompt for b in chosen) else None
        poses, depth = ([getattr(b, name) for b in chosen] for name in ("poses", "depth"))
        known = [None if part[0] is None else np.stack(part) for part in (poses, depth)]
        states.append(world.prefill(frames, actions, [b.seed for b in chosen], prompts, *known))
        order += rows
    if len(states) == 1:
        return states[0]
    return WorldState.concatenate(states).select(np.argsort(order).tolist())


def last_frames(beginning: InitialContext, count: int) -> NDArray[np.uint8]:
    """The last ``count`` frames of the past, the first one repeated where there are fewer."""
    frames = beginning.frames[-count:]
    return np.concatenate([np.repeat(frames[:1], count - len(frames), 0), frames])


def _action_array(actions: Any, wanted: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        return np.asarray(actions, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the prefix's actions must be numbers of shape {wanted}, got {type(actions).__name__}"
        ) from error


def past_frames(path: str | os.PathLike[str], size: tuple[int, int], last: int | None = None) -> NDArray[np.uint8]:
    """Frames of a video, or a picture as one frame, scaled to ``size`` (width, height): uint8 (F, H, W, 3).

    Args:
        path: of the video or picture.
        size: in pixels.
        last: keep the last so many frames; default: all of them, ``MOST_FRAMES`` at most.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or neither.
        UserError: the video is too long.
    """
    # Names that no file can have, too long or with half a letter, are not there either: ``Path.exists`` would raise.
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if Path(path).suffix.lower() in PICTURE_SUFFIXES:
        return scale_picture(read_picture(path), size)[None]
    shown = stream_video(path, size=size)
    if last is not None:
        return np.stack(list(deque(shown, maxlen=last)))
    if len(index_times(path)) > MOST_FRAMES:
        raise UserError(f"{path} has more than {MOST_FRAMES} frames: a past is the last seconds of a video, cut it")
    return np.stack(list(shown))


def _frames(world: WorldModel, prefix: Any) -> NDArray[Any]:
    if isinstance(prefix, str | os.PathLike):
        return past_frames(prefix, (world.config.width, world.config.height))
    if isinstance(prefix, np.ndarray):
        return prefix[None] if prefix.ndim == 3 else prefix
    raise UserError(f"prefix must be a start clip's number, a video's path or frames, got {type(prefix).__name__}")


def _prompt(prompt: Any) -> str | None:
    if prompt is not None and not isinstance(prompt, str):
        raise UserError(f"prompt must be text, got {type(prompt).__name__}")
    return prompt
