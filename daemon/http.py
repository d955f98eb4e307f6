"""Health and metrics on aiohttp, on loopback."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from daemon.errors import UnusableInputError


def make_app(registry: CollectorRegistry, missing: Callable[[], list[str]]) -> web.Application:
    """`/livez`, `/readyz` and `/metrics`.

    Args:
        registry: Whose metrics are shown.
        missing: What the process still waits for before it is ready; [] when it is.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        waits = missing()
        return web.json_response(
            {"status": "waiting" if waits else "ok", "missing": waits}, status=503 if waits else 200
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @web.middleware
    async def errors(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status)

    app = web.Application(middlewares=[errors])
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serves while the context lasts.

    Raises:
        UnusableInputError: The port is taken, or not ours to take.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            msg = f"http.port {port} on {host} {why}; set http.port to a free one"
            raise UnusableInputError(msg) from error
        yield
    finally:
        await runner.cleanup()
