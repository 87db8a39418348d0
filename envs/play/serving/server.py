"""The play window's world on a web page: one static page, and a websocket for each that looks at it.

Frames go down as JPEG, input goes up as small JSON messages (``messages.py``). Nothing here waits for a world.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.keeping import Outlets
from worldsim.envs.play.serving.access import Access
from worldsim.envs.play.serving.messages import (
    MALFORMED,
    NO_HELLO,
    WRONG_TOKEN,
    Allowance,
    Hello,
    Refused,
    parse,
)
from worldsim.envs.play.serving.outbox import Outbox, encoded
from worldsim.envs.play.serving.room import Room
from worldsim.envs.play.serving.rooms import Rooms
from worldsim.envs.play.serving.settings import Serving
from worldsim.envs.play.session import Session
from worldsim.errors import UserError

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Seconds to say hello in; that a message may take to leave; between pings; that the end of a connection may take.
HELLO, SEND, PING, END = 10.0, 15.0, 20.0, 2.0
# Connections beside those of the people in the worlds: they have not said hello yet.
STRANGERS = 32
# Bytes of a message that is still read, to say that it is too large; a larger one ends the connection with code 1009.
LARGEST = 2**16
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class WorldServer:
    """Serves sessions of play.

    Args:
        make_session: makes one; its game is loaded in its own thread.
        access: who may connect.
        serving: where, and how much.
        outlets: where what is kept goes.
        preferences: keys and mouse at first.
        clock: seconds.
    """

    def __init__(
        self,
        make_session: Callable[[], Session],
        access: Access,
        serving: Serving,
        outlets: Outlets,
        preferences: Preferences,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.access, self.serving, self.clock = access, serving, clock

        def make() -> Room:
            return Room(
                make_session(), outlets, preferences, viewers=serving.viewers, linger=serving.linger, clock=clock
            )

        self._make = make
        self._connected = 0
        self._most = serving.sessions * serving.viewers + STRANGERS
        self.rooms: Rooms | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen, and begin to load a world for the first visitor.

        Raises:
            UserError: the address cannot be had.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", _file)
        app.router.add_get("/{name:[a-z]+\\.(?:css|js)}", _file)
        app.router.add_get("/health", _health)
        app.router.add_get("/socket", self._socket)
        self.rooms = Rooms(self._make, self.serving.sessions, self.clock)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=END)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self.serving.host, self.serving.port)
            await site.start()
        except OSError as error:
            raise UserError(
                f"cannot listen on {self.serving.host} port {self.serving.port} ({error.strerror}): "
                "give another host= or port="
            ) from error
        self.port = self._runner.addresses[0][1]
        self.rooms.open()

    async def stop(self) -> None:
        """End all worlds and connections; a few seconds at most."""
        if self.rooms is not None:
            await self.rooms.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the page is, with the token: in the part that browsers keep to themselves."""
        host = self.serving.host
        name = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}/" + (f"#token={self.access.token}" if self.access.token else "")

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if refusal := self.access.refusal(request.host, request.headers.get("Origin")):
            return _text(403, refusal)
        return await handler(request)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self._connected >= self._most:
            return _text(503, "too many connections")
        # Compressed, a small message could become a huge one.
        connection = web.WebSocketResponse(heartbeat=PING, max_msg_size=LARGEST, compress=False, timeout=END)
        if not connection.can_prepare(request):
            return _text(400, "this address is for the page's websocket")
        await connection.prepare(request)
        self._connected += 1
        try:
            await self._attend(connection, request)
        except Refused as refused:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(SEND):
                    await connection.send_str(encoded("refused", code=refused.code, why=str(refused)))
                    await connection.close(code=refused.code, message=_reason(str(refused)))
        finally:
            self._connected -= 1
            _hang_up(request)
        return connection

    async def _attend(self, connection: web.WebSocketResponse, request: web.Request) -> None:
        """One connection, from its first message to its end."""
        assert self.rooms is not None
        try:
            async with asyncio.timeout(HELLO):
                text = await _next(connection)
        except TimeoutError:
            raise Refused(NO_HELLO, f"no hello within {HELLO:.0f} seconds") from None
        if text is None:
            return
        hello = parse(text)
        if not isinstance(hello, Hello):
            raise Refused(MALFORMED, "the first message must be a hello")
        if not self.access.knows(hello.token):
            raise Refused(WRONG_TOKEN, "wrong token: open the address that the server printed")
        outbox, allowance = Outbox(), Allowance(self.clock)
        room, person = self.rooms.join(hello, outbox)
        sender = asyncio.create_task(_send(connection, outbox, request))
        try:
            while (text := await _next(connection)) is not None:
                allowance.take()
                message = parse(text)
                if isinstance(message, Hello):
                    raise Refused(MALFORMED, "a second hello")
                room.receive(person, message)
        finally:
            room.leave(person, outbox)
            # Who was told to leave is told why.
            if outbox.ended is None:
                sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender


async def _next(connection: web.WebSocketResponse) -> str | None:
    """The next message; None: the connection has ended."""
    message = await connection.receive()
    if message.type is WSMsgType.TEXT:
        return message.data
    if message.type in (WSMsgType.BINARY, WSMsgType.CONTINUATION):
        raise Refused(MALFORMED, "a message that is not text")
    return None


async def _send(connection: web.WebSocketResponse, outbox: Outbox, request: web.Request) -> None:
    """Send what comes; one that does not take it is hung up on."""
    try:
        while payloads := await outbox.take():
            for payload in payloads:
                async with asyncio.timeout(SEND):
                    if isinstance(payload, bytes):
                        await connection.send_bytes(payload)
                    else:
                        await connection.send_str(payload)
        code, words = outbox.ended or (1000, "")
        async with asyncio.timeout(SEND):
            await connection.send_str(encoded("refused", code=code, why=words))
            await connection.close(code=code, message=_reason(words))
    except (ConnectionError, TimeoutError):
        _hang_up(request)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _reason(words: str) -> bytes:
    """Words for the end of a connection, which takes 123 bytes of UTF-8."""
    return words.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode()


def _text(status: int, words: str) -> web.Response:
    return web.Response(status=status, text=f"{words}\n", headers=HEADERS)


async def _health(request: web.Request) -> web.StreamResponse:
    return _text(200, "ok")


async def _file(request: web.Request) -> web.StreamResponse:
    path = PAGE / request.match_info.get("name", "index.html")
    if not path.is_file():
        return _text(404, "there is no such page")
    return web.Response(body=path.read_bytes(), content_type=KINDS[path.suffix], charset="utf-8", headers=HEADERS)


async def _until_told(server: WorldServer, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or a termination; the second Ctrl-C ends at once."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        told.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    numbers = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has none of these: there Ctrl-C raises KeyboardInterrupt, and the world ends with the program.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop)
            numbers.append(number)
    try:
        await server.start()
        assert server.rooms is not None
        ready(server.url)
        ended = asyncio.ensure_future(told.wait())
        await asyncio.wait([ended, server.rooms.failed], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
    finally:
        await server.stop()
    if server.rooms.failed.done():
        raise server.rooms.failed.result()


def serve(server: WorldServer, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until Ctrl-C; ``ready`` is told the page's address.

    Raises:
        UserError: the address cannot be had, or the world cannot be loaded.
    """
    asyncio.run(_until_told(server, ready))
