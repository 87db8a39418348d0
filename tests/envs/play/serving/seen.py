"""What a screenshot of the page shows, compared with the frame that the session says is shown."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.chromium import Tab
from tests.envs.play.fake_game import timeline_of
from tests.envs.play.pictured_game import Picture, enlarged, psnr
from tests.envs.play.serving.browsing import comes
from worldsim.envs.play.serving.room import Room

# dB that JPEG leaves of a frame at least.
ALIKE = 30.0
# What lies over the picture: its places, in pixels of the screen.
PLACES = """((selector) => [...document.querySelectorAll(selector)].filter((one) =>
  one.checkVisibility({opacityProperty: true}) && (one.textContent || one.tagName !== "SPAN"))
  .map((one) => one.getBoundingClientRect())
  .map((b) => [b.left, b.top, b.right, b.bottom].map((edge) => edge * devicePixelRatio)))"""
OVER = "#words, #figures span, #held kbd, #toast, #stick, #pads button, #items button, dialog"


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


async def shows(tab: Tab, frame: Picture) -> float:
    """How well the screen shows a frame (dB) where nothing covers it.

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
    return psnr(picture, expected, here & free)


async def until_drawn(tab: Tab, room: Room) -> None:
    """The page has the picture of the moment that is shown, and the screen shows it."""
    await comes(lambda: room.session._job is None and not room.session.moving)
    await tab.until(f"Number(picture.dataset.moment) === {room.session.shown}")
    await tab.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await tab.until("!toast.classList.contains('shown') || getComputedStyle(toast).opacity === '1'")
