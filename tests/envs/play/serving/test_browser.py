"""The page in a real browser: keys and mouse on one side, what the game got on the other."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.chromium import Browser, Tab, chromium, needs_chromium
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.serving.browsing import held, more, only_room, phase, shown
from tests.envs.play.serving.pages import outlets, server_of
from tests.envs.play.serving.seen import ALIKE, frame_of, shows, until_drawn
from tests.timing import PATIENCE
from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.serving.access import Access
from worldsim.envs.play.serving.messages import FLOOD, WRONG_TOKEN
from worldsim.envs.play.serving.server import WorldServer
from worldsim.envs.play.serving.settings import Serving
from worldsim.envs.play.session import Session

# Of the shipped world: a meadow, and trees behind it.
START = 16
TOKEN = "sixteen letters and more"
# A connection beside the page's own, from within a page: its end is kept for the test.
SOCKET = """(({url, session, token, flood}) => new Promise((told) => {
  const socket = new WebSocket(url);
  (window.sockets ??= []).push(socket);
  socket.onopen = () => {
    socket.send(JSON.stringify({type: "hello", token, session, me: ""}));
    for (let n = 0; n < flood; n += 1) socket.send(JSON.stringify({type: "drive"}));
  };
  socket.onmessage = (event) => { if (!flood && typeof event.data === "string") told("in"); };
  socket.onclose = (event) => told(event.code);
}))"""


def colour(tab: Tab) -> Any:
    return tab.value("[...document.querySelector('#picture').getContext('2d').getImageData(9, 9, 1, 1).data]")


async def plays_and_branches(tab: Tab, game: FakeGame, server: WorldServer) -> None:
    await phase(tab, "ready")
    await tab.until("Number(document.querySelector('#picture').dataset.shown ?? 0) > 0")
    first = await colour(tab)
    assert game.steps == 0 and await tab.value("document.title") == "fake"
    await tab.key("KeyW", up=False)
    await phase(tab, "playing")
    await held(game, 0)
    await more(tab, 12)
    assert await colour(tab) != first
    await tab.until("/^key to picture [0-9]+ ms$/.test(document.querySelector('#latency').textContent)")
    assert await tab.value("document.querySelector('#rate').textContent.endsWith(' frames/s')")
    await tab.key("KeyW", down=False)
    await held(game, None)
    # A click takes the mouse; what it moves turns the view.
    await tab.click("#picture")
    await tab.until("document.pointerLockElement !== null")
    x, y = await tab.middle("#picture")
    await tab.mouse("mouseMoved", x + 40, y)
    async with asyncio.timeout(PATIENCE):
        while not any(actions[0, -1] > 0.5 for actions in game.seen):
            await asyncio.sleep(0.01)
    await tab.key("KeyP")
    await phase(tab, "paused")
    await tab.until("document.pointerLockElement === null")
    room = only_room(server)
    async with asyncio.timeout(PATIENCE):
        while room.session._job is not None:
            await asyncio.sleep(0.01)
    steps = game.steps
    # Once the last frame has come, the browser draws some frames of its own, and none of the world's.
    drawn = "new Promise((done) => { let n = 0; const f = () => ++n > 12 ? done() : requestAnimationFrame(f); f(); })"
    async with asyncio.timeout(PATIENCE):
        stood = None
        while stood != (stood := await shown(tab)):
            await tab.value(drawn)
    assert game.steps == steps
    await tab.key("Backspace")
    await phase(tab, "ready")
    there = room.session.shown
    assert there < steps
    await tab.key("KeyS", up=False)
    await phase(tab, "playing")
    await held(game, 1)
    await tab.until("document.querySelector('#tree').dataset.stretches === '2'")
    await tab.key("KeyS", down=False)
    assert room.session.timeline is not None and room.session.timeline.stretches[1].parent == there
    # Going on took the mouse again; by the button it stays free. Back by a click on the timeline's beginning.
    await tab.until("document.pointerLockElement !== null")
    await tab.key("KeyP")
    await tab.until("document.pointerLockElement === null")
    for wanted in ("playing", "paused"):
        await tab.click("#pause")
        await phase(tab, wanted)
    left = await tab.value("document.querySelector('#tree').getBoundingClientRect().x")
    _, y = await tab.middle("#tree")
    for kind in ("mousePressed", "mouseReleased"):
        await tab.mouse(kind, left + 3, y)
    await tab.until("document.querySelector('#tree').dataset.here === '0 0'")
    async with asyncio.timeout(PATIENCE):
        while await colour(tab) != first:
            await asyncio.sleep(0.02)


async def comes_back(tab: Tab, game: FakeGame, server: WorldServer) -> None:
    room = only_room(server)
    await tab.key("KeyW")
    await phase(tab, "playing")
    await more(tab)
    address = await tab.value("location.hash")
    assert room.name in address
    [person] = room.people.here
    assert person.outbox is not None
    # The server drops the connection; the page calls again by itself.
    person.outbox.end(1012, "")
    await tab.until("document.body.dataset.phase === 'lost'")
    await phase(tab, "playing")
    await more(tab)
    assert only_room(server) is room and room.people.here == [person] and person is room.people.driver
    # A reload finds the same world too.
    await tab.reload()
    await phase(tab, "playing")
    await more(tab)
    assert room.people.here == [person] and await tab.value("location.hash") == address


async def takes_what_others_send(browser: Browser, tab: Tab, server: WorldServer) -> None:
    """Ten viewers that leave at once, a flood, a foreign page: the player plays on."""
    room, base = only_room(server), f"127.0.0.1:{server.port}"

    def socket(session: str = room.name, flood: int = 0) -> str:
        about = {"url": f"ws://{base}/socket", "session": session, "token": TOKEN, "flood": flood}
        return f"{SOCKET}({about})"

    crowd = await browser.open(f"http://{base}/style.css")
    assert await crowd.value(f"Promise.all([...Array(10)].map(() => {socket()}))") == ["in"] * 10
    await tab.until("document.querySelector('#driving').textContent === 'you drive, 10 look on'")
    await more(tab)
    await crowd.close()
    await tab.until("document.querySelector('#driving').textContent === 'you drive'")
    await more(tab)
    other = await browser.open(f"http://{base}/style.css")
    assert await other.value(socket(flood=3000)) == FLOOD
    async with foreign_site() as site:
        foreign = await browser.open(site)
        assert await foreign.value(socket()) == 1006
        await more(tab)
        assert len(room.people.here) == 1
        # It is the origin that was wrong.
        server.access = replace(server.access, origins=(site,))
        assert await foreign.value(socket()) == "in"
        await foreign.close()
    await tab.until("document.querySelector('#driving').textContent === 'you drive'")
    assert browser.complaints == []


@contextlib.asynccontextmanager
async def foreign_site() -> AsyncIterator[str]:
    """A page of somebody else."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<title>foreign</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@needs_chromium
def test_a_person_at_the_page(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games, access=Access(token=TOKEN))

    async def scene() -> None:
        await server.start()
        try:
            async with chromium(tmp_path) as browser:
                tab = await browser.open(server.url.replace(TOKEN, "wrong"))
                await tab.until("document.body.dataset.phase === 'refused'")
                assert await tab.value("document.body.dataset.code") == str(WRONG_TOKEN)
                assert (await tab.value("document.querySelector('#words').textContent")).startswith("Wrong token")
                await tab.close()
                tab = await browser.open(server.url)
                await plays_and_branches(tab, games[0], server)
                await comes_back(tab, games[0], server)
                await takes_what_others_send(browser, tab, server)
        finally:
            await server.stop()

    asyncio.run(scene())


@needs_chromium
def test_the_shipped_world_on_the_page(tmp_path: Path):
    """Pictures for people with ``WORLDSIM_SCREENSHOTS=FOLDER``, at the desk and on a phone."""
    from tests.envs.play.shipped import shipped
    from worldsim.envs.play.serving.sharing import SharedWorld

    shared, folder = SharedWorld(shipped(START)), os.environ.get("WORLDSIM_SCREENSHOTS")
    server = WorldServer(
        lambda: Session(shared, seed=0), Access(), Serving(port=0), outlets(tmp_path), Preferences()
    )  # fmt: skip

    async def play(tab: Tab, name: str, *branches: str) -> None:
        await phase(tab, "ready")
        await tab.key("KeyW", up=False)
        await more(tab, 12)
        await tab.until("document.querySelector('#latency').textContent !== ''")
        await tab.key("KeyP")
        await phase(tab, "paused")
        await tab.key("KeyW", down=False)
        for number, key in enumerate(branches):
            for _ in range(3):
                await tab.key("Comma")
            await phase(tab, "paused")
            await tab.key(key, up=False)
            await tab.key("KeyP")
            await more(tab, 10)
            await tab.key("KeyP")
            await tab.key(key, down=False)
            await tab.until(f"document.querySelector('#tree').dataset.stretches === '{number + 2}'")
        await phase(tab, "paused")
        # A picture, not a single colour.
        shades = "new Set(document.querySelector('#picture').getContext('2d').getImageData(0, 0, 144, 80).data).size"
        assert await tab.value(shades) > 50
        assert server.rooms is not None
        room = server.rooms.all[await tab.value("new URLSearchParams(location.hash.slice(1)).get('session')")]
        await until_drawn(tab, room)
        # The emulated phone paints in whole CSS pixels: of the picture's 640 rows of pixels there are 639.
        assert await shows(tab, frame_of(room)) > (ALIKE if name == "page" else ALIKE - 5)
        if folder:
            await tab.screenshot(Path(folder) / f"{name}.webp")
        await tab.close()

    async def scene() -> None:
        await server.start()
        try:
            async with chromium(tmp_path) as browser:
                await play(await browser.open(server.url, 1000, 680), "page", "KeyA", "KeyD")
                await play(await browser.open(server.url, 390, 780, phone=True), "page-phone")
        finally:
            await server.stop()

    asyncio.run(scene())
