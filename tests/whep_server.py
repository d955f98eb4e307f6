"""A scripted WHEP server: aiohttp in front, an aiortc sender behind."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from replay import Clip, Publisher

Script = Callable[["WhepServer", web.Request], web.Response]
ETAG = '"first"'


@dataclass(eq=False)
class WhepServer:
    """Answers each POST by the next script, and shows the clip once they are used up.

    requests: method, path, token and If-Match of everything that came, in order.
    """

    clip: Clip
    script: deque[Script] = field(default_factory=deque)
    counter_offers: bool = False
    counter_type: str = "application/sdp"
    patch_status: int = 204
    is_absolute: bool = False
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    publishers: list[Publisher] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        """What was asked for."""
        return [method for method, *_ in self.requests]

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        headers = request.headers
        self.requests.append(
            (request.method, request.path, headers.get("Authorization"), headers.get("If-Match")),
        )
        match request.method:
            case "POST" if self.script:
                return self.script.popleft()(self, request)
            case "POST":
                return await self._show(await request.text())
            case "PATCH":
                if self.patch_status == 204:
                    await self.publishers[-1].accept(await request.text())
                return web.Response(status=self.patch_status)
            case "DELETE" if self.publishers:
                await self.publishers[-1].connection.close()
                return web.Response()
        return web.Response(status=404)

    async def _show(self, offer: str) -> web.Response:
        publisher = Publisher(self.clip)
        self.publishers.append(publisher)
        location = f"/resource/{len(self.publishers)}"
        headers = {"Location": self.url + location if self.is_absolute else location, "ETag": ETAG}
        if self.counter_offers:
            headers["Content-Type"] = self.counter_type
            return web.Response(status=406, body=(await publisher.offer()).encode(), headers=headers)
        answer = await publisher.answer(offer)
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)


def replies(status: int, text: str = "", **headers: str) -> Script:
    """A script that says just this; underscores in names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _server, _request: web.Response(status=status, body=text.encode(), headers=named)


@asynccontextmanager
async def whep_server(clip: Clip, *script: Script, **options: object) -> AsyncIterator[WhepServer]:
    """Serves on a port of loopback, a free one by default; what it shows dies with it, without goodbye."""
    server = WhepServer(clip, deque(script), **options)  # type: ignore[arg-type]
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", server.handle)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", server.port)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        for publisher in server.publishers:
            publisher.kill()
            await publisher.__aexit__()
        await runner.cleanup()
