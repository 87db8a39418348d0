"""Plain recordings of any game: a video and beside it, under the same name, a csv or jsonl with a row per frame.

    frame,forward,jump,pitch,yaw,reward        {"frame": 0, "forward": 1, "yaw": 2.5}
    0,1,0,0,2.5,0                              {"frame": 1, "forward": 1, "jump": 1, "yaw": -1.0}
    1,1,1,0,-1.0,1

Row t is what was done after frame t and is seen in frame t + 1. F frames have F rows, or F - 1: the last row is unused.
Columns left out and empty cells are 0.

- ``pitch``, ``yaw``: the mouse in degrees during that frame; positive looks down and right.
- ``reward``: of the transition from frame t to frame t + 1.
- ``terminated``: 1 if the episode ended for good at frame t.
- ``frame``: 0, 1, 2, ...; ``time``: seconds, rising. Both are for checking.
- ``state.NAME``: a number that was true in frame t.
- ``axis.NAME``: a continuous control, such as a stick, -1 to 1.
- every other column: a key, 0 or 1.

Depth, where the game knows it, is an array of NumPy beside the video, ``NAME.depth.npy``: uint16 (F, H, W) in the
video's size, 4096 for 1 / metre along the camera's axis, 0 in the sky.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.importers.pictures import VIDEO_SUFFIXES, caption_beside, video_rate
from worldsim.datasets.importers.recording import Footage, Recording, base_of, files_below, names_of
from worldsim.datasets.importers.vpt_files import is_vpt
from worldsim.datasets.recording.action_codec import AXIS
from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.video import index_times, probe_video, stream_video
from worldsim.errors import UserError
from worldsim.spec.actions import ActionSpec
from worldsim.spec.inside import inside
from worldsim.spec.text_files import MOST_COLUMNS, MOST_LINES, csv_rows, json_lines, table_number

MOUSE = ("pitch", "yaw")
RESERVED = ("frame", "time", "reward", "terminated", *MOUSE)
SUFFIXES = (".csv", ".jsonl")

Rows = list[dict[str, float]]


def table_of(video: Path) -> Path | None:
    """The table beside a video, if there is one (a VPT recording's jsonl is none)."""
    for suffix in SUFFIXES:
        path = video.with_suffix(suffix)
        if path.is_file() and not is_vpt(path):
            return path
    return None


def find_table(source: Path, spec: ActionSpec | None = None) -> list[Recording]:
    """Videos with their tables in a folder, or a single video.

    Args:
        source: folder or video.
        spec: the keys and their order; default: the columns of all tables in order of appearance.
    """
    videos = files_below(source, VIDEO_SUFFIXES)
    if source.is_dir():
        videos = [v for v in videos if not (v.with_suffix(".jsonl").is_file() and is_vpt(v.with_suffix(".jsonl")))]
    found = []
    for name, video in zip(names_of(videos, base_of(source)), videos, strict=True):
        table = table_of(video)
        if table is not None and spec is None:
            spec = _columns({t: v for v in videos if (t := table_of(v)) is not None}, base_of(source))
        files = tuple(p for p in (video, table, video.with_suffix(".depth.npy")) if p is not None and p.is_file())
        found.append(
            Recording(
                name=name,
                origin=str(video),
                open=partial(open_table, video, table, spec),
                group=name,
                files=files,
                root=base_of(source),
                beside=(video.with_suffix(".txt"),),
            )
        )
    return found


def open_table(video: Path, table: Path | None, spec: ActionSpec | None) -> Footage:
    """One recording.

    Raises:
        ValueError: the video cannot be read, or the table has a mistake (says in which line) or another length.
        OSError: a file is missing.
    """
    if table is None or spec is None:
        raise FileNotFoundError(f"no {video.stem}.csv or {video.stem}.jsonl beside it")
    info = probe_video(video)
    rows = read_rows(table, _most_rows(info.frames))
    if not rows or len(rows) not in (info.frames, info.frames - 1):
        raise ValueError(f"{table.name} has {len(rows)} rows for {info.frames} frames: give one row per frame")
    if not spec.size:
        raise UserError(f"{table.name} has no column of an action: name a key, pitch, yaw or axis.NAME")
    _check_order(table, rows)
    actions = _actions(table, rows, spec, info.frames)
    rewards = np.zeros(info.frames, np.float32)
    rewards[: len(rows)] = [row.get("reward", 0.0) for row in rows]
    rewards[-1] = 0
    terminated = np.zeros(info.frames, np.bool_)
    terminated[: len(rows)] = [_key(table, t, "terminated", row.get("terminated", 0.0)) for t, row in enumerate(rows)]
    state = _state(rows, info.frames)
    if (depth := _depth_beside(video, (info.frames, info.height, info.width))) is not None:
        state[DEPTH] = depth
    return Footage(
        frames=partial(stream_video, video),
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        state=state,
        text=caption_beside(video),
        provenance={
            "engine": "unknown",
            "source": "table",
            "policy": "unknown",
            "keys": list(spec.keys),
            **video_rate(info),
        },
        times=None if info.steady else info.times,
    )


def _most_rows(frames: int) -> int:
    """Rows that are read of a table whose video has so many frames: enough to say how many too many there are."""
    return 2 * frames + 40


def _depth_beside(video: Path, shape: tuple[int, int, int]) -> NDArray[np.uint16] | None:
    path = video.with_suffix(".depth.npy")
    if not path.is_file():
        return None
    try:
        depth = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{path.name} is not an array of NumPy: {error}") from error
    if not isinstance(depth, np.ndarray) or depth.dtype != np.uint16 or depth.shape != shape:
        raise UserError(f"{path.name} must be uint16 {shape}, one picture of depth for each frame of the video")
    return depth


def read_rows(table: Path, most: int = MOST_LINES) -> Rows:
    """The rows of a table, ``most`` at most: names to finite numbers.

    Raises:
        UserError: a mistake; says in which line.
    """
    lines: Iterable[tuple[int, Mapping[str, Any]]]
    if table.suffix == ".csv":
        _, lines, comma = csv_rows(table)
    else:
        lines, comma = json_lines(table, most=most), False
    rows: Rows = []
    for line, row in lines:
        if len(rows) == most:
            raise UserError(f"{table.name} has more than {most} rows")
        rows.append(
            {
                name: table_number(f"{table.name}, line {line}: {name}", value, decimal_comma=comma)
                for name, value in row.items()
            }
        )
    for name in dict.fromkeys(name for row in rows for name in row):
        if name not in RESERVED and name.lower() in RESERVED:
            raise UserError(f"{table.name}: column {name!r} would be a key: write {name.lower()!r}")
    return rows


def _columns(tables: Mapping[Path, Path], root: Path) -> ActionSpec:
    """Keys of all tables, by their videos, in order of appearance; what cannot be read is told when it is opened."""
    names: dict[str, None] = {}
    for table, video in tables.items():
        try:
            inside(root, table)
            by_row = table.suffix != ".csv"
            for row in read_rows(table, _most_rows(len(index_times(video)))) if by_row else [csv_rows(table)[0]]:
                names |= dict.fromkeys(row)
        except (ValueError, OSError):
            continue
    if len(names) > MOST_COLUMNS:
        raise UserError(f"the tables have {len(names)} columns together, more than {MOST_COLUMNS}")
    keys = tuple(n for n in names if n not in RESERVED and not n.startswith("state."))
    return ActionSpec(keys=keys, camera=any(n in names for n in MOUSE))


def _actions(table: Path, rows: Rows, spec: ActionSpec, frames: int) -> NDArray[np.float32]:
    actions = np.zeros((frames, spec.size), np.float32)
    places = {name: i for i, name in enumerate(spec.keys)}
    if spec.camera:
        places |= {"pitch": spec.size - 2, "yaw": spec.size - 1}
    for t, row in enumerate(rows[: frames - 1]):
        for name, value in row.items():
            if name in places:
                continuous = name in MOUSE or name.startswith(AXIS)
                actions[t, places[name]] = value if continuous else _key(table, t, name, value)
            elif name in MOUSE or (name not in RESERVED and not name.startswith("state.")):
                raise UserError(f"{table.name}: {name} is not among the keys ({', '.join([*places][:40])})")
    return actions


def _key(table: Path, t: int, name: str, value: float) -> float:
    if value not in (0.0, 1.0):
        raise UserError(f"{table.name}, row of frame {t}: {name} must be 0 or 1, got {value:g}")
    return value


def _check_order(table: Path, rows: Rows) -> None:
    for t, row in enumerate(rows):
        if row.get("frame", t) != t:
            raise UserError(f"{table.name}: frame {row['frame']:g} stands in the row of frame {t}")
        if t and row.get("time", 0.0) < rows[t - 1].get("time", 0.0):
            raise UserError(f"{table.name}: time goes back at frame {t}")


def _state(rows: Rows, frames: int) -> dict[str, NDArray[Any]]:
    """What the rows tell of frames; with a row less than frames the last value holds on."""
    names = [
        name for name in dict.fromkeys(n for row in rows for n in row) if name.startswith("state.") or name == "time"
    ]
    padded = rows if len(rows) == frames else [*rows, rows[-1]]
    return {
        name.removeprefix("state."): np.array(
            [row.get(name, 0.0) for row in padded], np.float64 if name == "time" else np.float32
        )
        for name in names
    }
