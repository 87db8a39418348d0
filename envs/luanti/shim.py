"""The LD_PRELOAD shim behind the Luanti engine: its build, and the shared memory through which pictures arrive."""

import contextlib
import hashlib
import mmap
import os
import select
import shutil
import socket
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import scratch_folder
from worldsim.envs.luanti.depth import inverse_depth

HEADER_BYTES = 64  # lockstep.c


def shim_path() -> Path:
    """The compiled shim; built with gcc on first use and kept in the user's cache.

    Raises:
        FileNotFoundError: there is no C compiler.
        RuntimeError: the compiler failed.
    """
    source = (resources.files("worldsim.envs") / "luanti" / "lockstep.c").read_text()
    flags = ("-O2", "-Wall", "-shared", "-fPIC")
    key = hashlib.sha256(" ".join((*flags, os.uname().machine, source)).encode()).hexdigest()[:16]
    for folder in _cache_folders():
        built = folder / f"lockstep-{key}.so"
        if built.is_file():
            return built
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler for the lockstep shim: apt-get install gcc libc6-dev")
    for folder in _cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with scratch_folder(folder) as aside:
                code, library = aside / "lockstep.c", aside / "lockstep.so"
                code.write_text(source)
                command = [compiler, *flags, "-o", str(library), str(code), "-ldl", "-lpthread"]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                if result.returncode:
                    raise RuntimeError(f"building the lockstep shim failed: {result.stderr.strip()[-500:]}")
                os.replace(library, folder / f"lockstep-{key}.so")
            return folder / f"lockstep-{key}.so"
        except OSError:
            continue
    raise RuntimeError("no folder to keep the lockstep shim in: set XDG_CACHE_HOME")


def _cache_folders() -> tuple[Path, ...]:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "worldsim"), Path(tempfile.gettempdir(), f"worldsim-cache-{os.getuid()}")


class Lockstep:
    """The controller's end of the shim: raise ``go``, then alternate :meth:`wait` and :meth:`advance`.

    Args:
        width, height: largest picture in pixels.
        depth: whether the depth of each frame is wanted too.
    """

    def __init__(self, width: int, height: int, *, depth: bool = False):
        self.memory = os.memfd_create("worldsim-frames")
        os.ftruncate(self.memory, HEADER_BYTES + width * height * 8)
        self._map = mmap.mmap(self.memory, 0)
        self._header = np.ndarray(4, np.uint32, self._map)
        self._time = np.ndarray(1, np.int64, self._map, 16)
        self._depth = np.ndarray(2, np.uint32, self._map, 24)  # wanted; there
        self._depth[0] = depth
        self._projection = np.ndarray(4, np.float32, self._map, 32)
        self.here, self.there = socket.socketpair()

    def started(self) -> None:
        """Let go of the game's end: from now on its death ends :meth:`wait`."""
        self.there.close()

    def go(self) -> None:
        """Lockstep begins with the next frame."""
        self._header[0] = 1

    def wait(self, timeout: float) -> bool:
        """Wait for the next frame; False when the game is gone.

        Raises:
            TimeoutError: no frame within ``timeout`` seconds.
        """
        if not select.select([self.here], [], [], timeout)[0]:
            raise TimeoutError(f"Luanti drew no frame for {timeout:g} s")
        try:
            return self.here.recv(1) == b"f"
        except ConnectionError:
            return False

    def advance(self) -> None:
        """Let the game run until its next frame; of one that is gone, :meth:`wait` tells."""
        with contextlib.suppress(ConnectionError):
            self.here.send(b"a", socket.MSG_NOSIGNAL)

    @property
    def time_us(self) -> int:
        """Virtual microseconds at the present frame."""
        return int(self._time[0]) // 1000

    def picture(self) -> NDArray[np.uint8]:
        """A view (H, W, 4) of the present frame in BGRA, top row first; valid until :meth:`advance`."""
        width, height = int(self._header[1]), int(self._header[2])
        return np.ndarray((height, width, 4), np.uint8, self._map, HEADER_BYTES)[::-1]

    def depth(self) -> NDArray[np.float32]:
        """1 / metre (H, W) from the camera's plane to the world in the present frame, top row first; 0: nothing drawn.

        Neither the hand nor what is laid over the picture is in it.

        Raises:
            RuntimeError: the game told no depth for this frame.
        """
        if not self._depth[1]:
            raise RuntimeError("Luanti drew this frame without clearing depth alone: its depth is not known")
        width, height = int(self._header[1]), int(self._header[2])
        start = HEADER_BYTES + width * height * 4
        window = np.ndarray((height, width), np.float32, self._map, start)[::-1]
        return inverse_depth(window, self._projection)

    def close(self) -> None:
        """Give the shared memory and the sockets back; the game exits."""
        self.here.close()
        self.there.close()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
