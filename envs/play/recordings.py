"""What is kept of play while it goes on: videos and GIFs of the frames as they were shown.

H W pixels.
"""

from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.worker import Worker
from worldsim.plotting.pictures import enlarge

Frame = NDArray[np.uint8]
# A GIF shows half of the frames, for so long at most: they are all kept until it is written.
GIF_SECONDS, GIF_EVERY = 30.0, 2
# Frames that may wait for the encoder; more are left out, so that a slow disk does not fill the memory.
MOST_WAITING = 200


class _Film(Protocol):
    def append(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class Gif:
    """Frames gathered for an animated GIF, 256 colours each.

    Args:
        path: file to write, when it is closed.
        fps: of the frames that are given to it.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self._fps, self._count = path, fps, 0
        self._pictures: list[Any] = []

    def append(self, frame: Frame) -> None:
        """Take every second frame, uint8 (H, W, 3), until it is long enough."""
        from PIL import Image

        self._count += 1
        if self._count % GIF_EVERY == 1 and self._count < GIF_SECONDS * self._fps:
            picture = Image.fromarray(np.ascontiguousarray(frame)).quantize(256, dither=Image.Dither.NONE)
            self._pictures.append(picture)

    def close(self) -> None:
        """Write the file."""
        if self._pictures:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            first, *rest = self._pictures
            # Browsers know no frame shorter than two hundredths of a second.
            duration = max(20, round(1000 * GIF_EVERY / self._fps))
            first.save(self.path, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)


class Recording:
    """A film of the frames that are shown, encoded in a thread of its own.

    Args:
        path: ``.mp4`` or ``.gif``; appears when the recording ends.
        fps: frames a second.
        scale: pixels per pixel.
    """

    def __init__(self, path: Path, fps: float, scale: int):
        self.path, self.frames, self.lost = path, 0, 0
        self._fps, self._scale = fps, scale
        self._film: _Film | None = None
        self._worker = Worker()
        self._waiting: list[Future[Any]] = []
        self._error: BaseException | None = None

    def append(self, frame: Frame) -> None:
        """Add a frame, uint8 (H, W, 3); returns at once."""
        self._look()
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self.frames += 1
        self._waiting.append(self._worker.submit(lambda: self._encode(frame)))

    def close(self, patience: float = 60.0) -> Path:
        """Finish the file.

        Raises:
            OSError, ValueError: it could not be written.
        """
        last = self._worker.submit(self._finish)
        self._worker.close(patience)
        self._look()
        if self._error is None and last.done():
            self._error = last.exception()
        if self._error is not None:
            raise self._error
        return self.path

    def _look(self) -> None:
        done = [one for one in self._waiting if one.done()]
        self._waiting = [one for one in self._waiting if not one.done()]
        self._error = self._error or next((e for one in done if (e := one.exception())), None)

    def _encode(self, frame: Frame) -> None:
        if self._film is None:
            self._film = self._open()
        large = enlarge(frame, self._scale)
        # H.264 needs even sides.
        self._film.append(large[: large.shape[0] // 2 * 2, : large.shape[1] // 2 * 2])

    def _open(self) -> _Film:
        if self.path.suffix == ".gif":
            return Gif(self.path, self._fps)
        from worldsim.datasets.store.video import VideoWriter

        return VideoWriter(self.path, self._fps)

    def _finish(self) -> None:
        if self._film is not None:
            self._film.close()


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A name in a folder that no file has yet."""
    number = 1
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path
