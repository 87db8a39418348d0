"""Look at one episode for the checks: its bytes, its actions, its clock, its pose and a sample of its pictures."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.checks.actions import ActionCount, count_actions, impossible_actions
from worldsim.datasets.checks.chunks import ArrayChunks, DamagedArrayError, arrays_folder
from worldsim.datasets.checks.clock import TIME_NAMES, Clock, read_clock
from worldsim.datasets.checks.motion import MotionWindow, motion_window
from worldsim.datasets.checks.pictures import WINDOW, PictureCount, choose_windows, look_at_pictures
from worldsim.datasets.checks.reprojection import Reprojection, measure_reprojection, poses_of
from worldsim.datasets.store.episode import DEPTH, PICTURES
from worldsim.datasets.store.manifest import path_sha256
from worldsim.spec.camera import Camera

_UPLOAD = re.compile(r"arrays\.[0-9a-f]{8}/")


@dataclass(frozen=True, kw_only=True)
class LookPlan:
    """How closely to look at an episode.

    Attributes:
        windows: of 64 frames; None for all.
        hash_files: whether to compare the sha256 of every file; sizes are compared always.
        hash_every: frames from one perceptual hash to the next.
        frozen_difference: mean absolute difference, of 255, below which two frames are one.
        most_degrees: that the mouse can turn in a frame.
    """

    windows: int | None
    hash_files: bool
    hash_every: int
    frozen_difference: float
    most_degrees: float


@dataclass
class Look:
    """What was found in one episode.

    Attributes:
        manifest: of the episode.
        damage: what is not as it was written.
        impossible: values that cannot be.
        actions, clock, pictures: see there; None where they could not be read or are not known.
        pose: how the recorded yaw answers to the mouse.
        reprojection: what depth, pose and camera say of the pictures.
        content: hash of the files of the frames: equal for equal recordings.
    """

    manifest: Mapping[str, Any]
    damage: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    actions: ActionCount | None = None
    clock: Clock | None = None
    pictures: PictureCount | None = None
    pose: MotionWindow | None = None
    reprojection: Reprojection | None = None
    content: str = ""

    @property
    def name(self) -> str:
        """Of the episode."""
        return str(self.manifest["name"])

    @property
    def split(self) -> str:
        """Of the episode; empty if it has none."""
        return str(self.manifest["provenance"].get("split") or "")

    @property
    def group(self) -> str:
        """What was recorded in one way, and so is aligned in one way."""
        about = self.manifest["provenance"]
        maker = str(about.get("source") or about.get("engine") or "unknown source")
        width, height = self.manifest["size"]
        return f"{maker}, {width}x{height}, {about.get('fps', '?')} Hz"


def inspect_episode(folder: Path, manifest: Mapping[str, Any], plan: LookPlan) -> Look:
    """Look at one episode; whatever is wrong with it is in the result, nothing is raised for damage.

    Args:
        folder: of the episode.
        manifest: its verified manifest.
        plan: how closely to look.
    """
    look = Look(manifest, damage=compare_files(folder, manifest, hash_files=plan.hash_files))
    frames = [value["sha256"] for path, value in manifest["files"].items() if "/frames/c/" in path]
    look.content = hashlib.sha256("".join(frames).encode()).hexdigest() if frames else ""
    if any(" is missing" in line or " has " in line for line in look.damage):
        return look
    arrays = _small_arrays(arrays_folder(folder, manifest), manifest, look)
    actions = arrays.get("actions")
    keys = tuple(map(str, manifest["provenance"].get("keys") or ()))
    if actions is None or len(actions) != manifest["frames"]:
        return look
    recorded = manifest["provenance"].get("actions", "recorded") != "unknown"
    camera = recorded and actions.shape[1] - len(keys) == 2
    _inspect_arrays(look, arrays, actions, keys, plan, recorded=recorded)
    if plan.windows != 0:
        _inspect_pictures(look, arrays_folder(folder, manifest) / "frames", actions, plan, camera=camera)
        _inspect_depth(look, arrays_folder(folder, manifest), arrays, plan)
    return look


def _inspect_arrays(
    look: Look,
    arrays: Mapping[str, NDArray[Any]],
    actions: NDArray[Any],
    keys: tuple[str, ...],
    plan: LookPlan,
    *,
    recorded: bool,
) -> None:
    """Note in ``look`` what its actions, poses and times are, and which values are impossible."""
    look.impossible += _impossible(arrays, actions, keys, plan.most_degrees)
    state = {name.removeprefix("state/"): array for name, array in arrays.items() if name.startswith("state/")}
    angles = actions.shape[1] - len(keys)
    if angles in (0, 2):
        look.actions = count_actions(actions, keys, recorded=recorded)
    if recorded and angles == 2 and "yaw" in state and len(actions) > 2:
        look.pose = _pose_window(state["yaw"], actions[:-1, -1])
    try:
        look.clock = read_clock(state)
    except ValueError as error:
        look.impossible.append(str(error))


def _inspect_pictures(look: Look, frames: Path, actions: NDArray[Any], plan: LookPlan, *, camera: bool) -> None:
    """Note in ``look`` what its pictures show, or which of them are damaged."""
    try:
        look.pictures = look_at_pictures(
            _read_windows(frames, choose_windows(len(actions), plan.windows)),
            actions,
            camera=camera,
            frozen_difference=plan.frozen_difference,
            hash_every=plan.hash_every,
        )
    except DamagedArrayError as error:
        look.damage.append(str(error))


def _inspect_depth(look: Look, folder: Path, arrays: Mapping[str, NDArray[Any]], plan: LookPlan) -> None:
    """Note in ``look`` how well frames fit onto their successors by depth, pose and camera, where all are recorded."""
    poses = poses_of({name.removeprefix("state/"): array for name, array in arrays.items()})
    about = look.manifest["provenance"].get("camera")
    if f"state/{DEPTH}" not in look.manifest["arrays"] or poses is None or not isinstance(about, Mapping):
        return
    try:
        camera, look.reprojection = Camera.from_json(about), Reprojection()
        frames, depth = ArrayChunks(folder / "frames"), ArrayChunks(folder / "state" / DEPTH)
        for start in choose_windows(len(poses), plan.windows):
            part = slice(start, min(start + WINDOW, len(poses)))
            pictures, depths = (array.read_rows(part.start, part.stop) for array in (frames, depth))
            look.reprojection.add(measure_reprojection(pictures, depths, poses[part], camera))
    except DamagedArrayError as error:
        if str(error) not in look.damage:
            look.damage.append(str(error))
    except ValueError as error:
        look.impossible.append(str(error))


def compare_files(folder: Path, manifest: Mapping[str, Any], *, hash_files: bool) -> list[str]:
    """What differs between an episode's files and its manifest, one line each."""
    files = manifest["files"]
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    # Of two writers to a place without renames the second one leaves its arrays in a folder of their own.
    found = {path for path in found if path in files or not _UPLOAD.match(path)}
    wrong = [f"{path} is not its own" for path in sorted(found - set(files))]
    for path, expected in files.items():
        if path not in found:
            wrong.append(f"{path} is missing")
        elif (size := (folder / path).stat().st_size) != expected["size"]:
            wrong.append(f"{path} has {size} bytes of {expected['size']}")
        elif hash_files and path_sha256(folder / path) != expected["sha256"]:
            wrong.append(f"{path} differs from what was written")
    return wrong


def _small_arrays(folder: Path, manifest: Mapping[str, Any], look: Look) -> dict[str, NDArray[Any]]:
    """All arrays but pictures and depth; those that are damaged are named in ``look`` and left out."""
    arrays = {}
    for name in manifest["arrays"]:
        if name not in PICTURES:
            try:
                arrays[name] = ArrayChunks(folder / name).read_all()
            except DamagedArrayError as error:
                look.damage.append(str(error))
    return arrays


def _impossible(
    arrays: Mapping[str, NDArray[Any]], actions: NDArray[np.float32], keys: tuple[str, ...], most_degrees: float
) -> list[str]:
    wrong = impossible_actions(actions, keys, most_degrees)
    for name, array in arrays.items():
        # The clock says more about its own times.
        if name not in ("actions", *(f"state/{time}" for time in TIME_NAMES)) and array.dtype.kind == "f":
            bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
            if bad.any():
                wrong.append(f"{int(bad.sum())} rows of {name} are not numbers (first at frame {int(bad.argmax())})")
    return wrong


def _pose_window(yaw: NDArray[np.floating], mouse: NDArray[np.float32]) -> MotionWindow:
    """The recorded yaw against the mouse; jumps (a teleport, a death) do not count."""
    turned = (np.diff(np.nan_to_num(yaw.astype(np.float64).reshape(len(yaw), -1)[:, 0])) + 180) % 360 - 180
    return motion_window(np.nan_to_num(mouse), turned, (np.abs(turned) < 90).astype(np.float64))


def _read_windows(folder: Path, starts: list[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    frames = ArrayChunks(folder)
    total = frames.layout.shape[0]
    for start in starts:
        yield start, frames.read_rows(start, min(start + WINDOW, total))
