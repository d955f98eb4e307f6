"""The WHEP player: one stream that a server shows by WebRTC (draft-ietf-wish-whep)."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Never

import aiohttp
from aiohttp import hdrs
from yarl import URL

from daemon.clock import utc_s
from daemon.errors import LostError, SourceError
from daemon.security import ForbiddenAddressError, Guard, is_forbidden
from daemon.sources.live import Feeds
from daemon.sources.urls import lowered
from daemon.sources.webrtc import IceSettings, Peer, to_the_end

FEED = "gallery"
REQUEST_S = 10.0
DELETE_S = 3.0
REDIRECTS_MAX = 5
BODY_MAX = 64 * 1024
RETRY_MAX_S = 60.0
"""A server that asks for a longer silence is asked again all the same."""
VALID_S = 30.0
"""How long a counter-offer holds where the server does not say."""

_SDP = "application/sdp"
_BUSY = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_MOVED = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_NOT_ALLOWED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the server at `url` said; `is_trusted`: it was sent the token."""

    url: URL
    status: int
    headers: Mapping[str, str]
    body: str
    is_trusted: bool

    @property
    def content_type(self) -> Message:
        """The media type and its parameters."""
        message = Message()
        message["Content-Type"] = self.headers.get(hdrs.CONTENT_TYPE, "no content")
        return message

    @property
    def target(self) -> URL:
        """Where it points to.

        Raises:
            SourceError: That is no address.
        """
        try:
            url = self.url.join(URL(self.headers[hdrs.LOCATION]))
        except (KeyError, ValueError):
            url = URL()
        if url.scheme not in {"http", "https"} or not url.host:
            msg = f"{shown(self.url)}: is no WHEP server, it names no Location; check the address"
            raise SourceError(msg)
        return url.with_user(None).with_fragment(None)


class WhepConnection:
    """Plays a stream.

    Args:
        url: `whep+https://…`, or the same without `whep+`. It is shown without user, password and query.
        ice: How the server may be reached.
        token: Bearer token; it is not sent to other origins that the server redirects to.
        stall_s: How long no picture may come.
        guard: Which addresses may be connected to, redirects included; None: all.

    Raises:
        SourceError: The address is none.
    """

    component = "whep"
    is_room = False

    def __init__(
        self, url: str, *, ice: IceSettings, token: str | None, stall_s: float = 10.0, guard: Guard | None = None
    ) -> None:
        try:
            given = URL(lowered(url).removeprefix("whep+"))
        except ValueError:
            given = URL()
        if given.scheme not in {"http", "https"} or not given.host:
            msg = "this is no WHEP address; write it as whep+https://host/path"
            raise SourceError(msg)
        self._url = given.with_user(None).with_fragment(None)
        self._authorization = f"Bearer {token}" if token else None
        if self._authorization is None and given.user is not None:
            login = base64.b64encode(f"{given.user}:{given.password or ''}".encode()).decode()
            self._authorization = f"Basic {login}"
        self._ice = ice
        self._stall_s = stall_s
        self._guard = guard

    async def run(self, feeds: Feeds) -> str:
        """Plays until the stream is lost; see `live.Connection`."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        connector = None if self._guard is None else self._guard.connector()
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), connector=connector
        ) as http:
            async with self._peer(feeds) as peer:
                reply = await self._post(http, await peer.offer())
                if reply.status == HTTPStatus.CREATED:
                    async with self._held(http, reply):
                        await peer.accept(reply.body)
                        await self._play(peer, feeds)
            # A counter-offer: aiortc cannot take its own offer back, so another peer answers.
            async with self._held(http, reply), self._peer(feeds) as peer:
                await self._answer(http, reply, peer)
                await self._play(peer, feeds)

    def _peer(self, feeds: Feeds) -> Peer:
        return Peer(self._ice, lambda _, picture: feeds.put(FEED, picture), feeds.skipped)

    async def _play(self, peer: Peer, feeds: Feeds) -> Never:
        await peer.until_connected()
        feeds.connected()
        feeds.open(FEED)
        await peer.until_lost(self._stall_s)

    async def _post(self, http: aiohttp.ClientSession, offer: str) -> _Reply:
        """The server's answer or counter-offer, in SDP.

        Raises:
            LostError, SourceError: It gives neither.
        """
        url = self._url
        for _ in range(REDIRECTS_MAX + 1):
            reply = await self._ask(http, "POST", url, offer, is_trusted=url.origin() == self._url.origin())
            if reply.status not in _MOVED:
                break
            url = reply.target
        else:
            msg = f"{shown(self._url)}: redirects again and again; check the address"
            raise SourceError(msg)
        if reply.status not in {HTTPStatus.CREATED, HTTPStatus.NOT_ACCEPTABLE}:
            raise _refusal(reply)
        if reply.content_type.get_content_type() != _SDP:
            kind = reply.content_type.get_content_type()
            msg = f"{shown(url)}: is no WHEP server, it answers {reply.status} with {kind}; check the address"
            raise SourceError(msg)
        return reply

    async def _answer(self, http: aiohttp.ClientSession, reply: _Reply, peer: Peer) -> None:
        """Answers a counter-offer while it holds."""
        try:
            async with asyncio.timeout(_valid_s(reply)):
                answer = await peer.answer(reply.body)
                etag = reply.headers.get(hdrs.ETAG)
                patched = await self._ask(http, "PATCH", reply.target, answer, is_trusted=_may_know(reply), match=etag)
        except TimeoutError as error:
            msg = f"{shown(reply.url)}: its offer ran out before it was answered"
            raise LostError(msg) from error
        if not HTTPStatus.OK <= patched.status < HTTPStatus.MULTIPLE_CHOICES:
            raise _refusal(patched)

    @asynccontextmanager
    async def _held(self, http: aiohttp.ClientSession, reply: _Reply) -> AsyncIterator[None]:
        """Deletes what the server made for us, in the end."""
        url = reply.target
        try:
            yield
        finally:
            await to_the_end(self._delete(http, url, is_trusted=_may_know(reply)))

    def _not_reached(self, url: URL, error: aiohttp.ClientError) -> LostError | SourceError:
        if is_forbidden(error):
            # Whatever stands behind a name or a redirect is not told.
            return SourceError(f"{shown(self._url)}: {ForbiddenAddressError().strerror}")
        return LostError(_unreached(url, error))

    async def _delete(self, http: aiohttp.ClientSession, url: URL, *, is_trusted: bool) -> None:
        """A server that does not answer finds out by itself that we are gone."""
        with suppress(LostError, SourceError, TimeoutError):
            async with asyncio.timeout(DELETE_S):
                await self._ask(http, "DELETE", url, None, is_trusted=is_trusted)

    async def _ask(
        self,
        http: aiohttp.ClientSession,
        method: str,
        url: URL,
        sdp: str | None,
        *,
        is_trusted: bool,
        match: str | None = None,
    ) -> _Reply:
        """One request, without following redirects.

        Raises:
            LostError: The server is not reached, or not in time.
            SourceError: What it says is too long, or it cannot be asked.
        """
        headers = {hdrs.ACCEPT: _SDP}
        if sdp is not None:
            headers[hdrs.CONTENT_TYPE] = _SDP
        if match is not None:
            headers[hdrs.IF_MATCH] = match
        if is_trusted and self._authorization is not None:
            headers[hdrs.AUTHORIZATION] = self._authorization
        try:
            async with http.request(method, url, data=sdp, headers=headers, allow_redirects=False) as response:
                body = b""
                async for chunk in response.content.iter_chunked(BODY_MAX):
                    body += chunk
                    if len(body) > BODY_MAX:
                        msg = f"{shown(url)}: is no WHEP server, it sends more than {BODY_MAX} bytes; check the address"
                        raise SourceError(msg)
                text = body.decode("utf-8", "replace")
                return _Reply(url, response.status, response.headers, text, is_trusted)
        except TimeoutError as error:
            msg = f"{shown(url)}: does not answer in {REQUEST_S:g} s; check that the server runs"
            raise LostError(msg) from error
        except aiohttp.ClientError as error:
            raise self._not_reached(url, error) from error
        except ValueError as error:  # also a UnicodeError
            if self._authorization is not None and not self._authorization.isprintable():
                msg = f"{shown(url)}: the token has a line break or another control character in it; set source.token"
            else:
                msg = f"{shown(url)}: the host can be no name, a part of it is empty or too long; check the address"
            raise SourceError(msg) from error


def shown(url: URL) -> str:
    """The address as it may be shown: no user, password, query or fragment."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to be left alone, in [0, `RETRY_MAX_S`]; 0 where it does not.

    Retry-After is a number of seconds or a date (RFC 9110 section 10.2.3); a date is compared to the server's own
    clock, where it tells it.
    """
    value = headers.get(hdrs.RETRY_AFTER, "").strip()
    seconds = float(value) if value.isdecimal() else (_date_s(value) or 0.0) - _server_s(headers)
    return min(max(seconds, 0.0), RETRY_MAX_S)


def _valid_s(reply: _Reply) -> float:
    """Seconds for which a counter-offer holds."""
    until = reply.content_type.get_param("valid-until")
    until_s = _date_s(until) if isinstance(until, str) else None
    return VALID_S if until_s is None else max(0.0, until_s - _server_s(reply.headers))


def _server_s(headers: Mapping[str, str]) -> float:
    """The server's present, which need not be ours."""
    return _date_s(headers.get(hdrs.DATE, "")) or utc_s()


def _date_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _may_know(reply: _Reply) -> bool:
    """Whether the resource may be sent the token: its server has it already, and it does not leave TLS."""
    return reply.is_trusted and not (reply.url.scheme == "https" and reply.target.scheme == "http")


def _refusal(reply: _Reply) -> LostError | SourceError:
    """What a status means: busy and gone may change, everything else of ours is wrong for good."""
    where, status = shown(reply.url), reply.status
    if status in _BUSY:
        return LostError(f"{where}: has nothing to show yet ({status})", retry_after_s=retry_after_s(reply.headers))
    if status in _GONE:
        return LostError(f"{where}: there is no such stream ({status}); check the address", final_at_first=True)
    if status in _NOT_ALLOWED:
        what = "the token is wrong" if reply.is_trusted else "it wants a token of its own, being another origin"
        return SourceError(f"{where}: {what} ({status}); set source.token")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return LostError(f"{where}: the server is in trouble ({status})", retry_after_s=retry_after_s(reply.headers))
    if status < HTTPStatus.BAD_REQUEST:
        return SourceError(f"{where}: is no WHEP server, it answers {status} to an offer; check the address")
    return SourceError(f"{where}: refuses what we offer ({status}); check the address, and that it is a WHEP server")


def _unreached(url: URL, error: aiohttp.ClientError) -> str:
    """Why there was no answer."""
    where = shown(url)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{where}: its certificate is not trusted; install it, or use the name that it was made for"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"{where}: TLS could not be agreed on; check the port, and http or https"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"{where}: there is no such host; check the address"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{where}: cannot be reached ({error.strerror or 'no connection'}); check that the server runs"
    return f"{where}: broke off ({type(error).__name__}); check that it is a WHEP server"
