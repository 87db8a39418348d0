"""Videos as cameras, editors and converters leave them: turned, trimmed, with sound, covers and uneven frames."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

# Display matrices (a, b, c, d) by what they do to the stored picture.
TURNS = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "counterclockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
}


def levels(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frames (F, H, W, 3) of one grey each: frame t has level 8 t + 8."""
    return np.repeat(8 * np.arange(1, frames + 1, dtype=np.uint8), height * width * 3).reshape(frames, height, width, 3)


def shown_levels(frames: np.ndarray) -> list[int]:
    """Which frames of ``levels`` these are."""
    return [round(float(frame.mean()) / 8) - 1 for frame in frames]


def turn_video(path: Path, how: str) -> None:
    """Write a display matrix into the track header of an mp4."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = TURNS[how]
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def write_stamped(path: Path, frames: np.ndarray, stamps: Sequence[float], codec: str = "libx264") -> None:
    """A video whose frame t is shown at ``stamps[t]`` seconds; mp4 cuts off what lies before zero by an edit list."""
    step = Fraction(1, 1000)
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream: Any = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.time_base = step
        stream.options = {"crf": "8", "bf": "0"}
        for stamp, picture in zip(stamps, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(stamp * 1000), step
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_with_sound(path: Path, frames: np.ndarray, *, late: float = 0.0, sound: float = 3.0) -> None:
    """A video at 20 Hz that begins ``late`` seconds after its sound, which comes first in the file."""
    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream("aac", rate=16000)
        stream: Any = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for start in range(0, int(sound * 16000) // 1024 * 1024, 1024):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 16000, start
            container.mux(audio.encode(tone))
        container.mux(audio.encode())
        for t, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (late + t / 20)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_with_cover(path: Path, frames: np.ndarray) -> None:
    """A video with a picture of another size attached as its cover."""
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        stream: Any = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), format="rgb24")
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
