"""Read and write H.264 video as uint8 RGB arrays."""

import os
import uuid
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


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
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such video: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            # Without this, FFmpeg conceals damage and truncation by repeating what it has.
            stream.codec_context.options = {"err_detect": "explode"}
            width, height = size or (stream.codec_context.width, stream.codec_context.height)
            promised = stream.frames
            frames = [
                frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
                for frame in container.decode(stream)
            ]
    except FFmpegError as error:
        raise ValueError(f"{path} is not a whole video file: {error.strerror}") from error
    if not frames:
        raise ValueError(f"{path} has no frames")
    if len(frames) < promised:
        raise ValueError(f"{path} is truncated: {len(frames)} of {promised} frames can be read")
    return np.stack(cast(list[Frames], frames))


class VideoWriter:
    """Write frames one by one to an mp4 file (H.264, yuv420p), which appears under its name only when it is whole.

    Args:
        path: file to write; an existing one is replaced.
        fps: frames a second.
        crf: H.264 quality, 0 (lossless in its colour space) to 51; 18 looks like the original.

    Raises:
        ValueError: a frame is not uint8 (H, W, 3) with even sides, or its size differs from the first.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 20, *, crf: int = 18):
        self.path = Path(path)
        if self.path.suffix != ".mp4":
            raise ValueError(f"videos are written as .mp4, got {self.path.name!r}")
        if fps <= 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._aside = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex}.mp4")
        self._container = av.open(str(self._aside), "w")
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = cast(VideoStream, self._container.add_stream("libx264", rate=rate))
        self._stream.pix_fmt = "yuv420p"
        # Exact number of threads, so that the file does not depend on the machine.
        self._stream.options = {"crf": str(crf), "preset": "medium", "threads": "2"}
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


def write_video(path: str | os.PathLike[str], frames: NDArray[Any], fps: float = 20, *, crf: int = 18) -> None:
    """Write frames, uint8 (F, H, W, 3), RGB, to an mp4 file; see ``VideoWriter``."""
    if frames.ndim != 4 or len(frames) == 0:
        raise ValueError(f"frames must be uint8 (F, H, W, 3) with F at least 1, got {frames.dtype} {frames.shape}")
    with VideoWriter(path, fps, crf=crf) as video:
        for frame in frames:
            video.append(frame)
