"""Where a store's files lie: one small interface, a folder of this machine behind it or anything fsspec can reach.

Paths are relative to the store and written with ``/``.
"""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from worldsim.asides import aside_of

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")


class Folder(Protocol):
    """What a store needs of the place it lies in.

    Attributes:
        url: what people call it.
        local: the folder on this machine, None elsewhere.
    """

    url: str
    local: Path | None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def read(self, path: str) -> bytes:
        """A whole file. Raises FileNotFoundError if there is none."""
        ...

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive) of a file, fewer where it ends earlier."""
        ...

    def open(self, path: str) -> BinaryIO:
        """A file, to be read from its beginning."""
        ...

    def files(self, path: str) -> dict[str, int]:
        """Every file below a folder, relative to it, with its size in bytes."""
        ...

    def children(self, path: str) -> Iterator[tuple[str, int]]:
        """Names of the folders in a folder, each with a number that changes when it is replaced (0 if unknown)."""
        ...

    def state(self, path: str) -> tuple[int | str, ...]:
        """Something that changes when a file changes."""
        ...

    def version(self, path: str) -> int | None:
        """Something that changes when a folder gains or loses an entry; None where that cannot be told."""
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Write a file so that readers see the old content or the new, never a part."""
        ...


def is_url(where: str | os.PathLike[str]) -> bool:
    """Whether a place is meant for fsspec."""
    return isinstance(where, str) and _URL.match(where) is not None


def absolute(where: str | os.PathLike[str]) -> str:
    """A path from the root, whatever folder the program goes to later; a URL stays as it is."""
    return str(where) if is_url(where) else str(Path(where).absolute())


def open_folder(where: str | os.PathLike[str]) -> Folder:
    """The folder behind a path or a URL; ``file://``, ``local://`` and plain paths are folders of this machine.

    Raises:
        NotADirectoryError: it is a file.
        UserError: the URL's protocol is unknown or needs a package that is missing.
    """
    if isinstance(where, str) and is_url(where):
        # Both mean this machine: here links are looked at, and a folder is absolute.
        if where.startswith(("file://", "local://")):
            return LocalFolder(Path(where.partition("://")[2]))
        from worldsim.datasets.store.remote import RemoteFolder

        return RemoteFolder(where)
    return LocalFolder(Path(where))


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, path: Path):
        if path.is_file():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        # People call it by the name they gave; the program may go to another folder later.
        self.url = str(path)
        self._path = path.absolute()
        self.local: Path | None = self._path

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self._path / path).is_file()

    def read(self, path: str) -> bytes:
        """A whole file."""
        return (self._path / path).read_bytes()

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of a file."""
        # Opened for each read: a thousand episodes at once would exhaust the file handles, and mapped memory would turn
        # a file that was cut meanwhile into a bus error.
        handle = os.open(f"{self._path}/{path}", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return os.pread(handle, stop - start, start)
        finally:
            os.close(handle)

    def open(self, path: str) -> BinaryIO:
        """A file, to be read from its beginning."""
        return (self._path / path).open("rb")

    def files(self, path: str) -> dict[str, int]:
        """Every file below a folder with its size."""
        folder = self._path / path
        return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}

    def children(self, path: str) -> Iterator[tuple[str, int]]:
        """Folders in a folder with their inode numbers; reading them needs no further call per entry."""
        if (self._path / path).is_dir():
            with os.scandir(self._path / path) as entries:
                yield from ((entry.name, entry.inode()) for entry in entries if entry.is_dir())

    def state(self, path: str) -> tuple[int | str, ...]:
        """Inode, size and time of the last change of a file."""
        about = os.stat(f"{self._path}/{path}")
        return about.st_ino, about.st_size, about.st_mtime_ns

    def version(self, path: str) -> int | None:
        """Time of a folder's last change in nanoseconds, 0 if there is none."""
        try:
            return os.stat(self._path / path).st_mtime_ns
        except FileNotFoundError:
            return 0

    def replace(self, path: str, content: bytes) -> None:
        """Write aside, flush, rename."""
        target = self._path / path
        aside = aside_of(target)
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
