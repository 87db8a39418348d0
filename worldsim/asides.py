"""Files that are written beside their place and renamed, and folders of scratch: what killed processes left is removed.

Their names hold the writer, ``HOST-PID``: another process of the same machine knows whether it is still there.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

SCRATCH = "worldsim-scratch"


def aside_of(path: Path, suffix: str = ".tmp") -> Path:
    """Where to write a file or folder before it is renamed to ``path``; leftovers of its killed writers are removed.

    Args:
        path: of what is finished.
        suffix: of what is not yet.
    """
    left = re.compile(rf"\.{re.escape(path.name)}\.(?P<writer>(?:\w+-)?\d+)(?:\.[0-9a-f]{{8}})?(?:\.\w+)?")
    # What cannot be listed or removed is no reason not to write.
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            found = left.fullmatch(entry.name)
            if found and abandoned(found["writer"]):
                shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else Path(entry).unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{writer()}.{uuid.uuid4().hex[:8]}{suffix}")


@contextlib.contextmanager
def whole_file(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A file to write that takes its place when it is whole; where writing fails, what was there stays.

    Args:
        path: of what is finished; its folder is made.
        suffix: of what is not yet, where what writes it goes by suffixes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path, suffix)
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file whole, texts as UTF-8, or not at all."""
    with whole_file(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """A folder for the time being; those that killed processes left beside it are removed.

    Args:
        parent: of the folder; default: the system's folder for temporary files.
    """
    place = Path(parent or tempfile.gettempdir())
    for folder in place.glob(f"{SCRATCH}.*"):
        if abandoned(folder.name.split(".")[1]):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}.{writer()}.", dir=parent) as folder:
        yield Path(folder)


def writer() -> str:
    """This process, as names of unfinished files hold it."""
    return f"{_host()}-{os.getpid()}"


def abandoned(writer: str) -> bool:
    """Whether a writer, ``HOST-PID`` or ``PID``, was a process of this machine that is no longer there."""
    host, _, process = writer.rpartition("-")
    if host not in ("", _host()) or not process.isdecimal():
        return False
    try:
        # Signal 0 is not sent: it asks whether the process is there.
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())
