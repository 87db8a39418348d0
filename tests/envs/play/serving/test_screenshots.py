"""The page's screenshots: the frame that the session shows in its place, texts where they belong, and nothing else."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.chromium import Tab, chromium, needs_chromium
from tests.envs.play.fake_game import timeline_of
from tests.envs.play.pictured_game import Picture, PicturedGame, box, enlarged, psnr
from tests.envs.play.serving.browsing import comes, more, only_room, phase
from tests.envs.play.serving.pages import server_of
from worldsim.envs.play.serving.room import Room

# dB that JPEG leaves of a frame at least; that another moment's frame, or the same one elsewhere, does not reach.
ALIKE, OTHER = 30.0, 25.0
# What lies over the picture: its places, in pixels of the screen.
PLACES = """((selector) => [...document.querySelectorAll(selector)].filter((one) =>
  one.checkVisibility({opacityProperty: true}) && (one.textContent || one.tagName !== "SPAN"))
  .map((one) => one.getBoundingClientRect())
  .map((b) => [b.left, b.top, b.right, b.bottom].map((edge) => edge * devicePixelRatio)))"""
OVER = "#words, #figures span, #held kbd, #toast, #stick, #pads button, #items button, dialog"
# What is under the backdrop of a dialog: so much of it is left.
LEFT = 1 - 0xAA / 0xFF


async def places(tab: Tab, selector: str) -> list[list[float]]:
    return await tab.value(f"{PLACES}({selector!r})")


async def over(tab: Tab, shape: tuple[int, ...], selector: str = OVER) -> NDArray[np.bool_]:
    """Pixels (H, W) of the screen that texts and buttons cover."""
    mask = np.zeros(shape[:2], bool)
    for left, top, right, bottom in await places(tab, selector):
        mask[int(top) - 1 : int(bottom) + 2, max(0, int(left) - 1) : int(right) + 2] = True
    return mask


def frame_of(room: Room) -> Picture:
    """The frame that the session says is shown."""
    assert room._frame is not None
    frames = timeline_of(room.session).picture(room.session.shown)
    assert any(np.array_equal(room._frame, frame) for frame in frames[-1 if room.session.moved else 0 :])
    return room._frame


async def shows(tab: Tab, frame: Picture) -> tuple[float, NDArray[np.bool_]]:
    """How well the screen shows a frame (dB) where nothing covers it; where the frame lies.

    It has to be as large as whole pixels allow; beside it the stage is black.
    """
    picture = await tab.picture()
    [canvas], [stage] = await places(tab, "#picture"), await places(tab, "#stage")
    across, down = stage[2] - stage[0], stage[3] - stage[1]
    factor = int(min(across / frame.shape[1], down / frame.shape[0]) + 1e-6)
    left, top = round(canvas[0]), round(canvas[1])
    assert (left, top) == pytest.approx(canvas[:2], abs=0.06)
    assert canvas[2] - canvas[0] == pytest.approx(factor * frame.shape[1], abs=0.5)
    assert abs(canvas[0] - stage[0] - (stage[2] - canvas[2])) <= 1
    expected, here = np.zeros_like(picture), np.zeros(picture.shape[:2], bool)
    large = enlarged(frame, factor)
    area = np.s_[top : top + large.shape[0], left : left + large.shape[1]]
    expected[area], here[area] = large, True
    free = ~await over(tab, picture.shape)
    staged = np.zeros_like(here)
    staged[round(stage[1]) + 1 : round(stage[3]) - 1, round(stage[0]) : round(stage[2])] = True
    assert (here & free).sum() > 0.5 * large.shape[0] * large.shape[1]
    assert not picture[staged & ~here & free].any()
    return psnr(picture, expected, here & free), here & free


async def until_drawn(tab: Tab, room: Room) -> None:
    """The page has the picture of the moment that is shown, and the screen shows it."""
    await comes(lambda: room.session._job is None and not room.session.moving)
    await tab.until(f"Number(picture.dataset.moment) === {room.session.shown}")
    await tab.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await tab.until("!toast.classList.contains('shown') || getComputedStyle(toast).opacity === '1'")


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
                assert (await shows(tab, frame_of(room)))[0] > ALIKE
                await tab.key("KeyW")
                await more(tab, 8)
                await tab.key("KeyP")
                await phase(tab, "paused")
                await until_drawn(tab, room)
                paused, (close, _) = frame_of(room), await shows(tab, frame_of(room))
                before = await tab.picture()
                assert close > ALIKE
                await tab.key("Comma")
                await phase(tab, "paused")
                await until_drawn(tab, room)
                assert (await shows(tab, frame_of(room)))[0] > ALIKE
                # Not by chance: the moment before is another picture, and so is the frame upside down.
                assert (await shows(tab, paused))[0] < OTHER > (await shows(tab, frame_of(room)[::-1]))[0]
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
