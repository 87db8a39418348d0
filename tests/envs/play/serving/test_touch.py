"""The page under fingers: what is offered, where it lies, and what the game gets of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.chromium import Browser, Tab, chromium, needs_chromium
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.serving.browsing import comes, held, more, only_room, phase
from tests.envs.play.serving.pages import server_of
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.serving.server import WorldServer
from worldsim.spec.actions import MINECRAFT, ActionSpec

# Without drop, inventory, and the last of nine items.
LEARNED = [key for key in MINECRAFT.keys if key not in ("drop", "inventory", "hotbar.9")]
# Controls whose middles are hidden, that lie over one another, reach out of the screen, or are too small for a finger.
MISPLACED = """(() => {
  const all = [...document.querySelectorAll("#stick, #pads button, #items button, nav button, body > header button")]
    .filter((one) => one.offsetParent !== null);
  const name = (one) => one.id || one.dataset.control || one.dataset.do, wrong = [];
  const boxes = all.map((one) => [name(one), one.getBoundingClientRect()]);
  boxes.forEach(([who, box], i) => {
    const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    if (!all[i].contains(hit)) wrong.push(`${who} is hidden by ${hit?.id || hit?.tagName}`);
    if (Math.min(box.width, box.height) < 30) wrong.push(`${who} is ${box.width}x${box.height}`);
    if (box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight) wrong.push(`${who} is cut`);
    for (const [other, b] of boxes.slice(i + 1))
      if (box.left < b.right && b.left < box.right && box.top < b.bottom && b.top < box.bottom)
        wrong.push(`${who} lies over ${other}`);
  });
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is wider than the screen");
  return wrong;
})()"""
# What the page was given and what it sent, for the words of a failure.
NOTED = """(() => {
  const note = (...what) => (window.noted ??= []).push([Math.round(performance.now()), ...what].join(" "));
  for (const kind of ["pointerdown", "pointerup", "pointercancel", "click"])
    addEventListener(kind, (event) => note(kind, event.pointerId, event.target.closest("[id]")?.id), true);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) { note("sent", text); return send.call(this, text); };
  new MutationObserver(() => note("phase", document.body.dataset.phase))
    .observe(document.body, { attributeFilter: ["data-phase"] });
})()"""
OFFERED = "[...document.querySelectorAll('#touch [data-control]')].map((one) => one.dataset.control)"


def on_a_phone(
    folder: Path, game: FakeGame, size: tuple[int, int], scene: Callable[[Tab, WorldServer], Awaitable[None]]
) -> None:
    async def run() -> None:
        server = server_of(folder, open_game=lambda tell: game)
        await server.start()
        try:
            async with chromium(folder) as browser:
                phone = await opened(browser, server, size)
                await scene(phone, server)
                assert browser.complaints == []
        finally:
            await server.stop()

    asyncio.run(run())


async def opened(browser: Browser, server: WorldServer, size: tuple[int, int]) -> Tab:
    phone = await browser.open(server.url, *size, phone=True)
    await phase(phone, "ready")
    await phone.until("!document.querySelector('#touch').hidden")
    await phone.value(NOTED)
    return phone


async def paused_by_finger(phone: Tab) -> None:
    """Tap on pause until the page shows it, three times at most: a browser may lose a tap that follows a drag."""
    for _ in range(3):
        await phone.tap("#pause")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await phase(phone, "paused")
                return
    raise AssertionError(f"never paused: {await phone.value('noted.slice(-60)')}")


def key(name: str) -> int:
    return MINECRAFT.keys.index(name)


@needs_chromium
@pytest.mark.parametrize("size", [(360, 640), (640, 360)], ids=["portrait", "landscape"])
def test_all_of_a_game_is_within_reach_of_fingers(tmp_path: Path, size: tuple[int, int]):
    game = FakeGame()
    game.hands = HumanInputMapper(MINECRAFT, learned=LEARNED)

    async def scene(phone: Tab, server: WorldServer) -> None:
        assert await phone.value(MISPLACED) == []
        assert set(await phone.value(OFFERED)) == set(LEARNED[4:])
        assert game.steps == 0
        # Two at once: one walks, one looks.
        x, y = await phone.middle("#stick")
        left, top = await phone.middle("#picture")
        walk = (x, y - 45)
        await phone.fingers("touchStart", {0: walk})
        await phase(phone, "playing")
        await held(game, key("forward"))
        await phone.fingers("touchStart", {0: walk, 1: (left, top)})
        for step in range(1, 6):
            await phone.fingers("touchMove", {0: walk, 1: (left + 12 * step, top + 6 * step)})
        await comes(lambda: any((one[:, -1] > 0.5).all() and (one[:, -2] > 0.2).all() for one in game.seen))
        assert all(one[0, key("forward")] for one in game.seen[1:])
        # The one that looked goes, and the one that walks turns back, and presses a button beside it.
        await phone.fingers("touchMove", {0: (x, y + 45)})
        await held(game, key("back"))
        dig = await phone.middle("[data-control=attack]")
        await phone.fingers("touchStart", {0: (x, y + 45), 2: dig})
        await comes(lambda: game.seen[-1][0, key("back")] and game.seen[-1][0, key("attack")])
        await phone.fingers("touchEnd")
        await held(game, None)
        # Diagonally.
        await phone.fingers("touchStart", {0: (x + 35, y - 35)})
        await comes(lambda: game.seen[-1][0, key("forward")] and game.seen[-1][0, key("right")])
        await phone.fingers("touchEnd")
        for name in ("jump", "use", "hotbar.8"):
            before = len(game.seen)
            await phone.tap(f'[data-control="{name}"]')
            await comes(lambda name=name, before=before: any(one[0, key(name)] for one in game.seen[before:]))
            await held(game, None)
        # Sneaking stays until the next tap.
        await phone.tap("[data-control=sneak]")
        await held(game, key("sneak"))
        steps = game.steps
        await comes(lambda: game.steps > steps + 3)
        assert game.seen[-1][0, key("sneak")] and await phone.value("document.querySelectorAll('.held').length") == 1
        await phone.tap("[data-control=sneak]")
        await held(game, None)
        await time_is_within_reach(phone, server, game)

    on_a_phone(tmp_path, game, size, scene)


async def time_is_within_reach(phone: Tab, server: WorldServer, game: FakeGame) -> None:
    """Pause, go back, branch, return by the timeline."""
    session = only_room(server).session
    await phone.tap("#pause")
    await phase(phone, "paused")
    stood = session.shown
    await phone.tap("[data-do=earlier]")
    await phone.until(f"document.querySelector('#tree').dataset.here === '0 {stood - 1}'")
    await phone.tap("[data-do=rewind]")
    await phase(phone, "ready")
    there = session.shown
    assert there < stood - 1
    # To look around goes on, too.
    x, y = await phone.middle("#picture")
    await phone.fingers("touchStart", {0: (x, y)})
    for step in range(1, 4):
        await phone.fingers("touchMove", {0: (x - 10 * step, y)})
    await phone.fingers("touchEnd")
    await phone.until("document.querySelector('#tree').dataset.stretches === '2'")
    assert session.timeline is not None and session.timeline.stretches[1].parent == there
    # The tree may be told before the phase; until the page knows that it plays, its button means to go on.
    await phase(phone, "playing")
    await paused_by_finger(phone)
    left = await phone.value("document.querySelector('#tree').getBoundingClientRect().x")
    _, y = await phone.middle("#tree")
    await phone.fingers("touchStart", {0: (left + 3, y)})
    await phone.fingers("touchEnd")
    await phone.until("document.querySelector('#tree').dataset.here === '0 0'")
    assert session.shown == 0


@needs_chromium
@pytest.mark.parametrize("size", [(360, 640), (640, 360)], ids=["portrait", "landscape"])
def test_pong_has_its_own_directions_and_nothing_else(tmp_path: Path, size: tuple[int, int]):
    game = FakeGame(ActionSpec(keys=("noop", "up", "down"), camera=False))

    async def scene(phone: Tab, server: WorldServer) -> None:
        assert await phone.value(MISPLACED) == [] and await phone.value(OFFERED) == []
        assert "look" not in await phone.value("document.querySelector('#words').textContent")
        x, y = await phone.middle("#stick")
        # It has no sides.
        await phone.fingers("touchStart", {0: (x + 30, y)})
        await phone.fingers("touchMove", {0: (x - 30, y)})
        assert await phone.value("document.querySelector('#stick i').style.translate") == "0px"
        assert only_room(server).controls.held == set() and game.steps == 0
        for move, action in ((-45, [0, 1, 0]), (45, [0, 0, 1])):
            await phone.fingers("touchMove", {0: (x - 30, y + move)})
            await comes(lambda action=action: game.seen and game.seen[-1][0].tolist() == action)
        await phone.fingers("touchEnd")
        await comes(lambda: game.seen[-1][0].tolist() == [1, 0, 0])
        # The picture is no control of this game.
        x, y = await phone.middle("#picture")
        await phone.tap("#pause")
        await phase(phone, "paused")
        await phone.tap("[data-do=rewind]")
        await phase(phone, "ready")
        await phone.fingers("touchStart", {0: (x, y)})
        await phone.fingers("touchMove", {0: (x + 50, y)})
        await phone.fingers("touchEnd")
        assert await phone.value("document.pointerLockElement === null")
        await phase(phone, "ready")

    on_a_phone(tmp_path, game, size, scene)


@needs_chromium
def test_a_game_of_numbered_actions_has_a_button_for_each(tmp_path: Path):
    names = ("honk", "brake", "gas", "steer left", "steer right", "lights", "wipers", "horn")
    game = FakeGame(ActionSpec(keys=names, camera=False))

    async def scene(phone: Tab, server: WorldServer) -> None:
        assert await phone.value(MISPLACED) == []
        assert await phone.value("[...document.querySelectorAll('#pads button')].map((one) => one.innerText)") == [
            *names
        ]
        assert await phone.value("document.querySelector('#stick').hidden")
        await phone.tap('[data-control="hotbar.8"]')
        await phase(phone, "playing")
        await comes(lambda: any(one[0].tolist() == [0] * 7 + [1] for one in game.seen))
        await more(phone)

    on_a_phone(tmp_path, game, (360, 640), scene)
