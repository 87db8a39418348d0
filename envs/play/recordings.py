"""What is kept of play while it goes on: videos and GIFs of the frames as they were shown.

H W pixels.
"""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import whole_file
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
            first, *rest = self._pictures
            # Browsers know no frame shorter than two hundredths of a second.
            duration = max(20, round(1000 * GIF_EVERY / self._fps))
            with whole_file(self.path) as aside:
                first.save(aside, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)


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
        self._last: Future[Any] | None = None
        self._error: BaseException | None = None

    def append(self, frame: Frame) -> None:
        """Add a frame, uint8 (H, W, 3); returns at once."""
        self._look()
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self.frames += 1
        self._waiting.append(self._worker.submit(lambda: self._encode(frame)))

    def end(self) -> None:
        """Take no more frames, and finish the file meanwhile."""
        if self._last is None:
            self._last = self._worker.submit(self._finish)
            self._worker.close(0)

    @property
    def over(self) -> bool:
        """Whether the file is finished, or has failed."""
        return self._last is not None and self._last.done()

    def close(self, patience: float = 60.0) -> Path:
        """Finish the file, and wait for it.

        Raises:
            OSError, ValueError: it could not be written, or not within ``patience`` seconds.
        """
        self.end()
        self._worker.close(patience)
        self._look()
        if self._last is None or not self._last.done():
            raise TimeoutError(f"writing it took longer than {patience:.0f} seconds")
        if (error := self._error or self._last.exception()) is not None:
            raise error
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


class Films:
    """The recording that runs, and those whose files are being written; nothing but ``close`` waits for them.

    Args:
        say: shows a line to the player.
        kept: files that were kept, more are added.
    """

    def __init__(self, say: Callable[[str], None], kept: list[Path]):
        self._say, self.kept = say, kept
        self.recording: Recording | None = None
        self.failures: list[str] = []
        self._writing: list[Recording] = []
        self._shape: tuple[int, ...] = ()

    @property
    def status(self) -> str:
        """What goes on, in a few words."""
        words = ["recording"] if self.recording is not None else []
        return "   ".join([*words, *(f"writing {one.path.name}" for one in self._writing)])

    def begin(self, folder: Path, suffix: str, fps: float, scale: int) -> None:
        """Begin a recording ``.mp4`` or ``.gif``."""
        path = free_path(folder, "recording", suffix, taken=[one.path for one in self._writing])
        self.recording = Recording(path, fps, scale)
        self._say(f"recording {path.name}")

    def show(self, frame: Frame) -> None:
        """A frame was shown: it goes into the recording, if there is one, which ends where frames change their size."""
        if self.recording is not None and self.recording.frames and frame.shape != self._shape:
            self.end()
        self._shape = frame.shape
        if self.recording is not None:
            self.recording.append(frame)

    def end(self) -> None:
        """End the recording, if there is one."""
        recording, self.recording = self.recording, None
        if recording is not None:
            recording.end()
        if recording is not None and recording.frames:
            self._writing.append(recording)
            self._say(f"writing {recording.path.name} ...")

    def look(self) -> None:
        """Say what has been written since."""
        for recording in [one for one in self._writing if one.over]:
            self._written(recording, 0)

    def close(self, patience: float = 60.0) -> None:
        """End the recording, and wait until everything is written, so many seconds a file at most."""
        self.end()
        for recording in list(self._writing):
            self._written(recording, patience)

    def _written(self, recording: Recording, patience: float) -> None:
        self._writing.remove(recording)
        name = recording.path.name
        try:
            self.kept.append(recording.close(patience))
            self._say(f"kept {recording.path}")
        # Whatever an encoder dies of, play goes on.
        except Exception as error:
            self.failures.append(f"{name} was not kept: {error}")
            self._say(self.failures[-1])
        if recording.lost:
            self._say(f"{name}: {recording.lost} frames were left out, encoding was too slow")


def free_path(folder: Path, stem: str, suffix: str, taken: Collection[Path] = ()) -> Path:
    """A name in a folder that no file has yet, nor is to have."""
    number = 1
    while (path := folder / f"{stem}-{number}{suffix}").exists() or path in taken:
        number += 1
    return path
