"""LeRobot data sets, versions 2.0, 2.1 and 3.0: parquet tables with the actions, pictures in mp4 or in the tables.

``meta/info.json`` tells the rate, the features and where files lie. Version 2 has a table and a video per episode and
``meta/episodes.jsonl``; version 3 joins many episodes in a table and a video, and ``meta/episodes/*/*.parquet`` tells
which rows and which seconds are whose. Row t holds what was seen at t and the action that was chosen then: it leads to
row t + 1. ``next.reward`` belongs to the same transition, ``next.done`` to the frame after it.

An action's values become ``axis.NAME``, with the names that the data set gives them, divided by the largest magnitude
in the whole data set (kept in ``provenance["axis_scales"]``), so that they lie in -1 to 1; those of type bool become
keys.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.importers.lerobot_meta import (
    INFO,
    Row,
    data_path,
    data_tables,
    episode_rows,
    licence_of,
    read_info,
    read_table,
    task_names,
)
from worldsim.datasets.importers.recording import Footage, Frame, Recording, episode_name
from worldsim.datasets.recording.action_codec import AXIS
from worldsim.datasets.store.picture import read_picture
from worldsim.datasets.store.video import index_times, stream_video
from worldsim.errors import UserError
from worldsim.spec.inside import inside

# A video may end a frame early or late by rounding; more than that is damage.
_SLACK = 0.5

# By the name of an action's feature, the largest magnitude of each of its values.
Scales = Mapping[str, NDArray[np.float32]]
Tasks = Mapping[int, str]


def find_lerobot(source: Path, view: str = "") -> list[Recording]:
    """The episodes of a data set.

    Args:
        source: its folder.
        view: which camera, if there are several.

    Raises:
        UserError: it is no LeRobot data set of a known version, or has no camera or no action.
    """
    info = read_info(source)
    version = str(info.get("codebase_version", ""))
    if not version.startswith(("v2.", "v3.")):
        raise UserError(f"{source / INFO}: version {version or 'unknown'} is not known; known are v2.0, v2.1 and v3.0")
    camera, features = _camera(info, view), _action_features(info)
    if not features:
        raise UserError(f"{source / INFO} names no feature 'action'")
    scales = {name: _largest(source, name) for name in features}
    rows, tasks, licence = episode_rows(source, version), task_names(source), licence_of(source)
    return [
        Recording(
            name=episode_name(f"{source.resolve().name}/{row['episode_index']:06d}"),
            origin=f"{source}, episode {row['episode_index']}",
            open=partial(_open, source, info, camera, row, scales, tasks, licence),
            part=f"{source.resolve().name} {row['episode_index']} {row['length']} {camera}",
        )
        for row in rows
    ]


def _open(source: Path, info: Row, camera: str, row: Row, scales: Scales, tasks: Tasks, licence: str) -> Footage:
    number, fps = row["episode_index"], float(info["fps"])
    table = _table(source, data_path(source, info, row, "data"), number)
    length = len(table["frame_index"])
    if length != row["length"]:
        raise ValueError(f"{length} rows, but {row['length']} are promised")
    if list(table["frame_index"]) != list(range(length)):
        raise ValueError("its rows are not in order")
    keys, columns, divided = _actions(info["features"], scales, table)
    columns[-1] = 0
    terminated = np.zeros(length, np.bool_)
    terminated[1:] = np.asarray(table.get("next.done", np.zeros(length)), np.bool_).reshape(length)[:-1]
    rewards = np.asarray(table.get("next.reward", np.zeros(length)), np.float32).reshape(length).copy()
    rewards[-1] = 0
    video = None
    if info["features"][camera]["dtype"] == "video":
        video = data_path(source, info, row, f"videos/{camera}", camera)
    start = float(row.get(f"videos/{camera}/from_timestamp", 0.0))
    if video is not None:
        _check_length(video, start, length, fps)
    return Footage(
        frames=partial(_film, video, start, length, fps) if video else partial(_images, source, table, camera),
        actions=columns,
        rewards=rewards,
        terminated=terminated,
        state=_state(info["features"], table, length),
        text="; ".join(_tasks(row, table, tasks)),
        provenance={
            "engine": str(info.get("robot_type") or "unknown"),
            "source": f"lerobot:{source.resolve().name}",
            "policy": "unknown",
            "format": info["codebase_version"],
            "camera": camera,
            "keys": keys,
            "axis_scales": divided,
            **({"licence": licence} if licence else {}),
            "fps": int(fps) if fps.is_integer() else fps,
        },
        # A video may hold hundreds of episodes: only this one's part is tried.
        verify=partial(_verify, video, start, length, fps) if video else None,
    )


def _film(video: Path, start: float, length: int, fps: float) -> Iterator[Frame]:
    # Half a frame early: timestamps are rounded.
    return islice(stream_video(video, start=max(0.0, start - _SLACK / fps)), length)


def _verify(video: Path, start: float, length: int, fps: float) -> None:
    for _ in _film(video, start, length, fps):
        pass


def _images(source: Path, table: Row, camera: str) -> Iterator[Frame]:
    for cell in table[camera]:
        yield read_picture(cell["bytes"] if cell.get("bytes") else inside(source, source / cell["path"]))


def _check_length(video: Path, start: float, length: int, fps: float) -> None:
    held = int((index_times(video) >= start - _SLACK / fps).sum())
    if held < length:
        raise ValueError(f"{video.name} has {held} frames from {start:g} s on, {length} are needed")


def _actions(features: Row, scales: Scales, table: Row) -> tuple[list[str], NDArray[np.float32], dict[str, float]]:
    """Names of the columns, the columns (F, A), and what the continuous ones were divided by."""
    keys: list[str] = []
    columns, divided = [], {}
    for name, scale in scales.items():
        try:
            values = np.stack([np.ravel(np.asarray(cell)) for cell in table[name]])
            numbers = values.astype(np.float32)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"its {name} is not a table of numbers: {error}") from error
        plain = name.removeprefix("action").removeprefix(".")
        given = _flat_names(features[name].get("names"))
        ends = given if len(given) == numbers.shape[1] else [str(i) for i in range(numbers.shape[1])]
        mark = "" if values.dtype == np.bool_ else AXIS.rstrip(".")
        own = [".".join(filter(None, (mark, plain, end))) for end in ends]
        if mark:
            numbers /= scale
            divided |= dict(zip(own, scale.tolist(), strict=True))
        keys += own
        columns.append(numbers)
    if len(set(keys)) < len(keys):
        raise ValueError(f"its actions have equal names: {', '.join(keys)}")
    array = np.concatenate(columns, 1)
    if not np.isfinite(array).all():
        raise ValueError("its actions are not all finite")
    return keys, array, divided


def _largest(source: Path, name: str) -> NDArray[np.float32]:
    """The largest magnitude of each of an action's values over all episodes; 1 where it is always 0."""
    most: NDArray[Any] = np.zeros(1)
    for path in data_tables(source):
        try:
            cells = read_table(source, path, columns=[name]).column(name).to_pylist()
            most = np.maximum(most, np.abs(np.stack([np.ravel(np.asarray(cell, np.float64)) for cell in cells])).max(0))
        except (OSError, ValueError, TypeError, KeyError):
            # What is wrong with a table is told when its episodes are opened.
            continue
    return np.where(np.isfinite(most) & (most > 0), most, 1.0).astype(np.float32)


def _action_features(info: Row) -> list[str]:
    return [name for name in info["features"] if name == "action" or name.startswith("action.")]


def _flat_names(names: Any) -> list[str]:
    """Names of a feature's values: a list, lists by group, places by name, or nothing."""
    if isinstance(names, Mapping):
        if all(isinstance(place, int) for place in names.values()):
            return sorted(names, key=lambda name: names[name])
        return [name for group in names.values() if isinstance(group, list) for name in _flat_names(group)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _state(features: Row, table: Row, length: int) -> dict[str, NDArray[Any]]:
    """Numbers that were observed, beside the pictures."""
    state = {}
    for name, feature in features.items():
        if name.startswith("observation.") and feature["dtype"] not in ("video", "image", "string") and name in table:
            array = np.stack([np.asarray(cell) for cell in table[name]])
            if array.dtype.kind in "biuf":
                state[name.removeprefix("observation.")] = array.reshape(length, -1)
    return state


def _camera(info: Row, view: str) -> str:
    cameras = [name for name, feature in info["features"].items() if feature["dtype"] in ("video", "image")]
    matching = [name for name in cameras if not view or name == view or name.endswith(f".{view}")]
    if len(matching) == 1:
        return matching[0]
    if not cameras:
        raise UserError("the data set has no camera")
    if view and not matching:
        raise UserError(f"no camera {view!r}; there are: {', '.join(cameras)}")
    raise UserError(f"the data set has several cameras: choose one with view={cameras[0]} ({', '.join(cameras)})")


def _tasks(row: Row, table: Row, tasks: Tasks) -> list[str]:
    """An episode's tasks: in its own row, or by the number that each of its frames has."""
    told = row.get("tasks") or ()
    own = [told] if isinstance(told, str) else [str(task) for task in told]
    return own or [tasks[number] for number in dict.fromkeys(table.get("task_index", ())) if number in tasks]


def _table(source: Path, path: Path, number: int) -> dict[str, Any]:
    """The rows of one episode: columns by name."""
    table = read_table(source, path, filters=[("episode_index", "=", number)])
    return {name: table.column(name).to_pylist() for name in table.column_names}
