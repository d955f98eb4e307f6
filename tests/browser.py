"""Chromium without a window, told what to do over its debugging port."""

import asyncio
import json
import os
import signal
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # we are root, and the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


class Tab:
    """A browser's only tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._n = 0

    async def tell(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer to a command; events are passed over."""
        self._n += 1
        await self._socket.send_json({"id": self._n, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("id") == self._n:
                return dict(message["result"])

    async def evaluate(self, words: str) -> dict[str, Any]:
        """What an expression gives in the page, waited for, as `{"said": …, "error": …}`."""
        said = await self.tell("Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True)
        return {"said": said["result"].get("value"), "error": said.get("exceptionDetails")}

    async def ask(self, words: str) -> Any:  # noqa: ANN401 (whatever the page says)
        """What an expression is in the page."""
        answer = await self.evaluate(words)
        assert answer["error"] is None, answer["error"]
        return answer["said"]

    async def until(self, words: str, *, within_s: float = 20) -> None:
        """Waits until an expression is true in the page."""
        async with asyncio.timeout(within_s):
            while not await self.ask(words):
                await asyncio.sleep(0.05)

    async def press(self, key: str) -> None:
        """A key is pressed and let go."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            await self.tell(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text * (kind == "keyDown"),
            )

    async def look_at(
        self, url: str, *, width: int = 1280, height: int = 900, scheme: str = "light", motion: str = "no-preference"
    ) -> None:
        """Opens a page anew, and waits until its own files are there."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.tell("Emulation.setEmulatedMedia", features=features)
        await self.tell("Emulation.setDeviceMetricsOverride", **size)
        await self.tell("Page.navigate", url="about:blank")
        await self.tell("Page.navigate", url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def photograph(self, *, height: int | None = None) -> bytes:
        """The PNG of what is on the screen, or of the uppermost `height` pixels of the whole page."""
        clip = {}
        if height is not None:
            width = await self.ask("innerWidth")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        answer = await self.tell("Page.captureScreenshot", captureBeyondViewport=height is not None, **clip)
        return b64decode(answer["data"])


@asynccontextmanager
async def browser(*options: str) -> AsyncIterator[Tab]:
    """A browser of its own with these options beside `OPTIONS`; it is gone afterwards."""
    # Short, because the path of a socket in it may have 108 characters.
    with tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        process = await asyncio.create_subprocess_exec(
            "chromium",
            *OPTIONS,
            *options,
            f"--user-data-dir={folder}",
            "about:blank",
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": name, "HOME": name, "XDG_CONFIG_HOME": str(folder / "config")},
        )
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(30):
                    tab = await _tab(stack, folder)
                    await tab.tell("Page.enable")
                yield tab
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _tab(stack: AsyncExitStack, folder: Path) -> Tab:
    """The tab, once the browser's port is open."""
    port = folder / "DevToolsActivePort"
    while not (port.exists() and port.read_text().strip()):
        await asyncio.sleep(0.05)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    async with http.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list") as answer:
        tabs = json.loads(await answer.text())
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return Tab(await stack.enter_async_context(http.ws_connect(address, max_msg_size=0)))
