"""What waits to be sent over one connection: of each kind the latest alone, so that a slow one costs no memory."""

import asyncio
import json
from typing import Any

Payload = str | bytes


class Outbox:
    """Filled by the world, emptied by whoever sends; both in the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, Payload] = {}
        self._something = asyncio.Event()
        # Why the connection is to end: code and words.
        self.ended: tuple[int, str] | None = None

    def put(self, kind: str, payload: Payload) -> None:
        """Send this, instead of what of its kind still waits."""
        # Kinds go out in the order in which they were put last.
        self._waiting.pop(kind, None)
        self._waiting[kind] = payload
        self._something.set()

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message."""
        self.put(kind, encoded(kind, **content))

    def end(self, code: int, words: str) -> None:
        """Let the connection end after what waits."""
        self.ended = self.ended or (code, words)
        self._something.set()

    async def take(self) -> list[Payload]:
        """Wait for something; empty when the connection is to end."""
        while not self._waiting and self.ended is None:
            self._something.clear()
            await self._something.wait()
        out = list(self._waiting.values())
        self._waiting.clear()
        return out


def encoded(kind: str, **content: Any) -> str:
    """A message as text."""
    return json.dumps({"type": kind, **content})
