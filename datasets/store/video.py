"""Read and write H.264 video as uint8 RGB arrays."""

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


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
    """Count the frames of a video file and read their times, without decoding.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, is truncated, or has no frames.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        stamps = sorted(p.pts for p in container.demux(stream) if p.size and p.pts is not None)
        if not stamps:
            raise ValueError(f"{path} has no frames")
        if len(stamps) < stream.frames:
            raise ValueError(f"{path} is truncated: {len(stamps)} of {stream.frames} frames can be read")
        times = (np.array(stamps) - stamps[0]) * float(stream.time_base or 1)
        fps = float(stream.average_rate or 0) or (len(times) - 1) / max(times[-1], 1e-6) or 1.0
        width, height = stream.codec_context.width, stream.codec_context.height
    return VideoInfo(width=width, height=height, frames=len(times), fps=fps, times=times)


def verify_video(path: str | os.PathLike[str]) -> None:
    """Decode every frame and keep none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, is truncated or damaged, or has no frames.
    """
    with _opened(Path(path)) as (container, stream):
        for _ in _decoded(Path(path), container, stream):
            pass


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
        width, height = size or (stream.codec_context.width, stream.codec_context.height)
        first = 0
        if start > 0:
            first = (stream.start_time or 0) + round(start / float(stream.time_base or 1))
            container.seek(first, stream=stream, backward=True)
        for frame in _decoded(path, container, stream, whole=not first):
            if first and (frame.pts or 0) < first:
                continue
            # At its own size a frame only changes colour space: averaging would cost three times as much.
            how = "AREA" if size else None
            yield cast(Frames, frame.to_ndarray(format="rgb24", width=width, height=height, interpolation=how))


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


def read_picture(source: str | os.PathLike[str] | bytes) -> Frames:
    """Read a picture (PNG, JPEG, WebP, BMP, TIFF, ...; a file or its bytes) as uint8 (H, W, 3), RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole picture.
    """
    name = "a picture" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise FileNotFoundError(f"no such picture: {name}")
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else name, "r") as container:
            if not container.streams.video:
                raise ValueError(f"{name} is not a picture")
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            frame = next(container.decode(stream), None)
            if frame is None:
                raise ValueError(f"{name} is not a whole picture")
            return cast(Frames, frame.to_ndarray(format="rgb24"))
    except FFmpegError as error:
        raise ValueError(f"{name} is not a whole picture: {error.strerror}") from error


def scale_picture(picture: Frames, size: tuple[int, int]) -> Frames:
    """Scale uint8 (H, W, 3) to (width, height): by area averaging, or bicubic where a side grows."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    how = "BICUBIC" if size[0] > width or size[1] > height else "AREA"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return cast(Frames, frame.to_ndarray(format="rgb24", width=size[0], height=size[1], interpolation=how))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    if not path.is_file():
        raise FileNotFoundError(f"no such video: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            # Without this, FFmpeg conceals damage and truncation by repeating what it has.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except FFmpegError as error:
        raise ValueError(f"{path} is not a whole video file: {error.strerror}") from error


def _decoded(path: Path, container: InputContainer, stream: VideoStream, whole: bool = True) -> Iterator[av.VideoFrame]:
    found = 0
    for frame in container.decode(stream):
        found += 1
        yield frame
    if not found:
        raise ValueError(f"{path} has no frames")
    if whole and found < stream.frames:
        raise ValueError(f"{path} is truncated: {found} of {stream.frames} frames can be read")


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
        self.path = Path(path)
        if self.path.suffix != ".mp4":
            raise ValueError(f"videos are written as .mp4, got {self.path.name!r}")
        if fps <= 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._aside = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex}.mp4")
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
            raise ValueError(
                f"frame {self.frames} is {width}x{height}, the first was {self._stream.width}x{self._stream.height}"
            )
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
