"""The live page in a real browser: what is on the screen, how soon, and what happens when attuned goes away."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from builders import fused, p
from chromium_caller import DevTools, _tab
from namespaces import require
from prometheus_client import CollectorRegistry
from videos import run

from config.sections import SourceSection
from daemon.api import SessionsApi
from daemon.consent import ConsentGate
from daemon.http import make_app, serve
from daemon.page.live import LivePage
from daemon.session import SessionInfo
from daemon.sessions import Entry, Plan, Sessions
from pipeline.types import CallSecond, Event, GroupReading
from pipeline.wire import Stamp, Versions

pytestmark = pytest.mark.timeout(240)

PEOPLE = tuple(f"p-{i:08x}" for i in range(9))
INFO = SessionInfo(Stamp("monday", "b" * 16), "seed", "research", Versions("pixel-1", "landmark-1"), 2)
FIRST_PICTURE_MS = 1000
OPTIONS = [
    "--headless=new",
    "--no-sandbox",  # we are root, and the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]
# The style of maps, which plotly.js writes when it is loaded and the page's policy refuses, is not missed.
LISTEN = """window.mistakes = [];
addEventListener("error", e => mistakes.push(e.message));
addEventListener("unhandledrejection", e => mistakes.push(String(e.reason)));
addEventListener("securitypolicyviolation", e => {
  if (!(e.sourceFile.includes("plotly-") && e.violatedDirective === "style-src-elem")) mistakes.push(e.violatedDirective);
});"""
FACE = "document.querySelector('.person .face path:nth-child(2)').getAttribute('d')"
LINK = "document.getElementById('link').dataset.link"
SWITCH = "document.querySelector('.switch')"


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Quiet:
    """A session in which nine people sit."""

    state = "live"
    reason: str | None = None
    participants = PEOPLE

    def __init__(self) -> None:
        self.consent = ConsentGate("declared")


class Room:
    """A page and what it needs, over real HTTP; it can be taken away and put back."""

    def __init__(self, token: str | None = None) -> None:
        self.port = free_port()
        self.token = token
        self.session = Quiet()
        self.answers: list[tuple[str, str, bool]] = []
        self.page = LivePage(beat_s=0.5)
        self.second = 1_763_700_000

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While it lasts people can look at it, and the nine go on."""
        self.page = LivePage(beat_s=0.5)
        sessions = Sessions(self._play, limit=1, keep=1, on_forget=lambda _: None)
        api = SessionsApi(sessions, source=SourceSection(), answer=self._answer)
        routes = [*api.routes(), *self.page.routes()]
        app: web.Application = make_app(CollectorRegistry(), list, routes=routes, free=self.page.free, token=self.token)
        plan = Plan(id="monday", url="rtsp://camera/1", purpose="research", consent="declared", source=SourceSection())
        stop = asyncio.Event()
        async with serve(app, "127.0.0.1", self.port):
            running = asyncio.create_task(sessions.run([plan], stay=True, stop=stop))
            going = asyncio.create_task(self._go())
            try:
                yield
            finally:
                going.cancel()
                self.page.close()
                stop.set()
                await asyncio.wait([going, running])

    async def _play(self, entry: Entry) -> None:
        entry.session = self.session
        await asyncio.Event().wait()

    async def _answer(self, session: str, participant: str, granted: bool) -> None:  # noqa: FBT001 (a callback)
        self.answers.append((session, participant, granted))
        self.session.consent.set(participant, granted=granted)
        state = {"state": "granted" if granted else "denied"}
        await self.page.events(INFO, [Event("consent_changed", float(self.second), (participant,), state)])

    async def _go(self) -> None:
        """Nine faces, five times a second; each second is told."""
        rng = np.random.default_rng(0)
        await self.page.events(INFO, [Event("session_started", float(self.second))])
        await self.page.status(INFO, "live", float(self.second), None)
        while True:
            happy = p(happiness=0.8)
            allowed = [who for who in PEOPLE if self.session.consent.allows(who)]
            excluded = {who: "no_consent" for who in PEOPLE if who not in allowed}
            readings = tuple(fused(who, self.second, happy if who in allowed else None) for who in PEOPLE)
            group = GroupReading(self.second, PEOPLE, tuple(allowed), excluded, happy, ("happiness",), {})
            await self.page.second(INFO, CallSecond(self.second, readings, group, (), ()))
            for step in range(5):
                meshes = rng.normal(size=(len(allowed), 468, 3)).astype(np.float32)
                self.page.watch("monday", self.second + step / 5, allowed, meshes)
                await asyncio.sleep(0.2)
            self.second += 1


class Browser:
    """A tab of a browser of its own."""

    def __init__(self, tab: DevTools) -> None:
        self.tab = tab

    async def ask(self, words: str) -> Any:  # noqa: ANN401 (whatever the page says)
        """What an expression is in the page."""
        answer = await self.tab.ask("Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, words: str, *, within_s: float = 20) -> None:
        """Waits until an expression is true in the page."""
        async with asyncio.timeout(within_s):
            while not await self.ask(words):
                await asyncio.sleep(0.05)

    async def press(self, key: str) -> None:
        """A key is pressed and let go."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13, " ": 32}[key]
            await self.tab.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text * (kind == "keyDown"),
            )

    async def look_at(self, port: int, *, width: int = 1280, scheme: str = "light") -> None:
        """Opens the page anew."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.tab.ask("Emulation.setEmulatedMedia", features=features)
        await self.tab.ask("Emulation.setDeviceMetricsOverride", **size)
        await self.tab.ask("Page.navigate", url="about:blank")
        await self.tab.ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        await self.until("location.port !== '' && document.readyState === 'complete'")


def browse(scene: Callable[[Browser, Room], Awaitable[None]], *, token: str | None = None) -> None:
    """Plays a scene in front of a browser."""
    require(["chromium"])

    async def main() -> None:
        room = Room(token)
        async with AsyncExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(prefix="page", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(temporary))
            browser = await asyncio.create_subprocess_exec(
                "chromium",
                *OPTIONS,
                f"--user-data-dir={folder}",
                "about:blank",
                stderr=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=os.environ | {"TMPDIR": str(folder), "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            )
            try:
                async with AsyncExitStack() as tabs:
                    async with asyncio.timeout(30):
                        tab = await _tab(tabs, folder)
                        await tab.ask("Page.enable")
                        await tab.ask("Page.addScriptToEvaluateOnNewDocument", source=LISTEN)
                    await scene(Browser(tab), room)
            finally:
                browser.terminate()
                await browser.wait()

    run(main())


def test_everybody_is_on_the_screen_within_a_second() -> None:
    """Nine moving wireframes with their readings; wide and on a phone, dark and light, without mistakes."""

    async def scene(browser: Browser, room: Room) -> None:
        async with room.open():
            await asyncio.sleep(1.5)
            soonest = float("inf")
            for width, scheme in ((1280, "light"), (375, "dark"), (1280, "dark")):
                await browser.look_at(room.port, width=width, scheme=scheme)
                await browser.until("document.querySelectorAll('.person').length === 9")
                await browser.until(f"({FACE}).length > 300")
                mark = "performance.getEntriesByName('first readings')[0].startTime"
                soonest = min(soonest, await browser.ask(mark))
                before = await browser.ask(FACE)
                await browser.until(f"{FACE} !== {before!r}")
                said = await browser.ask("document.querySelector('.person').innerText")
                for word in (PEOPLE[0], "happiness, confidence 80", "generic", "pixel 0.50, landmark 0.50"):
                    assert word in said
                await browser.until("document.querySelector('#ribbon .main-svg') !== null")
                assert await browser.ask("document.documentElement.scrollWidth") <= width
                assert await browser.ask("mistakes") == []
                assert await browser.ask("document.querySelectorAll('img, video, canvas').length") == 0
            # The best of three, since the machine may be doing something else.
            assert soonest < FIRST_PICTURE_MS

    browse(scene)


def test_consent_is_taken_back_with_the_keyboard() -> None:
    """From the top of the page the key Tab leads to a switch, the space bar turns it, and the wireframe goes."""

    async def scene(browser: Browser, room: Room) -> None:
        async with room.open():
            await browser.look_at(room.port)
            await browser.until(f"{SWITCH} !== null && !{SWITCH}.hidden && ({FACE}).length > 300")
            assert await browser.ask(f"{SWITCH}.getAttribute('aria-label')") == f"{PEOPLE[0]} is read"
            assert await browser.ask(f"{SWITCH}.getAttribute('aria-checked')") == "true"
            await browser.press("Tab")
            assert await browser.ask("document.activeElement.textContent") == "Skip to the participants"
            for _ in range(6):
                if await browser.ask(f"document.activeElement === {SWITCH}"):
                    break
                await browser.press("Tab")
            assert await browser.ask(f"{SWITCH}.matches(':focus-visible')")
            await browser.press(" ")
            await browser.until(f"{SWITCH}.getAttribute('aria-checked') === 'false'")
            assert room.answers == [("monday", PEOPLE[0], False)]
            await browser.until("document.querySelector('.person').innerText.includes('not read: no consent')")
            assert len(await browser.ask(FACE)) < 100
            assert "does not want to be read" in await browser.ask("document.getElementById('events').innerText")
            assert await browser.ask("document.getElementById('events').getAttribute('aria-live')") == "polite"
            assert await browser.ask("mistakes") == []

    browse(scene)


def test_the_page_says_that_attuned_is_away_and_comes_back() -> None:
    """When the server ends the page says so, and goes on by itself when there is one again."""

    async def scene(browser: Browser, room: Room) -> None:
        async with room.open():
            await browser.look_at(room.port)
            await browser.until(f"{LINK} === 'here'")
        await browser.until(f"{LINK} === 'away'")
        assert await browser.ask("document.body.classList.contains('stale')")
        async with room.open():
            await browser.until(f"{LINK} === 'here'")
            await browser.until("document.querySelectorAll('.person').length === 9")
            assert not await browser.ask("document.body.classList.contains('stale')")
            assert await browser.ask("mistakes") == []

    browse(scene)


def test_a_token_is_asked_for_and_kept_out_of_reach() -> None:
    """A wrong token is said to be wrong, the right one opens the page; nothing of it is stored."""

    async def scene(browser: Browser, room: Room) -> None:
        async with room.open():
            await browser.look_at(room.port)
            for word, outcome in (
                ("wrong", "!document.getElementById('token-wrong').hidden"),
                ("s3cret", "document.querySelectorAll('.switch:not([hidden])').length === 9"),
            ):
                await browser.until("document.getElementById('token').open")
                await browser.tab.ask("Input.insertText", text=word)
                await browser.press("Enter")
                await browser.until(outcome)
            assert await browser.ask("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
            assert await browser.ask("mistakes") == []

    browse(scene, token="s3cret")  # noqa: S106 (no secret)
