"""A server with a fake game, and pages without a browser: websockets that say what a page would say."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.envs.play.fake_game import FakeGame
from tests.timing import PATIENCE
from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.keeping import Outlets
from worldsim.envs.play.serving.access import Access
from worldsim.envs.play.serving.room import Room
from worldsim.envs.play.serving.server import WorldServer
from worldsim.envs.play.serving.settings import Serving
from worldsim.envs.play.session import Session
from worldsim.envs.play.tree.origin import Origin
from worldsim.spec.actions import MINECRAFT


def outlets(folder: Path) -> Outlets:
    origin = Origin(world="w", weights="x", sampling={}, keys=MINECRAFT.keys, camera=True, chunk=2)
    return Outlets(folder=lambda: folder, origin=lambda game: origin)


def server_of(
    folder: Path,
    games: list[FakeGame] | None = None,
    *,
    open_game: Callable[[Any], FakeGame] | None = None,
    access: Access | None = None,
    clock: Callable[[], float] | None = None,
    seats: Callable[[Any], Any] = lambda game: {},
    **serving: Any,
) -> WorldServer:
    """A server of games that are gathered in ``games``."""
    gathered = games if games is not None else []

    def fake(tell: Any) -> FakeGame:
        gathered.append(FakeGame())
        return gathered[-1]

    serving.setdefault("port", 0)
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    return WorldServer(
        lambda: Session(open_game or fake, seed=3, seats=seats), access or Access(),
        Serving(**serving), outlets(folder), Preferences(), **options,
    )  # fmt: skip


class Page:
    """Somebody at a page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self.socket = socket
        self.latest: dict[str, dict[str, Any]] = {}
        self.pictures: list[tuple[int, int, bytes]] = []
        self._number = 0
        self.code: int | None = None

    async def send(self, **message: Any) -> None:
        await self.socket.send_json(message)

    async def hello(self, token: str = "", session: str = "", me: str = "") -> "Page":
        await self.send(type="hello", token=token, session=session, me=me)
        return self

    async def hold(self, *held: str, look: tuple[float, float] = (0, 0)) -> int:
        self._number += 1
        await self.send(type="input", number=self._number, held=held, look=look)
        return self._number

    async def do(self, what: str, further: bool = False) -> None:
        await self.send(type="do", what=what, further=further)

    async def look(self) -> bool:
        """Take in one message; whether there was one."""
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            effect, moment = struct.unpack(">II", message.data[:8])
            self.pictures.append((effect, moment, message.data[8:]))
        elif message.type is aiohttp.WSMsgType.TEXT:
            content = json.loads(message.data)
            self.latest[content["type"]] = content
        else:
            # The end as the server told it; how the socket then went is another matter.
            self.code = message.data if message.type is aiohttp.WSMsgType.CLOSE else self.code
            return False
        return True

    async def until(self, holds: Callable[[], Any], what: str = "") -> None:
        """Take messages in until something holds."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                assert await self.look(), f"closed ({self.code}) before: {what} {self.latest}"

    async def phase(self, name: str) -> None:
        def there() -> bool:
            state = self.latest.get("state", {})
            return state.get("phase") == name and not state["moving"]

        await self.until(there, name)

    async def ended(self) -> tuple[int | None, str]:
        """Wait for the end; its code, and why the server said it comes."""
        async with asyncio.timeout(PATIENCE):
            while await self.look():
                pass
        return self.code, self.latest.get("refused", {}).get("why", "")

    @property
    def me(self) -> dict[str, str]:
        """What one says to come back."""
        return {name: self.latest["welcome"][name] for name in ("session", "me")}


Connect = Callable[..., Awaitable[Page]]


@contextlib.asynccontextmanager
async def serving(server: WorldServer) -> AsyncIterator[Connect]:
    """The server runs; gives a function that connects a page, which has said hello if it is told what."""
    await server.start()
    async with aiohttp.ClientSession() as client:

        async def connect(hello: dict[str, str] | None = None, **options: Any) -> Page:
            page = Page(await client.ws_connect(f"http://127.0.0.1:{server.port}/socket", **options))
            return page if hello is None else await page.hello(**hello)

        try:
            yield connect
        finally:
            await server.stop()


def room_of(server: WorldServer, page: Page) -> Room:
    assert server.rooms is not None
    return server.rooms.all[page.latest["welcome"]["session"]]
