"""A store's files behind a URL: object stores, web servers, archives, whatever fsspec can reach.

fsspec knows ``memory://``, ``http(s)://``, ``zip://`` and, with their packages, ``s3://``, ``gs://``, ``sftp://`` ...
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.spec.damage import reading


@contextlib.contextmanager
def _asking(url: str) -> Iterator[None]:
    """A context of questions to fsspec, whose protocols each fail in their own ways.

    Raises:
        OSError: the place does not answer.
        ValueError: what it holds is damaged.
    """
    try:
        with reading(url, "a folder that can be read"):
            yield
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:
        # Packages of protocols have errors of their own.
        raise OSError(f"{url} does not answer: {type(error).__name__} {error}".splitlines()[0]) from error


class RemoteFolder:
    """A folder behind an fsspec URL.

    Args:
        url: of the folder; chains (``simplecache::s3://...``) work too.

    Raises:
        UserError: the protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str):
        url_to_fs = require("fsspec.core", url).url_to_fs
        self.url = url.rstrip("/")
        self.local: Path | None = None
        try:
            with _asking(self.url):
                found = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UserError(f"{url}: {str(error).splitlines()[0]}") from error
        self._fs, self._root = cast("tuple[Any, str]", found)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self.url,)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with _asking(self.url):
            return bool(self._fs.isfile(self._at(path)))

    def read(self, path: str) -> bytes:
        """A whole file."""
        with _asking(self.url):
            return self._fs.cat_file(self._at(path))

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of a file."""
        with _asking(self.url):
            return self._fs.cat_file(self._at(path), start=start, end=stop) if stop > start else b""

    def open(self, path: str) -> BinaryIO:
        """A file, to be read from its beginning."""
        with _asking(self.url):
            return cast("BinaryIO", self._fs.open(self._at(path), "rb"))

    def files(self, path: str) -> dict[str, int]:
        """Every file below a folder with its size."""
        folder = self._at(path)
        with _asking(self.url):
            found = cast("dict[str, dict[str, Any]]", self._fs.find(folder, detail=True))
            if any(about["size"] is None for about in found.values()):
                found = {name: self._fs.info(name) for name in found}
        return {name[len(folder) :].lstrip("/"): int(about["size"]) for name, about in found.items()}

    def children(self, path: str) -> Iterator[tuple[str, int]]:
        """Names of the folders in a folder; listings kept from before are not believed."""
        self._fs.invalidate_cache()
        try:
            with _asking(self.url):
                entries = self._fs.ls(self._at(path), detail=True)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry["type"] == "directory" or entry["name"].endswith("/"):
                yield entry["name"].rstrip("/").rsplit("/", 1)[-1], 0

    def state(self, path: str) -> tuple[int | str, ...]:
        """Size and whatever marks a version: entity tag, time of the last change."""
        with _asking(self.url):
            about = self._fs.info(self._at(path))
        marks = (str(about.get(key, "")) for key in ("ETag", "etag", "LastModified", "mtime", "created"))
        return int(about.get("size") or 0), *marks

    def version(self, path: str) -> int | None:
        """Unknown: folders of object stores have no time of their own."""
        return None

    def replace(self, path: str, content: bytes) -> None:
        """Write a file; object stores show an object when it is whole, and what is read is checked in any case."""
        target = self._at(path)
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(target, content)

    def create(self, path: str, content: bytes) -> None:
        """Write a file that is not there yet.

        Raises:
            FileExistsError: it is there; of two writers at once one gets this, where the protocol can tell.
        """
        target = self._at(path)
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if self._fs.exists(target):
            raise FileExistsError(f"{self.url}/{path} is there already")
        try:
            self._fs.pipe_file(target, content, mode="create")
        except (TypeError, NotImplementedError):
            self._fs.pipe_file(target, content)

    def upload(self, source: Path, path: str) -> None:
        """Copy a file of this machine."""
        target = self._at(path)
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(source), target)

    def remove(self, path: str) -> None:
        """Delete a folder and all that is in it."""
        self._fs.rm(self._at(path), recursive=True)

    def _at(self, path: str) -> str:
        root = self._root.rstrip("/")
        return f"{root}/{path}" if root else path
