"""An episode store as a LeRobot data set, version 3.0: parquet tables, many episodes to a file, and mp4 videos.

``action`` is the action vector, float32, with the names of its keys and ``pitch`` and ``yaw`` (degrees) for a mouse;
row t leads to row t + 1, as in the store. ``next.reward`` and ``next.done`` belong to that transition. What every
episode knows of each frame (pose, say) becomes ``observation.NAME``; depth is left out. Captions are tasks. Where
episodes come from is kept, as the store tells it, in ``meta/worldsim.json``.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import aside_of
from worldsim.datasets.store.episode import DEPTH, Episode
from worldsim.datasets.store.recording_format import RecordingFormat, recording_format
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import VideoWriter
from worldsim.errors import UserError
from worldsim.extras import require

CAMERA = "observation.images.main"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
# Pixels and frames that the statistics of pictures are taken of: every so many along each axis.
SPARSE = 8

Progress = Callable[[int, int], None]


def export_lerobot(
    store: EpisodeStore,
    names: Sequence[str],
    out: Path,
    *,
    frames_per_file: int = 20_000,
    progress: Progress = lambda *_: None,
) -> int:
    """Write episodes as a LeRobot data set; it appears when it is whole.

    Args:
        store: that they are in.
        names: the episodes; of one picture size, rate and kind of actions.
        out: folder of the data set; must not be there.
        frames_per_file: of a table and of a video, unless a single episode is longer.
        progress: called with episodes done and in all.

    Returns:
        The number of frames.

    Raises:
        UserError: ``out`` is there, there is no episode, or pyarrow is missing.
        ValueError: the episodes differ in form.
    """
    if out.exists():
        raise UserError(f"{out} is there already: give a new folder")
    if not names:
        raise UserError(f"no such episodes in {store.url}")
    form, aside = recording_format(store, names), aside_of(out.absolute())
    writer = _Writer(aside, form, _shared_state(store, names), frames_per_file)
    try:
        for done, name in enumerate(names, 1):
            writer.add(name, store.read(name, depth=False))
            progress(done, len(names))
        writer.close()
        os.replace(aside, out)
    finally:
        writer.discard()
        shutil.rmtree(aside, ignore_errors=True)
    return writer.frames


def _shared_state(store: EpisodeStore, names: Sequence[str]) -> dict[str, int]:
    """Numbers of each frame that all episodes have, and how many: of positions, three."""
    found = []
    for name in names:
        state = store.read(name, 0, 1, depth=False).state
        flat = {key: array[0].size for key, array in state.items() if array.dtype.kind in "biuf" and key != DEPTH}
        found.append(set(flat.items()))
    return dict(sorted(set.intersection(*found)))


class _Writer:
    """Files of a data set that is being written."""

    def __init__(self, folder: Path, form: RecordingFormat, state: dict[str, int], frames_per_file: int) -> None:
        require("pyarrow.parquet", "writing parquet")
        self.folder, self.form, self.state, self.frames_per_file = folder, form, state, frames_per_file
        self.frames, self.file, self.in_file = 0, -1, frames_per_file
        self.episodes: list[dict[str, Any]] = []
        self.sources: list[dict[str, Any]] = []
        self.tasks: dict[str, int] = {}
        self.statistics: dict[str, _Statistics] = {}
        self._video: VideoWriter | None = None
        self._table: Any = None

    def add(self, name: str, episode: Episode) -> None:
        """Append an episode, to new files where the last ones are full."""
        length, number = len(episode), len(self.episodes)
        if self.in_file + length > self.frames_per_file and self.in_file:
            self._next_file()
        task = episode.text or "play"
        columns = self._columns(episode, number, self.tasks.setdefault(task, len(self.tasks)))
        self._write_rows(columns)
        assert self._video is not None
        for frame in episode.frames:
            self._video.append(frame)
        place = {"chunk_index": self.file // FILES_PER_CHUNK, "file_index": self.file % FILES_PER_CHUNK}
        begin = self.in_file / self.form.fps
        measured = {key: _Statistics.of(values) for key, values in columns.items()}
        measured[CAMERA] = _Statistics.of_pictures(episode.frames)
        for key, statistics in measured.items():
            self.statistics[key] = self.statistics[key].joined(statistics) if key in self.statistics else statistics
        self.episodes.append(
            {"episode_index": number, "tasks": [task], "length": length}
            | {f"data/{key}": value for key, value in place.items()}
            | {"dataset_from_index": self.frames, "dataset_to_index": self.frames + length}
            | {f"videos/{CAMERA}/{key}": value for key, value in place.items()}
            | {f"videos/{CAMERA}/from_timestamp": begin}
            | {f"videos/{CAMERA}/to_timestamp": begin + length / self.form.fps}
            | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            | {f"stats/{key}/{part}": v for key, s in measured.items() for part, v in s.to_json().items()}
        )
        self.sources.append({"episode_index": number, "name": name, "provenance": dict(episode.provenance)})
        self.frames += length
        self.in_file += length

    def close(self) -> None:
        """Finish the files, and say what is in them."""
        self._finish_file()
        meta = self.folder / "meta"
        meta.mkdir()
        _save_table(self.episodes, meta / "episodes/chunk-000/file-000.parquet")
        _save_tasks(self.tasks, meta / "tasks.parquet")
        statistics = {key: each.to_json() for key, each in self.statistics.items()}
        for name, content in (("info", self._info()), ("stats", statistics), ("worldsim", self.sources)):
            (meta / f"{name}.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
        licences = sorted({str(s["provenance"].get("licence") or "unknown") for s in self.sources})
        licence = licences[0] if len(licences) == 1 else "other"
        (self.folder / "README.md").write_text(
            f"---\nlicense: {json.dumps(licence)}\ntags:\n- LeRobot\n---\n\n{len(self.episodes)} episodes, exported by "
            f"worldsim. Licences: {', '.join(licences)}. Origins: `meta/worldsim.json`.\n"
        )

    def discard(self) -> None:
        """Give up what is still open."""
        if self._video is not None:
            self._video.discard()
        if self._table is not None:
            self._table.close()

    def _columns(self, episode: Episode, number: int, task: int) -> dict[str, NDArray[Any]]:
        length = len(episode)
        count = np.arange(length)
        done = np.zeros(length, np.bool_)
        # Of the frame that a row leads to.
        done[:-1] = episode.terminated[1:]
        state = {
            f"observation.{key}": np.asarray(episode.state[key], np.float32).reshape(length, -1) for key in self.state
        }
        return {
            "action": episode.actions, **state, "next.reward": episode.rewards, "next.done": done,
            "timestamp": (count / self.form.fps).astype(np.float32), "frame_index": count,
            "episode_index": np.full(length, number), "index": self.frames + count, "task_index": np.full(length, task),
        }  # fmt: skip

    def _write_rows(self, columns: dict[str, NDArray[Any]]) -> None:
        arrow, parquet = require("pyarrow", "writing parquet"), require("pyarrow.parquet", "writing parquet")
        table = arrow.table({
            key: arrow.array(values.tolist(), arrow.list_(arrow.float32())) if values.ndim == 2 else arrow.array(values)
            for key, values in columns.items()
        })  # fmt: skip
        if self._table is None:
            path = self._path(DATA)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._table = parquet.ParquetWriter(path, table.schema)
        self._table.write_table(table)

    def _path(self, pattern: str) -> Path:
        chunk, file = divmod(self.file, FILES_PER_CHUNK)
        return self.folder / pattern.format(chunk_index=chunk, file_index=file, video_key=CAMERA)

    def _next_file(self) -> None:
        self._finish_file()
        self.file, self.in_file = self.file + 1, 0
        self._video = VideoWriter(self._path(VIDEO), self.form.fps)

    def _finish_file(self) -> None:
        if self._video is not None:
            self._video.close()
        if self._table is not None:
            self._table.close()
        self._video = self._table = None

    def _info(self) -> dict[str, Any]:
        form, scalar = self.form, {"shape": [1], "names": None}
        actions = [*form.spec.keys, *(("pitch", "yaw") if form.spec.camera else ())]
        video = {
            "video.height": form.height, "video.width": form.width, "video.fps": form.fps, "video.channels": 3,
            "video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False,
        }  # fmt: skip
        shape = [form.height, form.width, 3]
        features = {
            "action": {"dtype": "float32", "shape": [len(actions)], "names": actions},
            CAMERA: {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"], "info": video},
            **{f"observation.{n}": {"dtype": "float32", "shape": [k], "names": None} for n, k in self.state.items()},
            "next.reward": {"dtype": "float32", **scalar}, "next.done": {"dtype": "bool", **scalar},
            "timestamp": {"dtype": "float32", **scalar},
            **{n: {"dtype": "int64", **scalar} for n in ("frame_index", "episode_index", "index", "task_index")},
        }  # fmt: skip
        return {
            "codebase_version": "v3.0", "robot_type": "worldsim", "total_episodes": len(self.episodes),
            "total_frames": self.frames, "total_tasks": len(self.tasks), "chunks_size": FILES_PER_CHUNK,
            "fps": form.fps, "splits": {"train": f"0:{len(self.episodes)}"}, "data_path": DATA, "video_path": VIDEO,
            "features": features,
        }  # fmt: skip


class _Statistics:
    """Least, largest, mean and deviation of the values of rows, and how many rows there are."""

    def __init__(self, least: Any, largest: Any, sums: Any, squares: Any, count: int, rows: int) -> None:
        self.least, self.largest, self.sums, self.squares, self.count, self.rows = (
            least, largest, sums, squares, count, rows,
        )  # fmt: skip

    @staticmethod
    def of(values: NDArray[Any]) -> "_Statistics":
        flat = values.reshape(len(values), -1).astype(np.float64)
        return _Statistics(flat.min(0), flat.max(0), flat.sum(0), (flat**2).sum(0), len(flat), len(flat))

    @staticmethod
    def of_pictures(frames: NDArray[np.uint8]) -> "_Statistics":
        """Of colours in 0..1, each of shape (3, 1, 1) as LeRobot has them."""
        few = frames[::SPARSE, ::SPARSE, ::SPARSE].reshape(-1, 3).astype(np.float64) / 255
        least, largest, sums, squares = (
            part.reshape(3, 1, 1) for part in (few.min(0), few.max(0), few.sum(0), (few**2).sum(0))
        )
        return _Statistics(least, largest, sums, squares, len(few), len(frames))

    def joined(self, other: "_Statistics") -> "_Statistics":
        return _Statistics(
            np.minimum(self.least, other.least), np.maximum(self.largest, other.largest), self.sums + other.sums,
            self.squares + other.squares, self.count + other.count, self.rows + other.rows,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        mean = self.sums / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        parts = {"min": self.least, "max": self.largest, "mean": mean, "std": deviation}
        return {name: np.asarray(part).tolist() for name, part in parts.items()} | {"count": [self.rows]}


def _save_table(rows: list[dict[str, Any]], path: Path) -> None:
    arrow, parquet = require("pyarrow", "writing parquet"), require("pyarrow.parquet", "writing parquet")
    path.parent.mkdir(parents=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path)


def _save_tasks(tasks: dict[str, int], path: Path) -> None:
    """Tasks are the index of a pandas data frame: its name stands in the table's metadata."""
    arrow, parquet = require("pyarrow", "writing parquet"), require("pyarrow.parquet", "writing parquet")
    table = arrow.table({"task_index": arrow.array(tasks.values(), arrow.int64()), "task": arrow.array(tasks.keys())})
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), path)
