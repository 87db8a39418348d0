"""A recording as a context (``with``): how it is left decides whether its unfinished episode is kept."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class RecordingSession(ABC):
    """Closed when it is left normally, by Ctrl-C or by ``sys.exit``; discarded when it is left by another error."""

    @abstractmethod
    def close(self) -> None:
        """Write the last episode, and wait until it is on disk."""

    @abstractmethod
    def discard(self) -> None:
        """Give the unfinished episode up and close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt | SystemExit):
            self.close()
        else:
            self.discard()
