"""The daemon's HTTP server on aiohttp: health and metrics, and whatever routes it is given, behind a token."""

import errno
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from config.sections import LOOPBACK
from daemon.asyncapi import asyncapi_yaml
from daemon.errors import UnusableInputError
from daemon.security import RateLimit

log = structlog.get_logger()

HEALTH = ("/livez", "/readyz")
BODY_MAX = 64 * 1024
SHUTDOWN_S = 0.5
"""How long requests that are under way may take when the server ends."""
PERSONAL = ("/api/", "/page/stream", "/whip/")
"""Paths behind which there are people."""
WRONG_TOKEN_COST = 5.0
"""So many requests is one with a wrong token."""

OnAccess = Callable[[web.Request, bool], None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    registry: CollectorRegistry,
    missing: Callable[[], list[str]],
    *,
    routes: Sequence[web.RouteDef] = (),
    free: Collection[str] = (),
    asyncapi: str | None = None,
    token: str | None = None,
    is_open: bool = True,
    limit: RateLimit | None = None,
    on_access: OnAccess = lambda *_: None,
) -> web.Application:
    """`/livez`, `/readyz`, `/metrics`, `/asyncapi.yaml`, and the given routes.

    Args:
        registry: Whose metrics are shown.
        missing: What the process still waits for before it is ready; [] when it is.
        routes: Further ones.
        free: Paths for which no token is asked, because what is there holds nothing of anybody.
        asyncapi: The document of what this node publishes; None: that of any node.
        token: Is asked for as a bearer token by the API; None: nobody is asked.
        is_open: Whether metrics are for everybody who can reach the server.
        limit: How often one address may ask; None: as often as it likes. Health and what is free costs nothing.
        on_access: Is told of every request that may have to do with people, and whether it was let in.
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
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status)
        except Exception:
            log.exception("request failed by a bug", method=request.method)
            return web.json_response({"error": "internal error; the log says more"}, status=500)

    guard = _guarding(token=token, free=free, is_open=is_open, limit=limit, on_access=on_access)
    app = web.Application(middlewares=[errors, guard], client_max_size=BODY_MAX)
    app.add_routes(routes)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    app.add_routes([_contract(asyncapi)])
    return app


def _guarding(
    *, token: str | None, free: Collection[str], is_open: bool, limit: RateLimit | None, on_access: OnAccess
) -> Middleware:
    """Lets in who may come in; see `make_app`."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        caller = request.remote or ""
        if limit is not None and request.path not in (*HEALTH, *free) and not limit.takes(caller):
            return _refused(429, "too many requests; ask less often, or raise api.rate_per_s", {"Retry-After": "1"})
        if token is None and request.path not in HEALTH and not _is_here(request):
            # A page of somebody else's may have given its own name our address.
            return _refused(
                421, f"{request.host} is not this machine's name for itself; ask for 127.0.0.1, or set http.token"
            )
        # The WHIP endpoint asks for the token itself: browsers ask it beforehand, without one, whether they may.
        whip = request.path.startswith("/whip/")
        is_free = whip or request.path in (*HEALTH, *free) or (is_open and request.path == "/metrics")
        is_let_in = token is None or is_free or bears(request, token)
        if request.path.startswith(PERSONAL):
            on_access(request, is_let_in)
        if is_let_in:
            return await handler(request)
        if limit is not None:
            # Guessing is dearer than asking.
            limit.takes(caller, WRONG_TOKEN_COST)
        return _refused(401, "send Authorization: Bearer and http.token", {"WWW-Authenticate": "Bearer"})

    return guard


def _refused(status: int, why: str, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    return web.json_response({"error": why}, status=status, headers=dict(headers))


def _contract(asyncapi: str | None) -> web.RouteDef:
    """`/asyncapi.yaml`."""
    body = (asyncapi or asyncapi_yaml()).encode()

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "application/yaml"})

    return web.get("/asyncapi.yaml", show)


def _is_here(request: web.Request) -> bool:
    """Whether the request was sent to this machine by one of its own names."""
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    return host.strip("[]") in LOOPBACK


def bears(request: web.Request, token: str) -> bool:
    """Whether a request carries the bearer token; takes as long for a wrong one as for the right one."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serves while the context lasts.

    Raises:
        UnusableInputError: The port is taken, or not ours to take.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = (
                "is taken; set http.port to a free one"
                if taken
                else f"cannot be used ({error}); set http.host or http.port"
            )
            msg = f"http.port {port} on {host} {why}"
            raise UnusableInputError(msg) from error
        yield
    finally:
        await runner.cleanup()
