"""A page whose connection ends, however it ends: the world is kept for a while and goes on where it was."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from tests.chromium import Browser, Tab, chromium, needs_chromium
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.serving.browsing import comes, more, only_room, phase
from tests.envs.play.serving.pages import server_of
from worldsim.envs.play.serving.messages import FLOOD, NO_WORLD
from worldsim.envs.play.serving.server import WorldServer

# The page's own connections, for the test to end.
GATHER = """const Real = WebSocket;
window.sockets = [];
window.WebSocket = class extends Real { constructor(...about) { super(...about); sockets.push(this); } };"""
WORDS = "document.querySelector('#words').textContent"


async def opened(browser: Browser, server: WorldServer) -> Tab:
    tab = await browser.open("about:blank")
    await tab.ask("Page.addScriptToEvaluateOnNewDocument", source=GATHER)
    await tab.ask("Page.navigate", url=server.url)
    await tab.until("document.body?.dataset.phase !== undefined")
    await phase(tab, "ready")
    return tab


def scene_of(server: WorldServer, folder: Path, scene: Callable[[Tab], Awaitable[None]]) -> None:
    async def run() -> None:
        await server.start()
        try:
            async with chromium(folder) as browser:
                await scene(await opened(browser, server))
                assert browser.complaints == []
        finally:
            await server.stop()

    asyncio.run(run())


async def moment(tab: Tab) -> int:
    return int(await tab.value("Number(picture.dataset.moment)"))


@needs_chromium
def test_a_closed_socket_and_a_flood_leave_the_world_where_it_was(tmp_path: Path):
    games: list[FakeGame] = []
    now = [0.0]
    server = server_of(tmp_path, games, clock=lambda: now[0])

    async def scene(tab: Tab) -> None:
        room = only_room(server)
        session = room.session
        await tab.key("KeyW", up=False)
        await phase(tab, "playing")
        await more(tab, 5)
        me = room.people.driver
        # The page's side ends it, as a browser does that lost its network: nothing is held any more.
        await tab.value("{ sockets[0].close(); 0 }")
        await tab.until("document.body.dataset.phase === 'lost'")
        assert (await tab.value(WORDS)).endswith("Trying again …")
        left = session.shown
        await comes(lambda: session.shown >= left and room.people.here)
        await phase(tab, "playing")
        assert await tab.value("sockets.length") == 2
        await more(tab, 5)
        # The same person in the same world, later on the same line of moments; a key that is pressed counts again.
        assert only_room(server) is room and room.people.here == [me] and room.people.driver is me
        assert await moment(tab) > left and session.timeline is not None and len(session.timeline.stretches) == 1
        assert not room.controls.held and not games[0].seen[-1].any()
        await tab.key("KeyW", down=False)
        await tab.key("KeyS", up=False)
        await comes(lambda: games[0].seen[-1][0, 1] == 1)
        await tab.key("KeyS", down=False)
        # Whoever floods is turned away with a word, and may come back to the world, which waits for it.
        await tab.value('{ for (let n = 0; n < 400; n += 1) sockets[1].send(\'{"type": "drive"}\'); 0 }')
        await tab.until("document.body.dataset.phase === 'refused'")
        assert await tab.value("document.body.dataset.code") == str(FLOOD)
        assert await tab.value(WORDS) == "Too many messages"
        await comes(lambda: session.phase.value == "paused")
        left = session.shown
        actions = np.concatenate([one.actions for one in session.timeline.moments[1 : left + 1]])  # pyright: ignore
        await tab.click("#again")
        await phase(tab, "playing")
        await more(tab, 5)
        again = np.concatenate([one.actions for one in session.timeline.moments[1 : left + 1]])  # pyright: ignore
        np.testing.assert_array_equal(again, actions)
        assert room.people.here == [me] and await moment(tab) > left and len(games) == 1

    scene_of(server, tmp_path, scene)


@needs_chromium
def test_a_world_that_was_left_for_too_long_has_ended_and_another_one_begins(tmp_path: Path):
    games: list[FakeGame] = []
    now = [0.0]
    server = server_of(tmp_path, games, clock=lambda: now[0], linger=60)

    async def scene(tab: Tab) -> None:
        await tab.key("KeyW")
        await phase(tab, "playing")
        await more(tab, 5)
        first = only_room(server)
        assert server.rooms is not None
        # No connection comes through meanwhile.
        await tab.value("{ window.Kept = WebSocket; window.WebSocket = class extends Kept {"
                        " constructor() { super('ws://127.0.0.1:1/'); } }; sockets[0].close(); 0 }")  # fmt: skip
        await tab.until("document.body.dataset.phase === 'lost'")
        await comes(lambda: not first.people.here)
        now[0] += 59
        await asyncio.sleep(0.2)
        assert first.name in server.rooms.all
        now[0] += 2
        await comes(lambda: first.name not in server.rooms.all)  # pyright: ignore
        await tab.value("{ window.WebSocket = Kept; 0 }")
        await tab.until("document.body.dataset.phase === 'refused'")
        assert await tab.value("document.body.dataset.code") == str(NO_WORLD)
        assert await tab.value(WORDS) == "This world has ended"
        assert await tab.value("document.querySelector('#again').textContent") == "Begin a new world"
        await tab.click("#again")
        await phase(tab, "ready")
        second = only_room(server)
        assert second is not first and second.session.shown == 0
        assert second.name in await tab.value("location.hash")
        # What was played of the first is kept.
        await comes(lambda: list(tmp_path.rglob("world-1/*.playthrough.json")))

    scene_of(server, tmp_path, scene)
