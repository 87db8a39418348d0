"""What damaged or foreign files make readers stumble over becomes one error that names the file."""

import contextlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

# What content raises in code that takes it for what it should be.
SYMPTOMS = (
    LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError, EOFError, AssertionError,
    zipfile.BadZipFile, tarfile.TarError, zlib.error,
)  # fmt: skip

# Compression makes thousands of bytes of one, at most; more is declared and not there.
_LARGEST_RATIO = 4096


def check_declared(what: str, declared: int, held: int, slack: int = 2**24) -> None:
    """Refuse a size that no compression explains, before memory is taken for it.

    Args:
        what: has that size, for the message.
        declared: bytes it says to have.
        held: bytes of the file that there are of it.
        slack: bytes that may be declared for nothing.

    Raises:
        ValueError: it declares too many.
    """
    if declared > _LARGEST_RATIO * held + slack:
        raise ValueError(f"{what} declares {declared} bytes, of which {held} are there")


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str, error: type[ValueError] = ValueError) -> Iterator[None]:
    """A context in which content is taken for a ``kind``, say "a policy": where it proves to be none, says so.

    Args:
        path: of the file, or what people call the source.
        kind: what it is taken for.
        error: class of the error.

    Raises:
        ValueError: it is damaged or something else; names the file. A ValueError that names it already is left alone.
    """
    try:
        yield
    except ValueError as found:
        if str(path) in str(found):
            raise
        raise error(f"{path} is damaged or not {kind}: {found}") from found
    except SYMPTOMS as found:
        text = next(iter(str(found).splitlines()), "")
        raise error(f"{path} is damaged or not {kind}: {type(found).__name__} {text[:200]}".rstrip()) from found
