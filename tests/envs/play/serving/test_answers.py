"""A world slower than real time: the page answers long before the step has ended, by the page's own clock."""

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from tests.chromium import Tab, chromium, needs_chromium
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.serving.browsing import comes, only_room, phase
from tests.envs.play.serving.pages import server_of
from worldsim.envs.play.serving.room import Room
from worldsim.envs.play.serving.server import WorldServer

# Of a step, four times its frames' time; within which an answer must be there (milliseconds); of each median.
SECONDS, ANSWERED, TIMES = 0.4, 100.0, 7
# From the press of a key, by the event's own time, to the first picture of the browser after something holds.
CLOCK = """window.answered = (holds) => new Promise((told) => {
  const press = (event) => {
    const watch = () => {
      if (!holds()) return;
      looking.disconnect();
      requestAnimationFrame(() => told(performance.now() - event.timeStamp));
    };
    const looking = new MutationObserver(watch);
    looking.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    watch();
  };
  addEventListener("keydown", press, { capture: true, once: true });
})"""
HELD = "[...document.querySelectorAll('#held kbd')].some((one) => one.textContent === 'forward')"
PHASE = "document.body.dataset.phase === '{}'"


class SlowGame(FakeGame):
    """Says when it begins a step."""

    def __init__(self) -> None:
        super().__init__(seconds=SECONDS)
        self.begun = 0

    def advance(self, actions: np.ndarray) -> np.ndarray:
        self.begun += 1
        return super().advance(actions)


async def answer(tab: Tab, game: SlowGame, code: str, holds: str) -> float:
    """Milliseconds from a key that is pressed as a step begins until something holds on the page."""
    begun = game.begun
    await comes(lambda: game.begun > begun)
    await tab.value(f"{{ window.answer = answered(() => {holds}); 0 }}")
    await tab.key(code, up=False)
    milliseconds = await tab.value("window.answer")
    await tab.key(code, down=False)
    return milliseconds


async def measured(tab: Tab, game: SlowGame, server: WorldServer, times: int) -> dict[str, float]:
    """The median of each command's answers."""
    await tab.value(f"{{ {CLOCK}; 0 }}")
    await phase(tab, "ready")
    await tab.key("KeyS")
    await phase(tab, "playing")
    session = only_room(server).session
    out: dict[str, list[float]] = {"key": [], "pause": [], "help": [], "rewind": []}
    for _ in range(times):
        await comes(lambda: session.shown > 4)
        await tab.until("document.body.classList.contains('slow')")
        out["key"].append(await answer(tab, game, "KeyW", HELD))
        # The key stays until a step has taken it.
        await tab.until(f"!{HELD}")
        out["help"].append(await answer(tab, game, "KeyH", f"settings.open && {PHASE.format('paused')}"))
        await tab.click("#settings [data-close]")
        await phase(tab, "playing")
        out["pause"].append(await answer(tab, game, "KeyP", PHASE.format("paused")))
        await tab.key("KeyP")
        await phase(tab, "playing")
        before = await tab.value("Number(picture.dataset.moment)")
        # The moment's own picture, its place in the timeline, and what the player can do now.
        holds = f"{PHASE.format('ready')} && Number(picture.dataset.moment) < {before} && words.textContent !== ''"
        out["rewind"].append(await answer(tab, game, "Backspace", holds))
        await tab.key("KeyS")
        await phase(tab, "playing")
    return {name: median(values) for name, values in out.items()}


def answers(folder: Path, times: int) -> dict[str, float]:
    game = SlowGame()
    medians: dict[str, float] = {}

    async def run() -> None:
        server = server_of(folder, open_game=lambda tell: game)
        await server.start()
        try:
            async with chromium(folder) as browser:
                medians.update(await measured(await browser.open(server.url), game, server, times))
        finally:
            await server.stop()

    asyncio.run(run())
    return medians


@needs_chromium
def test_a_world_slower_than_real_time_still_answers(tmp_path: Path):
    medians = answers(tmp_path, TIMES)
    assert max(medians.values()) < ANSWERED, medians


@needs_chromium
def test_a_server_that_waits_for_its_step_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    look = Room.look

    def waits(room: Room) -> None:
        job: Any = room.session._job
        if job is not None and room.session.phase.value == "playing":
            job.exception()
        look(room)

    monkeypatch.setattr(Room, "look", waits)
    medians = answers(tmp_path, 1)
    # Not all: what is pressed as a step ends is answered soon all the same.
    assert max(medians.values()) > ANSWERED, medians
