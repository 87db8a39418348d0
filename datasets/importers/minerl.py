"""MineRL v0.4 demonstrations: a folder per recording with ``recording.mp4``, ``rendered.npz`` and ``metadata.json``.

``rendered.npz`` holds ``reward`` (N,), ``action$NAME`` (N, ...) and ``observation$NAME`` (N + 1, ...), already aligned:
row t of an action and of the reward leads from observation t to observation t + 1. ``action$camera`` is [pitch, yaw] in
degrees. The video begins earlier than the arrays do (waiting, teleporting): its *last* frame belongs to the last
observation, ``metadata.json`` counts its frames. (Source: MineRL's publishing pipeline and data loader.) Arrays that
would need pickle are refused.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.importers.recording import Footage, Frame, Recording, episode_name
from worldsim.datasets.store.video import probe_video, stream_video
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.text_files import read_json, whole_number

FPS = 20
ARRAYS, VIDEO, ABOUT = "rendered.npz", "recording.mp4", "metadata.json"
# Arrays of a recording hold numbers of each step: hours of them fit.
MOST_BYTES = 64 * 2**20
# Choices of an item: "none", or what is crafted, placed and so on.
_CHOICES = ("place", "equip", "craft", "nearbyCraft", "nearbySmelt")


def find_minerl(source: Path) -> list[Recording]:
    """Recordings in a folder of recordings, or the folder of one."""
    found = []
    for arrays in sorted(path for path in source.rglob(ARRAYS) if path.is_file()):
        folder = arrays.parent
        name = folder.relative_to(source).as_posix() if folder != source else folder.name
        found.append(
            Recording(
                name=episode_name(name),
                origin=str(folder),
                open=partial(open_minerl, folder),
                # One demonstration is published under several tasks: its own folder's name tells which it is.
                group=folder.name,
                files=tuple(path for path in (folder / VIDEO, arrays) if path.is_file()),
                root=source,
                beside=(folder / ABOUT,),
            )
        )
    return found


def open_minerl(folder: Path) -> Footage:
    """One recording.

    Raises:
        ValueError: an array is missing, needs pickle or has a wrong length, or the video is too short.
        OSError: a file is missing.
    """
    arrays = _load(folder / ARRAYS)
    rewards = np.asarray(arrays.get("reward", ()), np.float32).reshape(-1)
    steps = len(rewards)
    if not steps:
        raise ValueError(f"{ARRAYS} has no rewards, hence no steps")
    info, about = probe_video(folder / VIDEO), _about(folder / ABOUT)
    counted = whole_number(f"{ABOUT}: true_video_frame_count", about.get("true_video_frame_count", info.frames))
    skipped = counted - (steps + 1)
    # A video may lack its very last frames: then the recording ends earlier.
    length = min(steps + 1, info.frames - skipped)
    if skipped < 0 or length < 2:
        raise ValueError(f"{info.frames} frames in {VIDEO} are too few for {steps} steps in {ARRAYS}")
    actions, events = minerl_actions(arrays, steps)
    terminated = np.zeros(length, np.bool_)
    terminated[-1] = length == steps + 1
    state, items = _state(arrays, length)
    return Footage(
        frames=partial(_frames, folder / VIDEO, skipped, length),
        actions=_rows(actions, length),
        rewards=_rows(rewards, length),
        terminated=terminated,
        state=state,
        events=[event for event in events if event["frame"] < length],
        provenance={
            "engine": "minecraft",
            "engine_version": "1.11.2",
            "source": "minerl-v0.4",
            "policy": "human",
            "policy_version": "a person",
            "task": folder.parent.name,
            "success": bool(about.get("success", False)),
            "keys": list(MINECRAFT.keys),
            "fps": FPS,
            "inventory_items": items,
            "video_frames": info.frames,
            "skipped_frames": skipped,
        },
    )


def minerl_actions(arrays: Mapping[str, NDArray[Any]], steps: int) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
    """MINECRAFT actions (N, 22) of N steps, and choices of items as events of the frame they lead to.

    Placing a block is pressing ``use``.

    Raises:
        ValueError: the actions are obfuscated, or an array has another length.
    """
    if "action$vector" in arrays:
        raise ValueError("its actions are obfuscated (action$vector): take the data set without VectorObf")
    actions, events = np.zeros((steps, MINECRAFT.size), np.float32), []
    known = {name: i for i, name in enumerate(MINECRAFT.keys)}
    for name, array in arrays.items():
        kind, _, key = name.partition("$")
        if kind != "action":
            continue
        if len(array) not in (steps, steps + 1):
            raise ValueError(f"{name} has {len(array)} rows for {steps} rewards")
        array = array[:steps]
        if key == "camera":
            actions[:, -2:] = array.reshape(steps, 2)
        elif key in known:
            actions[:, known[key]] = array.reshape(steps) > 0
        elif key in _CHOICES:
            chosen = [str(item) for item in array.reshape(steps).tolist()]
            for t, item in enumerate(chosen):
                if item not in ("none", "0", "air"):
                    events.append({"frame": t + 1, "kind": key, "item": item})
                    actions[t, known["use"]] = max(actions[t, known["use"]], float(key == "place"))
    if not np.isfinite(actions).all():
        raise ValueError("action$camera is not finite")
    return actions, events


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of actions, rewards and observations; those of no use here are not even read."""
    wanted: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            names = [name for name in names if name.startswith(("reward.", "action$", "observation$"))]
            size = sum(archive.getinfo(name).file_size for name in names)
            if size > MOST_BYTES:
                raise ValueError(f"{ARRAYS} declares {size} bytes, more than {MOST_BYTES}")
            for name in names:
                wanted[name.removesuffix(".npy")] = _array(archive.getinfo(name), archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{ARRAYS} is not a whole npz file: {error}") from error
    return wanted


def _array(about: zipfile.ZipInfo, content: bytes) -> NDArray[Any]:
    """One array of an npz file; its header may not promise more than is there."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read_header(file)
    except ValueError as error:
        raise ValueError(f"{about.filename} is no array: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{ARRAYS} holds pickled objects, which are never loaded")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{about.filename} promises {shape} of {dtype}, but has {len(content) - file.tell()} bytes")
    array = np.frombuffer(content, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if by_columns else "C")


def _state(arrays: Mapping[str, NDArray[Any]], length: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The inventory as counts (F, K) and the names of its columns; compass angles and the like as they are."""
    state: dict[str, NDArray[Any]] = {}
    counts = {}
    for name, array in arrays.items():
        parts = name.split("$")
        if parts[0] != "observation" or len(array) < length or array.dtype.kind not in "biuf":
            continue
        if parts[1] == "inventory":
            counts[parts[-1]] = array[:length].reshape(length).astype(np.int32)
        elif parts[1] != "pov":
            state[".".join(parts[1:])] = array[:length]
    items = sorted(counts)
    if items:
        state["inventory"] = np.stack([counts[item] for item in items], 1)
    return state, items


def _rows(steps: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Rows of transitions for ``length`` frames: the last one unused."""
    out = np.zeros((length, *steps.shape[1:]), np.float32)
    out[:-1] = steps[: length - 1]
    return out


def _about(path: Path) -> dict[str, Any]:
    about = read_json(path) if path.is_file() else {}
    return about if isinstance(about, dict) else {}


def _frames(video: Path, skipped: int, length: int) -> Iterator[Frame]:
    return islice(stream_video(video), skipped, skipped + length)
