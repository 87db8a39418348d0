"""Pictures as a person sees them: turned upright, transparency resolved; read from files or bytes, and scaled.

Cameras store pictures as their sensor lies and note the turn beside them: EXIF tag 274 in pictures (JPEG, PNG, WebP,
TIFF), the display matrix in videos. Transparent pixels have a colour that nobody sees: they are shown over black.
"""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type
from numpy.typing import NDArray
from PIL import Image, ImageOps

Frames = NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# A picture of more pixels is taken for an attack: a few kilobytes can declare gigabytes.
MOST_PIXELS = 50_000_000
# Containers of pictures that FFmpeg may open: none of them names other files.
_FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif"
_KNOWN = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# FFmpeg refuses many a TIFF when it is to notice damage, and animated WebP: Pillow reads these.
_DIFFICULT = ("TIFF", "WEBP")
_EXIF_ORIENTATION = 274


class Nameless:
    """An open file without its name: FFmpeg takes names for addresses, options and patterns, and guesses by them."""

    def __init__(self, file: BinaryIO):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How stored pixels are turned to be shown: first rows and columns exchanged, then each turned about.

    Attributes:
        transposed: rows become columns.
        rows: turned upside down.
        columns: turned left to right.
    """

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def show(self, stored: Frames) -> Frames:
        """The picture (H, W, 3) as it is shown."""
        shown = stored.swapaxes(0, 1) if self.transposed else stored
        shown = shown[:: -1 if self.rows else 1, :: -1 if self.columns else 1]
        return np.ascontiguousarray(shown)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown of a picture stored as (width, height), and the other way round."""
        return (height, width) if self.transposed else (width, height)


UPRIGHT = Orientation()
# By the number in EXIF.
_EXIF = {
    2: Orientation(columns=True),
    3: Orientation(rows=True, columns=True),
    4: Orientation(rows=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, columns=True),
    7: Orientation(transposed=True, rows=True, columns=True),
    8: Orientation(transposed=True, rows=True),
}
# By quarters of a turn, counterclockwise.
_TURNS = (UPRIGHT, _EXIF[8], _EXIF[3], _EXIF[6])


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How a decoded video frame is turned to be shown, from its display matrix.

    Turns that are no multiple of 90 degrees are taken for the nearest one.
    """
    try:
        matrix = cast("Any", frame.side_data).get(Type.DISPLAYMATRIX)
    except ValueError:
        # A kind of side data that this PyAV does not know hides the matrix: its rotation is told all the same.
        return _TURNS[round(frame.rotation / 90) % 4]
    if matrix is None:
        return UPRIGHT
    # Column p and row q are shown at column a p + c q and row b p + d q (ISO/IEC 14496-12, 6.2.2).
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(rows=d < 0, columns=a < 0)
    return Orientation(transposed=True, rows=b < 0, columns=c < 0)


def shown_picture(frame: av.VideoFrame, orientation: Orientation, size: tuple[int, int] | None = None) -> Frames:
    """A decoded frame as a person sees it, uint8 (H, W, 3), RGB.

    Args:
        frame: as FFmpeg decoded it.
        orientation: how it is turned.
        size: (width, height) in pixels of the upright picture, scaled by area averaging; default: its own.
    """
    # At its own size a frame only changes colour space: averaging would cost three times as much.
    width, height = orientation.size(*size) if size else (frame.width, frame.height)
    options: dict[str, Any] = {"width": width, "height": height, "interpolation": "AREA" if size else None}
    if frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components):
        pixels = _over_black(cast(Frames, frame.to_ndarray(format="rgba", **options)))
    else:
        pixels = cast(Frames, frame.to_ndarray(format="rgb24", **options))
    return np.ascontiguousarray(pixels) if orientation == UPRIGHT else orientation.show(pixels)


def _over_black(layered: Frames) -> Frames:
    """RGBA (H, W, 4) as RGB."""
    weights = layered[..., 3:].astype(np.uint16)
    return ((layered[..., :3] * weights + 127) // 255).astype(np.uint8)


def check_pixels(name: str, width: int, height: int) -> None:
    """Refuse a picture that declares more than ``MOST_PIXELS``.

    Raises:
        ValueError: it does.
    """
    if width * height > MOST_PIXELS:
        raise ValueError(f"{name} declares {width}x{height} pixels, more than {MOST_PIXELS:,}")


def read_picture(source: str | os.PathLike[str] | bytes) -> Frames:
    """Read a picture (PNG, JPEG, WebP, BMP, TIFF, GIF; a file or its bytes) as uint8 (H, W, 3), RGB, upright.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole picture, or of more than ``MOST_PIXELS``.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "a picture")
    if not Path(source).is_file():
        raise FileNotFoundError(f"no such picture: {source}")
    with Path(source).open("rb") as file:
        return _read(file, str(source))


def _read(file: BinaryIO, name: str) -> Frames:
    # The header comes first: FFmpeg decodes a picture to learn its size.
    kind, orientation = _header(file, name)
    file.seek(0)
    try:
        with av.open(Nameless(file), "r", options={"format_whitelist": _FORMATS}) as container:
            if not container.streams.video:
                raise ValueError(f"{name} is not a picture")
            stream = container.streams.video[0]
            check_pixels(name, stream.codec_context.width, stream.codec_context.height)
            stream.codec_context.options = {"err_detect": "explode"}
            frame = next(container.decode(stream), None)
            if frame is None:
                raise ValueError(f"{name} is not a whole picture")
            return shown_picture(frame, orientation)
    except FFmpegError as error:
        if kind in _DIFFICULT:
            return _by_pillow(file, name)
        raise ValueError(f"{name} is not a whole picture: {error.strerror}") from error


def _by_pillow(file: BinaryIO, name: str) -> Frames:
    file.seek(0)
    try:
        picture = ImageOps.exif_transpose(Image.open(file, formats=_DIFFICULT))
        if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
            raise ValueError(f"pictures of {picture.mode} are not known")
        return _over_black(np.asarray(picture.convert("RGBA")))
    except Exception as error:
        # Pillow's decoders raise whatever damaged data causes.
        raise ValueError(f"{name} is not a whole picture: {error}") from error


def _header(file: BinaryIO, name: str) -> tuple[str, Orientation]:
    """Format and orientation that a picture's header tells, read without its pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(file, formats=_KNOWN)
            width, height = picture.size
            number = picture.getexif().get(_EXIF_ORIENTATION, 1)
        except Image.DecompressionBombError as error:
            raise ValueError(f"{name} declares more than {MOST_PIXELS:,} pixels") from error
        except Exception as error:
            # Pillow's readers raise whatever a damaged header causes.
            raise ValueError(f"{name} is not a whole picture: its header cannot be read") from error
    check_pixels(name, width, height)
    return picture.format or "", _EXIF.get(number, UPRIGHT)


def scale_picture(picture: Frames, size: tuple[int, int]) -> Frames:
    """Scale uint8 (H, W, 3) to (width, height): by area averaging, or bicubic where a side grows."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    how = "BICUBIC" if size[0] > width or size[1] > height else "AREA"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return cast(Frames, frame.to_ndarray(format="rgb24", width=size[0], height=size[1], interpolation=how))
