"""Pictures without actions: videos of anything, and folders of single images (episodes of one frame).

The action vector is zeros and ``provenance["actions"]`` is ``"unknown"``: training takes the learned null for it.
A text file beside a video or an image, under the same name, is its caption.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.datasets.importers.recording import Footage, Frame, Recording, base_of, files_below, names_of, still
from worldsim.datasets.store.picture import PICTURE_SUFFIXES, read_picture
from worldsim.datasets.store.video import VideoInfo, probe_video, stream_video
from worldsim.spec.actions import MINECRAFT, ActionSpec
from worldsim.spec.text_files import read_text

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
# An image has no rate; it takes the one of the store's other episodes.
IMAGE_FPS = 20


def find_videos(source: Path, spec: ActionSpec = MINECRAFT) -> list[Recording]:
    """Videos in a folder, or a single one; ``spec``: the actions that it has none of."""
    videos = files_below(source, VIDEO_SUFFIXES)
    return [
        Recording(
            name=name,
            origin=str(video),
            open=partial(open_video, video, spec),
            group=name,
            files=(video,),
            root=base_of(source),
            beside=(video.with_suffix(".txt"),),
        )
        for name, video in zip(names_of(videos, base_of(source)), videos, strict=True)
    ]


def find_images(source: Path, spec: ActionSpec = MINECRAFT, fps: float = IMAGE_FPS) -> list[Recording]:
    """Images in a folder, or a single one; ``spec``: the actions that it has none of."""
    images = files_below(source, PICTURE_SUFFIXES)
    return [
        Recording(
            name=name,
            origin=str(image),
            open=partial(open_image, image, spec, fps),
            group=name,
            files=(image,),
            root=base_of(source),
            beside=(image.with_suffix(".txt"),),
        )
        for name, image in zip(names_of(images, base_of(source)), images, strict=True)
    ]


def open_video(video: Path, spec: ActionSpec) -> Footage:
    """One video.

    Raises:
        ValueError: it cannot be read.
        OSError: it is missing.
    """
    info = probe_video(video)
    return _without_actions(
        info.frames,
        spec,
        frames=partial(stream_video, video),
        text=caption_beside(video),
        provenance={"source": "video", **video_rate(info)},
        times=None if info.steady else info.times,
    )


def open_image(image: Path, spec: ActionSpec, fps: float) -> Footage:
    """One image.

    Raises:
        ValueError: it cannot be read.
        OSError: it is missing.
    """
    picture = read_picture(image)

    def frames() -> Iterator[Frame]:
        yield picture

    about = {"source": "images", "fps": int(fps) if float(fps).is_integer() else fps}
    return _without_actions(1, spec, frames=frames, text=caption_beside(image), provenance=about)


def video_rate(info: VideoInfo) -> dict[str, Any]:
    """Provenance of a video's rate: its frames a second, and whether the frames last equally long."""
    fps = int(info.fps) if float(info.fps).is_integer() else round(info.fps, 4)
    return {"fps": fps} if info.steady else {"fps": fps, "rate": "variable"}


def caption_beside(path: Path) -> str:
    """The text of NAME.txt beside NAME.mp4, on one line; empty where there is none.

    Raises:
        UserError: it is no text.
    """
    caption = path.with_suffix(".txt")
    return " ".join(read_text(caption).split()) if caption.is_file() else ""


def _without_actions(length: int, spec: ActionSpec, *, provenance: dict[str, Any], **rest: Any) -> Footage:
    actions = np.zeros((length, spec.size), np.float32)
    rewards, terminated = still(actions)
    about = {"engine": "unknown", "policy": "unknown", "actions": "unknown", "keys": list(spec.keys)}
    return Footage(actions=actions, rewards=rewards, terminated=terminated, provenance={**about, **provenance}, **rest)
