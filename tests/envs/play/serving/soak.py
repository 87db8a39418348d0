"""Minutes of scripted play on the page: is the server's memory flat, is every key heard, does a picture come late?

python -m tests.envs.play.serving.soak --world minecraft --minutes 30
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import numpy as np

from tests.envs.play.serving.pages import Page
from tests.envs.play.soak import CONTROLS, PAUSE, WARM_UP, Report
from tests.timing import PATIENCE
from worldsim.envs.play.tree.playthrough import Playthrough

# Of a hundred doings, how many are a pause; seconds that it lasts.
PAUSES, STANDS = 3, 0.3


class Driver:
    """Somebody at a page who taps keys and now and then pauses.

    Args:
        page: at the page, with the hello said and the world ready.
        resident: bytes of the server in memory.
        seconds: how long.
        seed: decides what is done.
    """

    def __init__(self, page: Page, resident: Callable[[], int], seconds: float, seed: int = 0):
        self.page, self.resident, self.seconds, self.report = page, resident, seconds, Report()
        # Seconds from a tap to the first picture that shows what it did.
        self.answers: list[float] = []
        self._rng = np.random.default_rng(seed)
        # By the number of a tap its key, and until it is answered its time; of each picture the last tap and moment.
        self._taps: dict[int, str] = {}
        self._waiting: dict[int, float] = {}
        self._seen: list[tuple[int, int]] = []
        self._begun = self._looked = 0.0

    async def play(self) -> Report:
        """Play, keep what was played, and compare it with the keys."""
        reader = asyncio.create_task(self._read())
        try:
            controls = list(CONTROLS.values())
            await self._tap(str(self._rng.choice(controls)))
            await self._until(lambda: self._state == "playing")
            self._begun = time.monotonic()
            while (passed := time.monotonic() - self._begun) < self.seconds:
                if self._rng.random() < PAUSES / 100:
                    await self._pause()
                await self._tap(str(self._rng.choice(controls)))
                if passed > WARM_UP * self.seconds and len(self.report.memory) < passed - WARM_UP * self.seconds:
                    self.report.memory.append(self.resident())
                await asyncio.sleep(float(self._rng.exponential(PAUSE)))
            await self._until(lambda: not self._waiting)
            await self.page.do("pause")
            await self._until(lambda: self._state == "paused")
            await self.page.do("save")
            await self._until(lambda: "file" in self.page.latest)
        finally:
            reader.cancel()
        self._judge()
        return self.report

    @property
    def _state(self) -> str:
        return self.page.latest.get("state", {}).get("phase", "")

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.005)

    async def _read(self) -> None:
        """Take in all that comes."""
        while await self.page.look():
            now = time.monotonic()
            if self._state != "playing":
                self._looked = 0.0
            if not self.page.pictures:
                continue
            effect, moment, _ = self.page.pictures.pop()
            self.answers += [now - self._waiting.pop(number) for number in list(self._waiting) if number <= effect]
            self._seen.append((effect, moment))
            if self._looked and self._begun and now - self._begun > WARM_UP * self.seconds:
                self.report.gaps.append(now - self._looked)
            self._looked = now

    async def _tap(self, key: str) -> None:
        number = await self.page.hold(key)
        self._taps[number], self._waiting[number] = key, time.monotonic()
        await self.page.hold()
        self.report.pressed += 1

    async def _pause(self) -> None:
        # What was tapped shall be taken before.
        await self._until(lambda: not self._waiting)
        self.report.commands += 1
        await self.page.do("pause")
        await asyncio.sleep(STANDS)
        await self.page.do("resume")
        await self._until(lambda: self._state == "playing")

    def _judge(self) -> None:
        """Each tap must be among the actions of the steps until the first picture that shows its effect."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "played.json"
            path.write_text(self.page.latest["file"]["text"])
            played = Playthrough.load(path)
        keys, chunk, actions = played.origin.keys, played.origin.chunk, played.actions()
        self.report.steps = len(actions) // chunk
        showed = iter(self._seen)
        before, (effect, moment) = 0, next(showed)
        for number, key in sorted(self._taps.items()):
            while effect < number:
                before, (effect, moment) = moment, next(showed)
            if not actions[before * chunk : moment * chunk, keys.index(key)].any():
                self.report.dropped.append(key)


async def drive(url: str, token: str, resident: Callable[[], int], seconds: float) -> tuple[Report, list[float]]:
    """Play at an address; what happened, and the seconds of each answer to a tap."""
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}socket") as socket:
        page = await Page(socket).hello(token)
        await page.phase("ready")
        driver = Driver(page, resident, seconds)
        return await driver.play(), driver.answers


def main(words: Sequence[str] | None = None) -> int:
    """Soak the page of a shipped world, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--world", default="minecraft")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "worldsim", "play", "--serve", "serving.port=0", "--world", given.world]
        command += [f"threads={given.threads}", f"folder={folder}"]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            try:
                address = server.stdout.readline().split(" at ")[1].split()[0]
                url, _, token = address.partition("#token=")

                def resident() -> int:
                    fields = Path(f"/proc/{server.pid}/statm").read_text().split()
                    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

                report, answers = asyncio.run(drive(url, token, resident, 60 * given.minutes))
            finally:
                server.terminate()
    print(report.line())
    print("answers p50 {:.0f} ms, p95 {:.0f} ms".format(*(1000 * np.percentile(answers, (50, 95)))))
    return int(not report.held())


if __name__ == "__main__":
    sys.exit(main())
