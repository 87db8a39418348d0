"""Pictures to look at: labels, panes side by side, contact sheets, PNG and JPEG."""

import base64
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from PIL.Image import Image

Picture = NDArray[np.uint8]


def write_picture(path: Path, picture: Picture) -> Path:
    """Write uint8 (H, W, 3) to a PNG (or what the suffix says); returns the path."""
    import pygame

    path.parent.mkdir(parents=True, exist_ok=True)
    pygame.image.save(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), str(path))
    return path


def save_gif(gif: Path, pictures: Sequence["Image"], rate: float) -> None:
    """Write pictures as a GIF of 64 colours each, ``rate`` a second."""
    reduced = [picture.quantize(64) for picture in pictures]
    reduced[0].save(gif, save_all=True, append_images=reduced[1:], duration=round(1000 / rate), loop=0, optimize=True)


def jpeg(picture: Picture, quality: int = 4) -> bytes:
    """A picture uint8 (H, W, 3) as JPEG; quality 2 (best) to 31, FFmpeg's scale."""
    # Imported here: the play window writes pictures, and is to stand before PyAV is loaded.
    import av

    height, width = picture.shape[:2]
    codec = cast("VideoCodecContext", av.CodecContext.create("mjpeg", "w"))
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj444p"
    codec.time_base = Fraction(1, 1)
    codec.options = {"qmin": str(quality), "qmax": str(quality)}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuvj444p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def picture_uri(picture: Picture) -> str:
    """A picture as a data URI for ``<img src=...>``."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode()


def sheet(pictures: Sequence[Picture], columns: int = 8) -> Picture:
    """Pictures (H, W, 3) in rows, each in a cell of the size of the largest."""
    height, width = max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures)
    rows = -(-len(pictures) // columns)
    out = np.full((rows * height, min(columns, len(pictures)) * width, 3), 24, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * height, i % columns * width
        out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out


def enlarge(frames: Picture, scale: int) -> Picture:
    """Repeat every pixel of (..., H, W, 3) ``scale`` times down and across."""
    return frames.repeat(scale, -3).repeat(scale, -2)


def label(text: str, width: int, height: int = 20) -> Picture:
    """A dark strip (height, width, 3) with white text."""
    import pygame

    pygame.font.init()
    surface = pygame.Surface((width, height))
    surface.fill((24, 24, 28))
    surface.blit(pygame.font.Font(None, height).render(text, True, (240, 240, 240)), (4, height // 6))
    return np.ascontiguousarray(pygame.surfarray.array3d(surface).swapaxes(0, 1))


def branches_in_grid(branches: Picture, names: list[str], scale: int, columns: int = 4) -> Picture:
    """Panes (B, F, H, W, 3) with their names above, as one video (F, H', W', 3)."""
    count, frames = branches.shape[:2]
    large = enlarge(branches, scale)
    strips = [np.broadcast_to(label(name, large.shape[3]), (frames, 20, large.shape[3], 3)) for name in names]
    panes = [np.concatenate([strip, pane], 1) for strip, pane in zip(strips, large, strict=True)]
    across = min(columns, count)
    panes += [np.zeros_like(panes[0])] * (-count % across)
    rows = [np.concatenate(panes[i : i + across], 2) for i in range(0, len(panes), across)]
    return np.concatenate(rows, 1)
