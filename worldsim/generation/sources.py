"""What a generated film is made of: recorded frames, what was pressed between them, and what there is to say of them.

F video frames, H W pixels, A action vector, r frames per chunk.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import episode_record, join_record, store_record
from worldsim.datasets.loading.starts import StartClips
from worldsim.datasets.store.manifest import file_sha256
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.learned.initial_context import fit_past, shared_starts
from worldsim.envs.rollouts.prefix import find_prefix, names_episode
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Frames to make a film of.

    Attributes:
        frames: uint8 (F, H, W, 3), F = 1 + r k.
        actions: float32 (F - 1, A), nan where they are not known.
        poses: float32 (F, 5) of the camera, or None.
        depth: uint16 (H, W) of the last frame, as in ``Episode.state``, or None.
        about: where the frames are from, as plain JSON.
        record: of the store that they are from, as of what a checkpoint was trained on; None where it is none.
    """

    frames: Frames
    actions: NDArray[np.float32]
    poses: NDArray[np.float32] | None
    about: Mapping[str, Any]
    record: Mapping[str, Any] | None = None
    depth: NDArray[np.uint16] | None = None


def of_size(world: WorldModel, size: tuple[int, int] | None) -> WorldModel:
    """A world that shows pictures of (width, height) pixels; a memory is made for one size and stays with that.

    Raises:
        ValueError: the network's grid does not allow the size.
    """
    if size is None or size == (world.config.width, world.config.height):
        return world
    return WorldModel(
        replace(world.config, width=size[0], height=size[1]), world.tokenizer, world.dit,
        prompt_embeddings=world.prompt_embeddings, fact_heads=world.fact_heads, trust=world.trust, bf16=world.bf16,
        compute=world.compute, ends_taught=world.ends_taught,
    )  # fmt: skip


def read_source(given: str | os.PathLike[str] | Frames, world: WorldModel, place: str, frames: int) -> Source:
    """Read what a film is made of.

    Args:
        given: a start clip's number, a picture, a video or STORE:EPISODE[@FRAME]; or frames uint8 (F, H, W, 3).
        world: gives picture size and chunk.
        place: folder of the world, whose start clips are meant.
        frames: at most so many: the last ones of a film, the first ones of an episode.

    Raises:
        FileNotFoundError: there is no such thing.
        UserError: it does not fit.
    """
    if isinstance(given, np.ndarray):
        film, _ = fit_past(world, given[None] if given.ndim == 3 else given, None)
        about = {"frames_sha256": hashlib.sha256(np.ascontiguousarray(film).tobytes()).hexdigest()}
        return Source(frames=film, actions=_unknown(film, world), poses=None, about=about)
    text = os.fspath(given)
    starts: StartClips | None = shared_starts(place) if text.isdecimal() else None
    past = find_prefix(text, world, starts, frames=frames, seed=0)
    about, record, known = {"source": text}, None, True
    if names_episode(text):
        folder, _, rest = text.rpartition(":")
        store, name = EpisodeStore(folder), rest.partition("@")[0]
        one = episode_record(name, store.manifest(name))
        record = join_record(store_record(store.url, [one]))
        about |= {"store": store.url, "episode": name, "identity": one["identity"], "licence": one["licence"]}
    elif starts is not None:
        about |= {"start_clip": dict(starts.provenance[int(text)])}
    else:
        known = False
        with Path(text).open("rb") as file:
            about |= {"sha256": file_sha256(file)}
    actions = past.actions if known else _unknown(past.frames, world)
    return Source(frames=past.frames, actions=actions, poses=past.poses, about=about, record=record, depth=past.depth)


def _unknown(frames: Frames, world: WorldModel) -> NDArray[np.float32]:
    return np.full((len(frames) - 1, world.spec.size), np.nan, np.float32)
