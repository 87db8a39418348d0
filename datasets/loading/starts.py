"""Start clips: short recordings of the real game that a learned world begins from, shipped beside the checkpoint.

A folder holds ``000.mp4, 001.mp4, ...`` (equal number of frames F), ``starts.safetensors`` (``actions``, float32
(S, F - 1, A); ``poses`` and ``depth`` where the game told them) and ``starts.json`` (format, names of the action
vector, checksum and provenance of each clip).
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.video import read_video, write_video
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

FORMAT = 1
CRF = 14


@dataclass(frozen=True, kw_only=True)
class StartClips:
    """S start clips of F frames each.

    Attributes:
        frames: uint8 (S, F, H, W, 3).
        actions: float32 (S, F - 1, A); action t leads from frame t to frame t + 1.
        keys: names of the action vector without the mouse.
        provenance: one mapping per clip (game, map seed, split, episode, first frame, licence).
        poses: float32 (S, F, 5): x, y, z in metres, yaw and pitch in degrees, as recorded; None where not known.
        depth: of each clip's last frame, uint16 (S, H, W) as in ``Episode.state["depth"]``; None where not known.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    keys: tuple[str, ...]
    provenance: Sequence[Mapping[str, Any]]
    poses: NDArray[np.float32] | None = None
    depth: NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ValueError: arrays and provenance do not fit together.
        """
        if self.frames.ndim != 5 or self.frames.dtype != np.uint8 or self.frames.shape[-1] != 3 or not len(self.frames):
            raise ValueError(f"frames must be uint8 (S, F, H, W, 3), got {self.frames.dtype} {self.frames.shape}")
        clips, frames = self.frames.shape[:2]
        if self.actions.ndim != 3 or self.actions.shape[:2] != (clips, frames - 1):
            raise ValueError(f"actions must be ({clips}, {frames - 1}, A), got {self.actions.shape}")
        if self.actions.dtype != np.float32 or not np.isfinite(self.actions).all():
            raise ValueError(f"actions must be finite float32, got {self.actions.dtype}")
        expected = {"poses": ((clips, frames, 5), np.float32), "depth": ((clips, *self.frames.shape[2:4]), np.uint16)}
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
        if self.poses is not None and not np.isfinite(self.poses).all():
            raise ValueError("poses must be finite")
        if len(self.provenance) != clips:
            raise ValueError(f"{clips} clips, but provenance of {len(self.provenance)}")

    def __len__(self) -> int:
        """Number of clips S."""
        return len(self.frames)

    def known(self, number: int | list[int]) -> dict[str, NDArray[Any] | None]:
        """``poses`` and ``depth`` of a clip, or of some, as ``WorldModel.prefill`` takes them."""
        told = {"poses": self.poses, "depth": self.depth}
        return {name: None if array is None else array[number] for name, array in told.items()}


def save_starts(folder: str | os.PathLike[str], starts: StartClips, *, fps: float = 20, exact: bool = False) -> None:
    """Write start clips to a folder that does not exist yet; ``exact``: without loss."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=False)
    for i, frames in enumerate(starts.frames):
        write_video(folder / f"{i:03d}.mp4", frames, fps, crf=CRF, exact=exact)
    known = {"actions": starts.actions, "poses": starts.poses, "depth": starts.depth}
    arrays = {name: np.ascontiguousarray(array) for name, array in known.items() if array is not None}
    save_tensors(folder / "starts.safetensors", {name: torch.from_numpy(array) for name, array in arrays.items()})
    about = {
        "format": FORMAT,
        "fps": fps,
        "keys": list(starts.keys),
        "sha256": [_sha256(folder / f"{i:03d}.mp4") for i in range(len(starts))],
        "clips": [dict(p) for p in starts.provenance],
    }
    (folder / "starts.json").write_text(json.dumps(about, indent=1) + "\n")


def load_starts(folder: str | os.PathLike[str]) -> StartClips:
    """Read what ``save_starts`` wrote.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file is damaged, or they do not fit together.
    """
    folder = Path(folder)
    for name in ("starts.json", "starts.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no start clips in {folder}: {name} is missing")
    tensors, _ = load_tensors(folder / "starts.safetensors")
    with reading(folder, "a folder of start clips"):
        about = read_json(folder / "starts.json")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        actions = arrays["actions"]
        clips, keys, version, sums = about["clips"], tuple(about["keys"]), about["format"], list(about["sha256"])
        clips = [dict(clip) for clip in clips]
    if version != FORMAT:
        raise ValueError(f"start clips in {folder} have format {version}, this version reads {FORMAT}")
    frames = []
    for i, expected in enumerate(sums):
        path = folder / f"{i:03d}.mp4"
        frames.append(read_video(path))
        if _sha256(path) != expected:
            raise ValueError(f"{path} differs from what was written")
    if len({f.shape for f in frames}) != 1:
        raise ValueError(f"start clips in {folder} differ in size or length: {sorted({f.shape for f in frames})}")
    with reading(folder, "a folder of start clips"):
        return StartClips(
            frames=np.stack(frames),
            actions=actions,
            keys=keys,
            provenance=clips,
            poses=arrays.get("poses"),
            depth=arrays.get("depth"),
        )


def recorded_poses(clip: Episode) -> NDArray[np.float32] | None:
    """Poses (F, 5) of an episode's frames: x, y, z, yaw, pitch; None where they were not recorded."""
    if not {"position", "yaw", "pitch"} <= clip.state.keys():
        return None
    parts = [clip.state["position"], clip.state["yaw"][:, None], clip.state["pitch"][:, None]]
    return np.concatenate(parts, 1).astype(np.float32)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
