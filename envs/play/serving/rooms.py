"""The worlds that a server holds: one ahead for the next visitor, as many as it may, each closed when it was left."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from worldsim.envs.play.pace import Phase
from worldsim.envs.play.serving.messages import FULL, GOING_AWAY, NO_WORLD, Hello, Refused
from worldsim.envs.play.serving.outbox import Outbox
from worldsim.envs.play.serving.people import Person
from worldsim.envs.play.serving.room import Room

_LOG = logging.getLogger(__name__)


class Rooms:
    """Rooms by name, in the event loop's thread.

    Args:
        make: makes a room; its game is loaded by its session.
        most: how many there may be.
        clock: seconds.
    """

    def __init__(self, make: Callable[[], Room], most: int, clock: Callable[[], float] = time.monotonic):
        self._make, self._most, self._clock = make, most, clock
        self.all: dict[str, Room] = {}
        # Files of what was played and kept.
        self.kept: list[Path] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._count, self._first = 0, ""
        # Set when the first world turns out not to load: then none will.
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def open(self) -> Room:
        """Make a room.

        Raises:
            Refused: there are as many as there may be.
        """
        if len(self.all) >= self._most:
            raise Refused(FULL, f"all {self._most} worlds of this server are taken: try again in some minutes")
        room = self._make()
        self._count += 1
        room.label = f"world-{self._count}"
        self._first = self._first or room.name
        self.all[room.name] = room
        task = asyncio.get_running_loop().create_task(self._play(room))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return room

    def join(self, hello: Hello, outbox: Outbox) -> tuple[Room, Person]:
        """Let somebody in: to the world that is named, else to one in which nobody was yet.

        Raises:
            Refused: there is no such world, or no more room.
        """
        room = self.all.get(hello.session)
        if hello.session and room is None:
            raise Refused(NO_WORLD, "this world has ended")
        if room is None:
            room = next((one for one in self.all.values() if not one.begun), None) or self.open()
        return room, room.join(hello, outbox)

    async def _play(self, room: Room) -> None:
        words = "this world has ended"
        try:
            await room.run()
        # Whatever went wrong in one world, the others on this server go on.
        except Exception:
            _LOG.exception("a world of the page failed")
            words = "this world has failed"
        failure = room.session.failure
        if room.session.phase is Phase.FAILED and room.session.game is None and failure is not None:
            words = str(failure)
            if room.name == self._first:
                self.failed.set_result(failure)
        await self._end(room, words)

    async def _end(self, room: Room, words: str) -> None:
        if self.all.pop(room.name, None) is not None:
            room.people.end(NO_WORLD, words)
            await self._shut(room)

    async def _shut(self, room: Room) -> None:
        await asyncio.to_thread(room.close)
        self.kept += room.keeper.kept

    async def close(self) -> None:
        """End all worlds, at the same time; what was played is kept."""
        rooms = list(self.all.values())
        self.all.clear()
        for task in list(self._tasks):
            task.cancel()
        for room in rooms:
            room.people.end(GOING_AWAY, "the server is closing")
        await asyncio.gather(*(self._shut(room) for room in rooms), return_exceptions=True)
