"""Read videos as a person sees them, as uint8 RGB arrays, and write H.264.

Frames that are shown count, not packets: what an edit list cuts off, what only primes the decoder and pictures that
are never shown are left out. A file is opened as a file, whatever its name looks like, and only in containers that
cannot name other files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from worldsim.asides import aside_of
from worldsim.datasets.store.picture import (
    Frames,
    Nameless,
    Orientation,
    check_pixels,
    orientation_of,
    shown_picture,
)

# FFmpeg also reads playlists and scripts, which name other files and addresses: those are left out.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,ogg,flv,asf,gif"


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video file says of itself, found without decoding it.

    Attributes:
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        frames: number of frames in the file.
        fps: average frames a second.
        times: float64 (frames,), when each frame is shown, in seconds from the first one.
    """

    width: int
    height: int
    frames: int
    fps: float
    times: NDArray[np.float64]

    @property
    def steady(self) -> bool:
        """Whether all frames last equally long (to half a frame)."""
        return len(self.times) < 3 or bool(np.ptp(np.diff(self.times)) < 0.5 / self.fps)


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Count the frames of a video file and read their times; every frame is decoded and none kept.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, is truncated or damaged, or has no frames.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or 0)
        stamps, size = [], (0, 0)
        for number, frame in enumerate(_decoded(path, container, stream)):
            if number == 0:
                size = orientation_of(frame).size(frame.width, frame.height)
            stamps.append(frame.time if frame.time is not None else number / (rate or 1.0))
    times = np.array(stamps) - stamps[0]
    fps = _rate(times, rate)
    return VideoInfo(width=size[0], height=size[1], frames=len(times), fps=fps, times=times)


def index_times(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """When the frames of a video are shown, in seconds from the first one: float64 (frames,), from the index alone.

    For long files of which a part is read; frames that do not decode are not noticed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, or has no frames.
    """
    about = os.stat(path)
    return _index_times(Path(path), about.st_mtime_ns, about.st_size)


# Hundreds of episodes may lie in one file.
@lru_cache(maxsize=16)
def _index_times(path: Path, changed: int, size: int) -> NDArray[np.float64]:
    with _opened(path) as (container, stream):
        packets = (p for p in container.demux(stream) if p.size and not p.is_discard)
        stamps = sorted(p.pts for p in packets if p.pts is not None)
        if not stamps:
            raise ValueError(f"{path} has no frames")
        return (np.array(stamps) - stamps[0]) * float(stream.time_base or 1)


def _rate(times: NDArray[np.float64], told: float) -> float:
    """Frames a second: of the frames that are shown, or what the file tells where these agree to a percent."""
    shown = (len(times) - 1) / times[-1] if times[-1] > 0 else told
    return told if told and abs(shown - told) <= 0.01 * told else shown or told or 1.0


def stream_video(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    start: float = 0.0,
) -> Iterator[Frames]:
    """Frames of a video file one by one, uint8 (H, W, 3), RGB.

    Args:
        path: a file that FFmpeg can read.
        size: (width, height) in pixels to scale each frame to by area averaging; default: as stored.
        start: seconds after the first frame; frames before it are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, is truncated or damaged, or has no frames.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        orientation: Orientation | None = None
        first = 0
        if start > 0:
            first = (stream.start_time or 0) + round(start / float(stream.time_base or 1))
            container.seek(first, stream=stream, backward=True)
        for frame in _decoded(path, container, stream, whole=not first):
            if first and (frame.pts or 0) < first:
                continue
            orientation = orientation or orientation_of(frame)
            yield shown_picture(frame, orientation, size)


def read_video(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None) -> Frames:
    """Read every frame of a video file.

    Args:
        path: a file that FFmpeg can read.
        size: (width, height) in pixels to scale each frame to by area averaging; default: as stored.

    Returns:
        uint8 (F, H, W, 3), RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, is truncated or damaged, or has no frames.
    """
    return np.stack(list(stream_video(path, size=size)))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    if not path.is_file():
        raise FileNotFoundError(f"no such video: {path}")
    try:
        with (
            path.open("rb") as file,
            av.open(Nameless(file), "r", options={"format_whitelist": _FORMATS}) as container,
        ):
            stream = _film_stream(path, container)
            check_pixels(str(path), stream.codec_context.width, stream.codec_context.height)
            # Without this, FFmpeg conceals damage and truncation by repeating what it has.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except FFmpegError as error:
        raise ValueError(f"{path} is not a whole video file: {error.strerror}") from error


def _film_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first video that is not a cover picture."""
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not films:
        raise ValueError(f"{path} has no video stream")
    return films[0]


def _decoded(path: Path, container: InputContainer, stream: VideoStream, whole: bool = True) -> Iterator[av.VideoFrame]:
    found = 0
    for frame in container.decode(stream):
        found += 1
        yield frame
    if not found:
        raise ValueError(f"{path} has no frames")
    if whole and found < (promised := _promised(container, stream)):
        raise ValueError(f"{path} is truncated: {found} of {promised} frames can be read")


def _promised(container: InputContainer, stream: VideoStream) -> int:
    """How many frames the file says that it shows, 0 where it does not say."""
    if not stream.frames:
        return 0
    entries = list(stream.index_entries)
    unseen = sum(entry.is_discard or not entry.size for entry in entries)
    # What an edit list cuts off is gone from the index, and still counted by the header.
    return (len(entries) if "mov" in container.format.name else stream.frames) - unseen


class VideoWriter:
    """Write frames one by one to an mp4 file (H.264, yuv420p), which appears under its name only when it is whole.

    Args:
        path: file to write; an existing one is replaced.
        fps: frames a second.
        crf: H.264 quality, 0 (lossless in its colour space) to 51; 18 looks like the original.
        exact: keep every pixel as it is, in RGB; not every player shows such files.

    Raises:
        ValueError: a frame is not uint8 (H, W, 3) with even sides, or its size differs from the first.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 20, *, crf: int = 18, exact: bool = False):
        self.path = Path(path).absolute()
        if self.path.suffix != ".mp4":
            raise ValueError(f"videos are written as .mp4, got {self.path.name!r}")
        if fps <= 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._aside = aside_of(self.path, ".mp4")
        self._container = av.open(str(self._aside), "w")
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = cast(VideoStream, self._container.add_stream("libx264rgb" if exact else "libx264", rate=rate))
        self._stream.pix_fmt = "rgb24" if exact else "yuv420p"
        # Exact number of threads, so that the file does not depend on the machine.
        self._stream.options = {"crf": str(0 if exact else crf), "preset": "medium", "threads": "2"}
        self.frames = 0

    def append(self, frame: NDArray[Any]) -> None:
        """Add one frame, uint8 (H, W, 3), RGB."""
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            raise ValueError(f"H.264 needs even sides, got {width}x{height}")
        if self.frames == 0:
            self._stream.width, self._stream.height = width, height
        elif (self._stream.width, self._stream.height) != (width, height):
            first = f"{self._stream.width}x{self._stream.height}"
            raise ValueError(f"frame {self.frames} is {width}x{height}, the first was {first}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; a video without frames is not written."""
        if self.frames:
            self._container.mux(self._stream.encode())
        self._container.close()
        if self.frames:
            self._aside.replace(self.path)
        self._aside.unlink(missing_ok=True)

    def discard(self) -> None:
        """Give the file up."""
        self._container.close()
        self._aside.unlink(missing_ok=True)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def write_video(
    path: str | os.PathLike[str], frames: NDArray[Any], fps: float = 20, *, crf: int = 18, exact: bool = False
) -> None:
    """Write frames, uint8 (F, H, W, 3), RGB, to an mp4 file; see ``VideoWriter``."""
    if frames.ndim != 4 or len(frames) == 0:
        raise ValueError(f"frames must be uint8 (F, H, W, 3) with F at least 1, got {frames.dtype} {frames.shape}")
    with VideoWriter(path, fps, crf=crf, exact=exact) as video:
        for frame in frames:
            video.append(frame)
