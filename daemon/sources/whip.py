"""The WHIP endpoint: encoders push to the daemon's HTTP server (RFC 9725)."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from daemon.errors import LostError, SourceError
from daemon.http import bears
from daemon.sources.live import Feeds
from daemon.sources.sdp import Description, Fragment
from daemon.sources.webrtc import ClosedError, IceSettings, Peer

FEED = "gallery"
BODY_MAX = 64 * 1024
BODY_S = 10.0
ANSWER_S = 12.0
"""A session that lost its publisher just now may need some seconds until it takes the next."""
RETRY_S = 5

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_CORS = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After",
}


Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(slots=True, eq=False)
class _Publication:
    """What one encoder pushes, from its offer on."""

    offer: str
    answer: "asyncio.Future[str | SourceError | LostError]"
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    etag: str = field(default_factory=lambda: f'"{secrets.token_hex(8)}"')
    peer: Peer | None = None
    is_over: bool = False

    def reply(self, what: str | SourceError | LostError) -> None:
        """Says what becomes of the offer, once."""
        if not self.answer.done():
            self.answer.set_result(what)

    def end(self) -> None:
        """The encoder goes, or is sent away."""
        self.is_over = True
        if self.peer is not None:
            self.peer.hang_up()


class WhipConnection:
    """Waits for an encoder and shows what it pushes, then for the next; one at a time.

    Args:
        ice: How encoders may reach us.
        stall_s: An encoder that shows no picture for so long is lost.
    """

    component = "whip"
    is_room = False

    def __init__(self, *, ice: IceSettings, stall_s: float = 10.0) -> None:
        self._ice = ice
        self._stall_s = stall_s
        self._publication: _Publication | None = None
        self._offered = asyncio.Event()

    async def run(self, feeds: Feeds) -> str:
        """Waits and shows until an encoder is lost; see `live.Connection`."""
        feeds.connected()
        while True:
            await self._offered.wait()
            self._offered.clear()
            publication = self._publication
            if publication is not None and not publication.is_over:
                await self._show(publication, feeds)

    @property
    def publication(self) -> _Publication | None:
        """Whoever pushes just now."""
        publication = self._publication
        return None if publication is None or publication.is_over else publication

    async def take(self, offer: str) -> tuple[_Publication, str]:
        """What comes of an offer, and the answer to it; nobody else pushes yet.

        Raises:
            SourceError: It is no offer, or has no video that can be read.
            LostError: We cannot answer just now.
        """
        publication = _Publication(offer, asyncio.get_running_loop().create_future())
        self._publication = publication
        self._offered.set()
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await publication.answer
        except TimeoutError as error:
            msg = "the session does not take the offer; try again"
            raise LostError(msg, retry_after_s=RETRY_S) from error
        finally:
            if not publication.answer.done() or publication.answer.cancelled():
                publication.end()
        if isinstance(answer, str):
            return publication, answer
        raise answer

    def turn_away(self) -> None:
        """The session ends: nobody may push any more."""
        if self._publication is not None:
            self._publication.reply(LostError("the session has ended; start it again"))
            self._publication.end()

    async def _show(self, publication: _Publication, feeds: Feeds) -> None:
        """Shows what an encoder pushes until it goes.

        Raises:
            LostError: It was lost.
        """
        try:
            async with Peer(self._ice, lambda _, picture: feeds.put(FEED, picture), feeds.skipped) as peer:
                try:
                    answer = await peer.answer(publication.offer)
                except (SourceError, LostError) as error:
                    publication.reply(error)
                    return
                if publication.is_over:
                    return
                publication.peer = peer
                publication.reply(answer)
                await peer.until_connected()
                feeds.open(FEED)
                await peer.until_lost(self._stall_s)
        except ClosedError:
            return
        except LostError as error:
            msg = f"the publisher was lost: {error}"
            raise LostError(msg) from error
        finally:
            publication.end()
            feeds.close(FEED)


class WhipEndpoint:
    """The resources /whip/{session} and /whip/{session}/{publication}.

    Args:
        token: Is asked for as a bearer token; None: everybody who can reach the server may push.
        limit: Encoders at a time, over all sessions.
        origins: Pages of these may push from a browser; else only encoders and pages of the same origin (CORS).
        ice: Whose STUN and TURN servers encoders are told of.
    """

    def __init__(self, *, token: str | None, limit: int, ice: IceSettings, origins: Collection[str] = ()) -> None:
        self._token = token
        self._origins = origins
        self._limit = limit
        self._links = _links(ice)
        self._connections: dict[str, WhipConnection] = {}

    def register(self, session_id: str, connection: WhipConnection) -> None:
        """Encoders may push to this session from now on."""
        self._connections[session_id] = connection

    def unregister(self, session_id: str) -> None:
        """No longer."""
        connection = self._connections.pop(session_id, None)
        if connection is not None:
            connection.turn_away()

    def routes(self) -> list[web.RouteDef]:
        """What an aiohttp application mounts."""
        return [
            web.route("*", "/whip/{session}", self._shared(self._endpoint)),
            web.route("*", "/whip/{session}/{publication}", self._shared(self._resource)),
        ]

    def _shared(self, handler: Handler) -> Handler:
        """Tells the browser that a page of an allowed origin may read the answer; to all others it says nothing."""

        async def handle(request: web.Request) -> web.Response:
            response = await handler(request)
            origin = request.headers.get("Origin", "")
            if self._origins:
                response.headers["Vary"] = "Origin"
            if origin in self._origins:
                response.headers.update(_CORS | {"Access-Control-Allow-Origin": origin})
            return response

        return handle

    async def _endpoint(self, request: web.Request) -> web.Response:
        """Offers come here."""
        allow = {"Allow": "OPTIONS, GET, HEAD, POST"}
        try:
            match request.method:
                case "OPTIONS":
                    return _reply(HTTPStatus.OK, {"Accept-Post": _SDP, **allow})
                case "GET" | "HEAD":
                    # There is nothing to see, and that is no mistake (RFC 9725 section 4.1).
                    return _reply(HTTPStatus.NO_CONTENT)
                case "POST":
                    self._check_token(request)
                    return await self._publish(request)
                case _:
                    return _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "POST an offer", allow).response()
        except _Refusal as refusal:
            return refusal.response()

    async def _resource(self, request: web.Request) -> web.Response:
        """A publication is told of candidates, and ended."""
        allow = {"Allow": "OPTIONS, GET, HEAD, PATCH, DELETE"}
        try:
            match request.method:
                case "OPTIONS":
                    return _reply(HTTPStatus.OK, {"Accept-Patch": _FRAGMENT, **allow})
                case "GET" | "HEAD":
                    return _reply(HTTPStatus.NO_CONTENT)
                case "PATCH":
                    self._check_token(request)
                    return await self._trickle(request)
                case "DELETE":
                    self._check_token(request)
                    self._find(request).end()
                    return _reply(HTTPStatus.OK)
                case _:
                    text = "PATCH candidates, or DELETE the publication"
                    return _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, allow).response()
        except _Refusal as refusal:
            return refusal.response()

    def _check_token(self, request: web.Request) -> None:
        if self._token is not None and not bears(request, self._token):
            text = "send Authorization: Bearer and http.token"
            raise _Refusal(HTTPStatus.UNAUTHORIZED, text, {"WWW-Authenticate": "Bearer"})

    async def _publish(self, request: web.Request) -> web.Response:
        """Takes an offer, if somebody waits for it and nobody else pushes."""
        session = request.match_info["session"]
        connection = self._connections.get(session)
        if connection is None:
            text = "no session waits for a publisher here; start one with whip://"
            raise _Refusal(HTTPStatus.NOT_FOUND, text)
        if request.content_type != _SDP:
            text = f"send the offer as {_SDP}"
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text, {"Accept-Post": _SDP})
        offer = await _body(request)
        retry = {"Retry-After": str(RETRY_S)}
        if connection.publication is not None:
            raise _Refusal(HTTPStatus.CONFLICT, "somebody else pushes to this session; stop that first", retry)
        if sum(c.publication is not None for c in self._connections.values()) >= self._limit:
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many publishers; raise limits.sessions", retry)
        try:
            publication, answer = await connection.take(offer)
        except SourceError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        except LostError as error:
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), retry) from error
        location = f"{request.rel_url.raw_path}/{publication.id}"
        headers = {"Location": location, "ETag": publication.etag, "Accept-Patch": _FRAGMENT}
        response = _reply(HTTPStatus.CREATED, headers, answer)
        for link in self._links:
            response.headers.add("Link", link)
        return response

    async def _trickle(self, request: web.Request) -> web.Response:
        """Adds candidates; an ICE restart cannot be done, and leaves things as they are."""
        publication = self._find(request)
        if request.content_type != _FRAGMENT:
            text = f"send candidates as {_FRAGMENT}"
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text, {"Accept-Patch": _FRAGMENT})
        match = request.headers.get("If-Match")
        if match is None:
            raise _Refusal(HTTPStatus.PRECONDITION_REQUIRED, "send If-Match with the ETag of the publication")
        if match != "*" and publication.etag not in [tag.strip() for tag in match.split(",")]:
            raise _Refusal(HTTPStatus.PRECONDITION_FAILED, "this is not the ETag of the publication")
        try:
            fragment = Fragment.parse(await _body(request))
        except SourceError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        if not set(fragment.ice) <= Description.parse(publication.offer).ice():
            text = "an ICE restart cannot be done; DELETE the publication and POST a new offer"
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        if publication.peer is not None and not publication.is_over:
            await publication.peer.add_candidates(fragment.candidates)
        return _reply(HTTPStatus.NO_CONTENT)

    def _find(self, request: web.Request) -> _Publication:
        connection = self._connections.get(request.match_info["session"])
        publication = connection.publication if connection else None
        given = request.match_info["publication"].encode()
        if publication is None or not secrets.compare_digest(publication.id.encode(), given):
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is no such publication; POST an offer to the endpoint first")
        return publication


class _Refusal(Exception):  # noqa: N818 (it is an answer, no mistake of ours)
    """What the encoder is told instead."""

    def __init__(self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self._status = status
        self._headers = dict(headers or {})

    def response(self) -> web.Response:
        """As JSON, like every error of the daemon's server."""
        return web.json_response({"error": str(self)}, status=self._status, headers=self._headers)


async def _body(request: web.Request) -> str:
    """The body as text."""
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_chunked(BODY_MAX):
                body += chunk
                if len(body) > BODY_MAX:
                    text = f"send at most {BODY_MAX} bytes"
                    raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, {"Connection": "close"})
        return body.decode()
    except TimeoutError as error:
        text = f"send the body within {BODY_S:g} s"
        raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, text, {"Connection": "close"}) from error
    except UnicodeDecodeError as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, "send SDP in UTF-8") from error


def _reply(status: HTTPStatus, headers: Mapping[str, str] | None = None, sdp: str | None = None) -> web.Response:
    return web.Response(
        status=status, headers=dict(headers or {}), text=sdp, content_type=_SDP if sdp is not None else None
    )


def _links(ice: IceSettings) -> list[str]:
    """STUN and TURN as Link headers (RFC 9725 section 4.6)."""
    links = []
    if ice.stun:
        links.append(f'<{ice.stun}>; rel="ice-server"')
    if ice.turn:
        user, password = _quoted(ice.turn_username or ""), _quoted(ice.turn_password or "")
        login = f'; username="{user}"; credential="{password}"; credential-type="password"' if ice.turn_username else ""
        links.append(f'<{ice.turn}>; rel="ice-server"{login}')
    return links


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
