"""Debian's Chromium without a window, driven over its debugging websocket: real keys, mouse and fingers."""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.timing import PATIENCE

Test = TypeVar("Test", bound=Callable[..., Any])
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--mute-audio",
    "--disable-background-networking", "--disable-extensions", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-port=0",
)  # fmt: skip
KEYS = {"Backspace": ("Backspace", 8), "Tab": ("Tab", 9), "Escape": ("Escape", 27), "Comma": (",", 188)}

SERIOUS = ("javascript", "security", "violation")
ANEW = "window.before === undefined && document.readyState === 'complete'"


def needs_chromium(test: Test) -> Test:
    """Mark a test that starts a browser: it wants the machine for itself."""
    return pytest.mark.alone(pytest.mark.skipif(PROGRAM is None, reason="needs Chromium (Debian: chromium)")(test))


class Browser:
    """A browser that runs, and its debugging connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket, self._numbers = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # Exceptions in pages, and what the browser forbade them.
        self.complaints: list[str] = []
        self._listener = asyncio.create_task(self._listen())

    async def ask(self, method: str, tab: str = "", **parameters: Any) -> dict[str, Any]:
        """What a command of the protocol returns."""
        answer = await self.reply(method, tab, **parameters)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    async def reply(self, method: str, tab: str = "", **parameters: Any) -> dict[str, Any]:
        """What the browser answers, be it an error."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": tab} if tab else {})
        await self._socket.send_json(message)
        async with asyncio.timeout(PATIENCE):
            return await self._answers[number]

    async def open(self, url: str, width: int = 1100, height: int = 760, phone: bool = False) -> "Tab":
        """A tab of that size in CSS pixels; a phone has fingers and three pixels for one."""
        made = await self.ask("Target.createTarget", url="about:blank")
        joined = await self.ask("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        tab = Tab(self, joined["sessionId"], made["targetId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.ask(f"{domain}.enable")
        await tab.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=3 if phone else 1,
            mobile=phone,
        )  # fmt: skip
        await tab.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        if phone:
            await tab.ask("Emulation.setTouchEmulationEnabled", enabled=True)
        await tab.ask("Page.navigate", url=url)
        await tab.until("document.readyState === 'complete'")
        return tab

    async def _listen(self) -> None:
        async for message in self._socket:
            content = json.loads(message.data)
            if content.get("id") in self._answers:
                self._answers.pop(content["id"]).set_result(content)
            elif content.get("method") == "Runtime.exceptionThrown" or (
                content.get("method") == "Log.entryAdded" and content["params"]["entry"]["source"] in SERIOUS
            ):
                self.complaints.append(json.dumps(content["params"]))


class Tab:
    """A page in it."""

    def __init__(self, browser: Browser, session: str, target: str):
        self._browser, self._session, self._target = browser, session, target

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.ask(method, self._session, **parameters)

    async def value(self, script: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        answer = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true in the page; its value."""
        value, end = None, asyncio.get_running_loop().time() + PATIENCE
        while not (value := await self.value(script)):
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"in vain: {script}; the page says: {await self.value('document.body.innerText')}")
            await asyncio.sleep(0.02)
        return value

    async def reload(self) -> None:
        await self.value("window.before = true")
        await self.ask("Page.reload")
        async with asyncio.timeout(PATIENCE):
            # Between the two pages there is none to ask.
            anew = False
            while not anew:
                answer = await self._browser.reply("Runtime.evaluate", self._session, expression=ANEW)
                anew = answer.get("result", {}).get("result", {}).get("value") is True

    async def key(self, code: str, *, down: bool = True, up: bool = True) -> None:
        """Press a key, as ``KeyboardEvent.code`` names it, let it go, or both."""
        key, number = KEYS.get(code) or (code[3:].lower(), ord(code[3:]))
        about = {"code": code, "key": key, "windowsVirtualKeyCode": number}
        for kind, wanted in (("rawKeyDown", down), ("keyUp", up)):
            if wanted:
                await self.ask("Input.dispatchKeyEvent", type=kind, **about)

    async def middle(self, selector: str) -> tuple[float, float]:
        box = await self.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return box[0], box[1]

    async def mouse(self, kind: str, x: float, y: float) -> None:
        await self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def click(self, selector: str) -> None:
        place = await self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.mouse(kind, *place)

    async def fingers(self, kind: str, places: Mapping[int, tuple[float, float]] = MappingProxyType({})) -> None:
        """Fingers by number, all that are on the screen: ``touchStart``, ``touchMove``, ``touchEnd`` (none is left)."""
        points = [{"id": number, "x": x, "y": y} for number, (x, y) in places.items()]
        await self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    async def tap(self, selector: str) -> None:
        await self.fingers("touchStart", {9: await self.middle(selector)})
        await self.fingers("touchEnd")

    async def picture(self) -> NDArray[np.uint8]:
        """What the screen shows, uint8 (H, W, 3) in the screen's own pixels."""
        answer = await self.ask("Page.captureScreenshot", format="png")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB"))

    async def screenshot(self, path: Path) -> None:
        answer = await self.ask("Page.captureScreenshot", format="webp", quality=86)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        await self._browser.ask("Target.closeTarget", targetId=self._target)


@contextlib.asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A browser whose files lie in a folder."""
    assert PROGRAM is not None
    log = (folder / "chromium.log").open("wb")
    program = await asyncio.create_subprocess_exec(
        PROGRAM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank", stdout=log, stderr=log
    )
    try:
        told = folder / "profile" / "DevToolsActivePort"
        async with asyncio.timeout(PATIENCE):
            while not told.exists() or len(told.read_text().split()) < 2:
                assert program.returncode is None, (folder / "chromium.log").read_text()[-2000:]
                await asyncio.sleep(0.05)
        port, path = told.read_text().split()
        address = f"ws://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
            yield Browser(socket)
    finally:
        if program.returncode is None:
            program.terminate()
        await program.wait()
        log.close()
