"""Minari data sets with pictures: a folder ``data`` with ``metadata.json`` and ``main_data.hdf5``, or arrow or parquet.

An episode of N steps has N + 1 observations; action t leads from observation t to observation t + 1. HDF5 is read
directly, frame by frame; arrow and parquet are read by the ``minari`` package, episode by episode. Pictures are uint8
(H, W, 3), (3, H, W), (H, W, 1) or (H, W), raw or as JPEG; in a space of several the one to take is chosen by name.

Actions of any space become keys and axes as when an environment is recorded (``action_codec``).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.datasets.importers.minari_spaces import picture_path, space_of
from worldsim.datasets.importers.recording import Footage, Frame, Recording, episode_name
from worldsim.datasets.recording.action_codec import SpaceCodec
from worldsim.datasets.store.picture import check_pixels, read_picture
from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.spec.damage import check_declared, reading
from worldsim.spec.inside import inside
from worldsim.spec.text_files import parse_json, read_json, whole_number

ABOUT, HDF5 = "metadata.json", "main_data.hdf5"
# Minari does not tell the rate of its environments.
DEFAULT_FPS = 20
# Frames, and their bytes, read from HDF5 at once.
_BLOCK, _BLOCK_BYTES = 32, 2**25
# Steps of an episode: a day at 20 Hz.
_MOST_STEPS = 1_728_000
_DEEPEST = 32
_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def data_folder(source: Path) -> Path | None:
    """The folder that holds a Minari data set's files: the source, or its ``data``."""
    for folder in (source, source / "data"):
        if (folder / HDF5).is_file():
            return folder
        if (folder / ABOUT).is_file() and "data_format" in _about(folder):
            return folder
    return None


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What all episodes of a data set share."""

    about: Mapping[str, Any]
    codec: SpaceCodec
    seen: spaces.Space[Any]
    picture: tuple[str, ...]
    fps: float


def find_minari(source: Path, view: str = "", fps: float | None = None) -> list[Recording]:
    """The episodes of a data set.

    Args:
        source: its folder.
        view: which observation is the picture, if there are several: names joined by dots.
        fps: frames a second; default 20.

    Raises:
        UserError: it is no Minari data set, its actions are of a kind that is not known, or it has no pictures.
        ImportError: a package is missing.
    """
    folder = data_folder(source)
    if folder is None:
        raise UserError(f"{source} is no Minari data set: there is no {ABOUT} with a data_format in it")
    for path in [folder / HDF5] if (folder / HDF5).is_file() else folder.rglob("*"):
        inside(source, path)
    about = _about(folder)
    if "action_space" not in about or "observation_space" not in about:
        raise UserError(f"{folder / ABOUT} does not tell the spaces: load and save the data set with a newer Minari")
    seen = space_of(about["observation_space"])
    shown = _Shown(
        about=about,
        codec=SpaceCodec(space_of(about["action_space"])),
        seen=seen,
        picture=picture_path(seen, view),
        fps=fps or DEFAULT_FPS,
    )
    title = str(about.get("dataset_id") or source.name)
    return [
        Recording(
            name=episode_name(f"{title}/{number:06d}"),
            origin=f"{folder}, episode {number}",
            open=partial(_open, folder, number, shown),
            part=f"{title} {number} {steps}",
        )
        for number, steps in _steps(folder, about)
    ]


def action_rows(codec: SpaceCodec, actions: Any, steps: int) -> NDArray[np.float32]:
    """Actions of N steps, arrays nested like their space, as action vectors (N, A).

    Raises:
        ValueError: an action is not in its space.
    """
    whole = _read(codec.space, actions)
    rows = [codec.vector(_row(whole, t)) for t in range(steps)]
    return np.stack(rows) if rows else np.zeros((0, codec.spec.size), np.float32)


def _open(folder: Path, number: int, shown: _Shown) -> Footage:
    if (folder / HDF5).is_file():
        return _open_hdf5(folder / HDF5, number, shown)
    [episode] = list(_storage(folder).get_episodes([number]))
    return _footage(episode, lambda: _pictures(_at(episode["observations"], shown.picture)), {}, shown)


def _open_hdf5(path: Path, number: int, shown: _Shown) -> Footage:
    h5py = _h5py()

    def frames() -> Iterator[Frame]:
        with h5py.File(path, "r") as file:
            yield from _pictures(_at(file[f"episode_{number}/observations"], shown.picture))

    try:
        with h5py.File(path, "r") as file:
            group = file[f"episode_{number}"]
            _check_own(h5py, group, shown.picture)
            return _footage(group, frames, dict(group.attrs), shown)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path.name} lacks a part of the episode, or is damaged: {error}") from error


def _check_own(h5py: Any, group: Any, picture: tuple[str, ...], depth: int = 0) -> None:
    """Refuse data that lie in other files, and sizes that are declared and not there."""
    if depth > _DEEPEST:
        raise ValueError("its groups are nested too deeply")
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise ValueError(f"{group.name}/{name} lies in another file, which is not read")
        part = group[name]
        if isinstance(part, h5py.Group):
            _check_own(h5py, part, picture, depth + 1)
            continue
        if part.external or part.is_virtual:
            raise ValueError(f"{part.name} lies in another file, which is not read")
        check_declared(part.name, part.nbytes, part.id.get_storage_size())


def _footage(
    episode: Any, frames: Callable[[], Iterator[Frame]], metadata: Mapping[str, Any], shown: _Shown
) -> Footage:
    about, steps = shown.about, len(episode["rewards"])
    stored = _at(episode["observations"], shown.picture)
    length = len(stored)
    if length != steps + 1:
        raise ValueError(f"{length} observations for {steps} actions: an episode has one more")
    if steps > _MOST_STEPS:
        raise ValueError(f"it has {steps} steps, more than {_MOST_STEPS}")
    if len(getattr(stored, "shape", ())) > 2:
        check_pixels("its picture", *sorted(stored.shape[1:])[-2:])
    done = action_rows(shown.codec, episode["actions"], steps)
    flags = {name: np.asarray(episode[name][:], np.bool_) for name in ("terminations", "truncations")}
    terminated = np.zeros(length, np.bool_)
    terminated[1:] = flags["terminations"]
    env = _env(about)
    return Footage(
        frames=frames,
        actions=np.concatenate([done, np.zeros((1, done.shape[1]), np.float32)]),
        rewards=np.append(np.asarray(episode["rewards"][:], np.float32).reshape(-1), np.float32(0)),
        terminated=terminated,
        state=_state(shown.seen, episode["observations"], shown.picture),
        provenance={
            "engine": env,
            "source": f"minari:{about.get('dataset_id', 'unknown')}",
            "policy": str(about.get("algorithm_name", "unknown")),
            "authors": about.get("author", []),
            "keys": list(shown.codec.spec.keys),
            "fps": shown.fps,
            "truncated": bool(flags["truncations"][-1:].any()),
            **({"start_seed": whole_number("seed", metadata["seed"])} if metadata.get("seed") is not None else {}),
        },
    )


def _env(about: Mapping[str, Any]) -> str:
    """The environment's id."""
    spec = parse_json(about["env_spec"]) if isinstance(about.get("env_spec"), str) else None
    return str(spec.get("id", "unknown")) if isinstance(spec, dict) else "unknown"


def _pictures(stored: Any) -> Iterator[Frame]:
    """Frames as RGB from an array, an HDF5 data set, or rows of JPEG bytes."""
    block = max(1, min(_BLOCK, _BLOCK_BYTES // max(1, math.prod(getattr(stored, "shape", (1, 1))[1:]))))
    for start in range(0, len(stored), block):
        for row in stored[start : start + block]:
            if isinstance(row, bytes) or getattr(row, "ndim", 0) == 1:
                yield read_picture(bytes(row))
                continue
            picture = np.asarray(row, np.uint8)
            if picture.ndim == 3 and picture.shape[2] not in (1, 3):
                picture = picture.transpose(1, 2, 0)
            picture = picture[..., None] if picture.ndim == 2 else picture
            yield np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def _state(space: spaces.Space[Any], observations: Any, picture: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The numbers beside the picture in a Dict of observations."""
    state = {}
    for name, part in space.spaces.items() if isinstance(space, spaces.Dict) else ():
        if isinstance(part, _NUMBERS) and (name,) != picture:
            array = np.asarray(observations[name][:])
            if array.dtype.kind in "biuf" and array.ndim <= 2:
                state[episode_name(name)] = array
    return state


def _at(observations: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        observations = _part(observations, name)
    return observations


def _part(nested: Any, name: str | int) -> Any:
    """A part of nested arrays: of a dict, a tuple, or an HDF5 group (in which tuples are ``_index_0``, ...)."""
    if isinstance(nested, tuple | list):
        return nested[int(name)]
    return nested[f"_index_{name}"] if f"_index_{name}" in nested else nested[str(name)]


def _read(space: spaces.Space[Any], stored: Any) -> Any:
    """Arrays of all steps, nested as the space is."""
    if isinstance(space, spaces.Dict):
        return {name: _read(part, stored[name]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_read(part, _part(stored, i)) for i, part in enumerate(space.spaces))
    return np.asarray(stored[:])


def _row(nested: Any, t: int) -> Any:
    if isinstance(nested, dict):
        return {name: _row(part, t) for name, part in nested.items()}
    return tuple(_row(part, t) for part in nested) if isinstance(nested, tuple) else nested[t]


def _steps(folder: Path, about: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Number and length of every episode."""
    if (folder / HDF5).is_file():
        try:
            with reading(folder / HDF5, "a whole HDF5 file", UserError), _h5py().File(folder / HDF5, "r") as file:
                found = (re.fullmatch(r"episode_(\d{1,12})", str(name)) for name in file)
                return [(i, _length(file, i)) for i in sorted(int(name[1]) for name in found if name)]
        except OSError as error:
            raise UserError(f"{folder / HDF5} is not a whole HDF5 file: {error}") from error
    count = whole_number(f"{folder / ABOUT}: total_episodes", about["total_episodes"])
    metadata = islice(_storage(folder).get_episode_metadata(range(count)), None)
    where = f"{folder}: total_steps of an episode"
    return [(i, whole_number(where, episode.get("total_steps", 0))) for i, episode in enumerate(metadata)]


def _length(file: Any, number: int) -> int:
    """Steps of an episode; what is wrong with one is told when it is opened."""
    try:
        return int(file[f"episode_{number}"].attrs.get("total_steps", 0))
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError, OSError):
        return 0


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = read_json(inside(folder, folder / ABOUT))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / ABOUT} cannot be read: {error}") from error
    return about if isinstance(about, dict) else {}


def _h5py() -> Any:
    return require("h5py", "reading HDF5")


def _storage(folder: Path) -> Any:
    return require("minari.dataset.minari_storage", "reading this data set").MinariStorage.read(folder)
