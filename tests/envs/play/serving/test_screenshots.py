"""The page's screenshots: the frame that the session shows in its place, texts where they belong, and nothing else."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from tests.chromium import Tab, chromium, needs_chromium
from tests.envs.play.pictured_game import PicturedGame, box
from tests.envs.play.serving.browsing import comes, more, only_room, phase
from tests.envs.play.serving.pages import server_of
from tests.envs.play.serving.seen import ALIKE, frame_of, over, shows, until_drawn

# dB that another moment's frame, or the same one elsewhere, does not reach.
OTHER = 25.0
# What is under the backdrop of a dialog: so much of it is left.
LEFT = 1 - 0xAA / 0xFF


@needs_chromium
@pytest.mark.parametrize("size", [(1100, 760), (901, 633), (360, 640)], ids=["desk", "odd", "phone"])
def test_the_screen_shows_the_frame_and_texts_where_they_belong(tmp_path: Path, size: tuple[int, int]):
    game, phone = PicturedGame(), size[0] < 640

    async def scene() -> None:
        server = server_of(tmp_path, open_game=lambda tell: game)
        await server.start()
        try:
            async with chromium(tmp_path) as browser:
                tab = await browser.open(server.url, *size, phone=phone)
                await phase(tab, "ready")
                room = only_room(server)
                await until_drawn(tab, room)
                assert await shows(tab, frame_of(room)) > ALIKE
                await tab.key("KeyW")
                await more(tab, 8)
                await tab.key("KeyP")
                await phase(tab, "paused")
                await until_drawn(tab, room)
                paused = frame_of(room)
                before = await tab.picture()
                assert await shows(tab, paused) > ALIKE
                left = room.session.shown
                await tab.key("Comma")
                # It is paused before the key arrives too.
                await comes(lambda: room.session.shown != left)
                await until_drawn(tab, room)
                assert await shows(tab, frame_of(room)) > ALIKE
                # Not by chance: the moment before is another picture, and so is the frame upside down.
                assert await shows(tab, paused) < OTHER > await shows(tab, frame_of(room)[::-1])
                await helps(tab)
                if folder := os.environ.get("WORLDSIM_SCREENSHOTS"):
                    await tab.screenshot(Path(folder) / f"test-page-{size[0]}.webp")
                assert not np.array_equal(await tab.picture(), before)
        finally:
            await server.stop()

    asyncio.run(scene())


async def helps(tab: Tab) -> None:
    """The help lies in the middle, over a page that is darker and else the same; nothing is left of it."""
    before = await tab.picture()
    await tab.key("KeyH")
    await tab.until("settings.open")
    during = await tab.picture()
    dialog = await over(tab, before.shape, "dialog[open]")
    left, top, right, bottom = box(dialog)
    assert abs(left + right - before.shape[1]) <= 6 and (right - left) * (bottom - top) > 0.1 * dialog.size
    darker = np.rint(before * LEFT)
    # The button that was pressed last may have lost the focus; all else is as it was.
    assert (np.abs(during - darker).max(-1) > 4)[~dialog].mean() < 1e-3
    # Letters: bright on dark, in many places.
    assert (during[dialog].min(-1) > 200).sum() > 500 and (during[dialog].max(-1) < 60).mean() > 0.5
    await tab.value("{ document.querySelector('#settings [data-close]').click(); 0 }")
    await tab.until("!settings.open")
    np.testing.assert_array_equal(await tab.picture(), before)
