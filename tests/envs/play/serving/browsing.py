"""What tests of the page in a browser wait for."""

import asyncio
from collections.abc import Callable

import numpy as np

from tests.chromium import Tab
from tests.envs.play.fake_game import FakeGame
from tests.timing import PATIENCE
from worldsim.envs.play.serving.room import Room
from worldsim.envs.play.serving.server import WorldServer


async def comes(holds: Callable[[], object]) -> None:
    """Wait until something holds on this side."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


async def held(game: FakeGame, key: int | None) -> None:
    """Wait until the game gets this key of the action vector, or none."""
    wanted = {} if key is None else {key: 1.0}

    def there() -> bool:
        last = game.seen[-1][0] if game.seen else np.zeros(1)
        return all(last[k] == v for k, v in wanted.items()) and (key is not None or not last[:20].any())

    async with asyncio.timeout(PATIENCE):
        while not there():
            await asyncio.sleep(0.01)


async def phase(tab: Tab, name: str) -> None:
    await tab.until(f"document.body.dataset.phase === '{name}' && document.querySelector('#bar').hidden")


async def shown(tab: Tab) -> int:
    return int(await tab.value("Number(document.querySelector('#picture').dataset.shown ?? 0)"))


async def more(tab: Tab, count: int = 3) -> None:
    """Wait for some more pictures."""
    await tab.until(f"Number(document.querySelector('#picture').dataset.shown ?? 0) >= {await shown(tab) + count}")


def only_room(server: WorldServer) -> Room:
    assert server.rooms is not None
    [room] = [room for room in server.rooms.all.values() if room.begun]
    return room
