"""Lifecycle of one Luanti client and its X server: started, watched, and never left behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from worldsim.envs.luanti.shim import Lockstep, shim_path
from worldsim.envs.luanti.world import LuantiInstanceConfig

PACKAGES = {"minetest": "minetest minetest-data", "Xvfb": "xvfb libgl1-mesa-dri"}
GAMES = "/usr/games"  # often not on PATH
START_TRIES = 3
START_SECONDS = 120.0

_spawners: dict[int, ThreadPoolExecutor] = {}


def find_programs() -> dict[str, str]:
    """Paths of the programs that the engine needs.

    Raises:
        FileNotFoundError: names the missing programs and the apt packages that bring them.
    """
    search = os.pathsep.join((os.environ.get("PATH", ""), GAMES))
    found = {name: shutil.which(name, path=search) for name in PACKAGES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = " ".join(PACKAGES[name] for name in missing)
        raise FileNotFoundError(f"{' and '.join(missing)} not found: apt-get install -y {packages}")
    return {name: path for name, path in found.items() if path is not None}


def sweep_folders() -> None:
    """Remove the folders of owners that are no longer alive."""
    for folder in _base().glob("*-*-*"):
        pid, started, _ = folder.name.split("-", 2)
        if pid.isdigit() and str(_start_ticks(int(pid))) != started:
            shutil.rmtree(folder, ignore_errors=True)


class LuantiProcess:
    """A running client in a folder of its own, in lockstep from the moment that the player stands in the world.

    Args:
        config: what to start.
        render_threads: of the software renderer (llvmpipe), besides the client's own thread.

    Raises:
        FileNotFoundError: a program is missing.
        RuntimeError: the game does not start.
    """

    def __init__(self, config: LuantiInstanceConfig, *, render_threads: int = 0):
        self.config = config
        self._owner = os.getpid()
        self._programs = find_programs()
        self._shim = str(shim_path())
        self._render_threads = render_threads
        sweep_folders()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{_start_ticks(os.getpid())}-", dir=_base()))
        self._xserver: subprocess.Popen[bytes] | None = None
        self._client: subprocess.Popen[bytes] | None = None
        self.lockstep: Lockstep
        try:
            self.display = self._start_xserver()
            for attempt in range(START_TRIES):
                if self._start_client(attempt == START_TRIES - 1):
                    break
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> Path:
        """The game's log file."""
        return self.folder / "run" / "log.txt"

    @property
    def world(self) -> Path:
        """The world folder."""
        return self.folder / "run" / "world"

    @property
    def running(self) -> bool:
        """Is the client alive?"""
        return self._client is not None and self._client.poll() is None

    def failure(self) -> str:
        """The last words of the game, for an error message."""
        text = ""
        for path in (self.folder / "run" / "output.txt", self.log):
            if path.exists():
                lines = path.read_text(errors="replace").splitlines()
                text = text or " | ".join([line for line in lines if "ERROR" in line or "lockstep" in line][:4])[:600]
        code = self._client.poll() if self._client else None
        return f"exit code {code}; {text or 'no message'}"

    def close(self) -> None:
        """End both processes and remove the folder. May be called twice; does nothing in a fork of the owner."""
        if os.getpid() != self._owner:
            return
        for process in (self._client, self._xserver):
            if process is not None and process.poll() is None:
                if process is self._xserver:
                    process.terminate()  # lets it remove its socket and lock
                    try:
                        process.wait(2)
                    except subprocess.TimeoutExpired:
                        process.kill()
                else:
                    process.kill()  # the world is thrown away: nothing to save
                process.wait()
        self._client = self._xserver = None
        if hasattr(self, "lockstep"):
            self.lockstep.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_xserver(self) -> int:
        read, write = os.pipe()
        try:
            screen = f"{self.config.width}x{self.config.height}x24"
            command = [self._programs["Xvfb"], "-displayfd", str(write), "-screen", "0", screen]
            command += ["-nolisten", "tcp", "-noreset", "-r"]
            with open(self.folder / "xvfb.txt", "wb") as output:
                self._xserver = self._spawn(command, {}, (write,), output)
            os.close(write)
            write = -1
            number = b""
            while chunk := os.read(read, 16):
                number += chunk
                if number.endswith(b"\n"):
                    return int(number)
            last = (self.folder / "xvfb.txt").read_text(errors="replace").strip()[-300:]
            raise RuntimeError(f"Xvfb did not start: {last or 'no message'}")
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)

    def _start_client(self, last_try: bool) -> bool:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        self.config.write(run, _free_port())
        if hasattr(self, "lockstep"):
            self.lockstep.close()
        self.lockstep = Lockstep(self.config.width, self.config.height, depth=self.config.depth)
        command = [self._programs["minetest"], "--config", str(run / "minetest.conf"), "--world", str(self.world)]
        command += ["--gameid", "minetest", "--go", "--logfile", str(self.log), "--color", "never"]
        descriptors = (self.lockstep.there.fileno(), self.lockstep.memory)
        environment = {
            "HOME": str(run / "home"),
            "MINETEST_USER_PATH": str(run / "home" / ".minetest"),
            "DISPLAY": f":{self.display}",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "LP_NUM_THREADS": str(self._render_threads),
            "SDL_AUDIODRIVER": "dummy",
            "WORLDSIM_SOCKET": str(descriptors[0]),
            "WORLDSIM_FRAMES": str(descriptors[1]),
            "WORLDSIM_STEP_NS": str(1_000_000_000 // self.config.fps),
        }
        with open(run / "output.txt", "wb") as output:
            client = self._client = self._spawn(command, environment, descriptors, output)
        self.lockstep.started()
        deadline = time.monotonic() + START_SECONDS
        while client.poll() is None and time.monotonic() < deadline:
            if self.log.exists() and b"WSF " in self.log.read_bytes():
                return True
            time.sleep(0.05)
        reason = self.failure()
        client.kill()
        client.wait()
        # Another program may have taken the port between our choice and the game's bind.
        if last_try or "bind" not in reason.lower():
            raise RuntimeError(f"Luanti did not start: {reason}")
        return False

    def _spawn(
        self, command: Sequence[str], extra: dict[str, str], descriptors: tuple[int, ...], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("XAUTHORITY", "WAYLAND_DISPLAY")
        }
        environment |= {"LD_PRELOAD": self._shim, "WORLDSIM_OWNER": str(os.getpid()), **extra}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                start_new_session=True,
            )

        return _spawner().submit(start).result()


def _spawner() -> ThreadPoolExecutor:
    """A thread that lives as long as this process: the kernel's death signal follows the thread that forked."""
    pid = os.getpid()
    if pid not in _spawners:
        _spawners.clear()
        _spawners[pid] = ThreadPoolExecutor(1, "worldsim-spawn")
    return _spawners[pid]


def _base() -> Path:
    base = Path(tempfile.gettempdir(), f"worldsim-luanti-{os.getuid()}")
    base.mkdir(mode=0o700, exist_ok=True)
    return base


def _start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot: with the id it names a process for good; -1 when dead."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return -1


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
