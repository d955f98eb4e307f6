"""A session with a Janus server: requests, their answers, and what it tells of its own accord.

Over HTTP answers and events come by long poll, over WebSockets by the one connection. Transactions tell which answer
belongs to which request.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from daemon.errors import LostError, SourceError
from daemon.security import ForbiddenAddressError, Guard, is_forbidden

VIDEOROOM = "janus.plugin.videoroom"
KEEP_ALIVE_S = 25.0
"""Janus forgets sessions that have been silent for 60 s."""
CONNECT_S = 5.0
ANSWER_S = 10.0
POLL_S = 45.0
"""Janus answers a poll after 30 s at the latest."""
GOODBYE_S = 2.0
N_EVENTS = 1000
"""Events that may wait; more come only when we have hung, and then the room is entered anew."""
N_BYTES = 4 * 2**20
"""The largest message that is read."""

NO_SUCH_SESSION = 458
UNAUTHORIZED = 403

Json = dict[str, Any]


class RefusedError(Exception):
    """The server answered a request with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _NonsenseError(Exception):
    """What came is no message of a Janus server's."""


class JanusSession:
    """A session: `async with JanusSession(...) as session`, with `listen` and `keep_alive` running beside it.

    Args:
        url: `http(s)://host:8088/janus` or `ws(s)://host:8188`, without credentials.
        token: For servers that ask for tokens.
        api_secret: For servers that have one.
        login: What HTTP's Authorization says, for a proxy before the server.
        guard: Which addresses may be connected to; None: all.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        api_secret: str | None = None,
        login: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._url = url
        self._where = f"janus+{url}"
        self._secrets = {k: v for k, v in (("token", token), ("apisecret", api_secret)) if v is not None}
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S)
        headers = {} if login is None else {"Authorization": login}
        self._http = aiohttp.ClientSession(
            timeout=timeout, headers=headers, connector=None if guard is None else guard.connector()
        )
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session: int | None = None
        self._asked: dict[str, asyncio.Future[Json]] = {}
        self._acknowledged: set[str] = set()
        self._events: asyncio.Queue[Json] = asyncio.Queue(N_EVENTS)

    async def __aenter__(self) -> Self:
        try:
            if self._url.startswith("ws"):
                self._socket = await self._connected()
                answer = await self._first_answer()
            else:
                answer = await self._post({"janus": "create"})
            self._session = _id(_checked(answer))
        except BaseException as error:
            await self._close()
            if isinstance(error, RefusedError) and error.code == UNAUTHORIZED:
                message = f"{self._where}: the server asks for a token or another one; set source.token"
                raise SourceError(message) from error
            if isinstance(error, (RefusedError, _NonsenseError)):
                message = f"{self._where}: this is no Janus server's API; the path is usually /janus"
                raise SourceError(message) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._tell({"janus": "destroy"})
        finally:
            await self._close()

    async def attach(self) -> int:
        """A new handle of the VideoRoom plugin."""
        answer = await self._ask({"janus": "attach", "plugin": VIDEOROOM})
        try:
            return _id(answer)
        except _NonsenseError as error:
            raise self._gone(error) from error

    async def detach(self, handle: int) -> None:
        """Gives the handle back, in bounded time, without waiting for more."""
        await self._tell({"janus": "detach", "handle_id": handle})

    async def request(self, handle: int, body: Json, jsep: Json | None = None) -> tuple[Json, Json | None]:
        """What the plugin answers: its data, and a session description where there is one.

        Raises:
            RefusedError: The plugin or the server refuses.
            LostError: No answer came.
        """
        message = {"janus": "message", "handle_id": handle, "body": body}
        answer = await self._ask(message if jsep is None else message | {"jsep": jsep})
        return plugin_data(answer), answer.get("jsep")

    async def event(self) -> Json:
        """The next message that is no answer."""
        return await self._events.get()

    async def listen(self) -> None:
        """Takes what comes, for as long as the session lasts.

        Raises:
            LostError: The server is gone, or has forgotten the session.
        """
        while True:
            for message in await (self._poll() if self._socket is None else self._receive(self._socket)):
                self._take(message)

    async def keep_alive(self) -> None:
        """Tells every 25 s that we are still here.

        Raises:
            LostError: The server does not answer.
        """
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            await self._ask({"janus": "keepalive"})

    def _take(self, message: Json) -> None:
        """Gives an answer to who asked, and keeps events."""
        if message.get("janus") == "timeout" or _error_code(message) == NO_SUCH_SESSION:
            text = f"{self._where}: the server has forgotten the session"
            raise LostError(text)
        asked = self._asked.get(str(message.get("transaction", "")))
        if asked is not None:
            if not asked.done() and (message.get("janus") != "ack" or message["transaction"] in self._acknowledged):
                asked.set_result(message)
        elif message.get("janus") not in {"ack", "keepalive", "success"}:
            try:
                self._events.put_nowait(message)
            except asyncio.QueueFull as error:
                text = f"{self._where}: {N_EVENTS} events wait; this machine is too slow"
                raise LostError(text) from error

    async def _tell(self, message: Json) -> None:
        """Sends what needs no answer. Whoever cannot be told finds out after 60 s."""
        with suppress(LostError, SourceError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._send(message)

    async def _ask(self, message: Json) -> Json:
        """The answer to a request, which has been checked."""
        transaction = secrets.token_hex(8)
        asked = self._asked[transaction] = asyncio.get_running_loop().create_future()
        if message["janus"] == "keepalive":  # is answered by an acknowledgement and nothing else
            self._acknowledged.add(transaction)
        try:
            async with asyncio.timeout(ANSWER_S):
                if (answer := await self._send(message | {"transaction": transaction})) is not None:
                    self._take(answer)
                return _checked(await asked)
        except TimeoutError as error:
            text = f"{self._where}: the server does not answer"
            raise LostError(text) from error
        except RefusedError as error:
            if error.code == NO_SUCH_SESSION:
                text = f"{self._where}: the server has forgotten the session"
                raise LostError(text) from error
            raise
        finally:
            del self._asked[transaction]
            self._acknowledged.discard(transaction)

    async def _send(self, message: Json) -> Json | None:
        """Sends a message of this session; over HTTP there is an answer, if only an acknowledgement."""
        if self._socket is None:
            handle = message.get("handle_id")
            path = f"/{self._session}" if handle is None else f"/{self._session}/{handle}"
            return await self._post({k: v for k, v in message.items() if k != "handle_id"}, path)
        whole = {"transaction": secrets.token_hex(8)} | message | {"session_id": self._session} | self._secrets
        try:
            await self._socket.send_json(whole)
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error
        return None

    async def _post(self, message: Json, path: str = "") -> Json:
        whole = {"transaction": secrets.token_hex(8)} | message | self._secrets
        try:
            async with self._http.post(self._url + path, json=whole, allow_redirects=False) as response:
                return _one(await self._body(response))
        except _NonsenseError as error:
            if self._session is None:
                raise
            raise self._gone(error) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise self._gone(error) from error

    async def _poll(self) -> list[Json]:
        try:
            async with self._http.get(
                f"{self._url}/{self._session}",
                params={"maxev": "20"} | self._secrets,
                timeout=aiohttp.ClientTimeout(total=POLL_S, sock_connect=CONNECT_S),
                allow_redirects=False,
            ) as response:
                said = await self._body(response)
                return [_one(message) for message in (said if isinstance(said, list) else [said])]
        except (aiohttp.ClientError, OSError, ValueError, _NonsenseError) as error:
            raise self._gone(error) from error

    async def _connected(self) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._http.ws_connect(
                self._url,
                protocols=("janus-protocol",),
                max_msg_size=N_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise self._in_trouble(error.status) from error
            message = f"{self._where}: no Janus WebSocket answers here; its port is usually 8188"
            raise SourceError(message) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._gone(error) from error

    async def _first_answer(self) -> Json:
        assert self._socket is not None  # noqa: S101
        await self._send({"janus": "create"})
        return (await self._receive(self._socket))[0]

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> list[Json]:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            text = f"{self._where}: the server has closed the connection"
            raise LostError(text)
        try:
            return [_one(_read(message.data))]
        except _NonsenseError as error:
            if self._session is None:
                raise
            raise self._gone(error) from error

    async def _body(self, response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 (JSON)
        """The JSON of an answer, which is not read beyond its bound.

        Raises:
            LostError: It is a proxy's, whose server does not answer.
        """
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._in_trouble(response.status)
        data = bytearray()
        async for part in response.content.iter_any():
            data += part
            if len(data) > N_BYTES:
                break
        return _read(bytes(data))

    def _in_trouble(self, status: int) -> LostError:
        return LostError(f"{self._where}: the server is in trouble ({status})")

    def _gone(self, error: Exception) -> LostError | SourceError:
        if isinstance(error, UnicodeError):
            reason = "the host can be no name, a part of it is empty or too long; check the address"
            return SourceError(f"{self._where}: {reason}")
        if is_forbidden(error):
            return SourceError(f"{self._where}: {ForbiddenAddressError().strerror}")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = "its certificate is not trusted; install it, or use the name that it was made for"
        elif isinstance(error, aiohttp.ClientSSLError):
            reason = "TLS could not be agreed on; check the port, and http or https"
        elif isinstance(error, aiohttp.ClientConnectorDNSError):
            reason = "there is no such host; check the address"
        elif isinstance(error, aiohttp.ClientConnectorError):
            why = os.strerror(error.errno) if error.errno else "no connection"
            reason = f"cannot be reached ({why}); check that the server runs"
        elif isinstance(error, TimeoutError):
            reason = "does not answer; check that the server runs"
        else:
            reason = f"broke off ({' '.join(str(error).split())[:200] or type(error).__name__})"
        return LostError(f"{self._where}: {reason}")

    async def _close(self) -> None:
        try:
            if self._socket is not None:
                await self._socket.close()
        finally:
            await self._http.close()


def plugin_data(message: Mapping[str, Any]) -> Json:
    """What the plugin says in a message; empty where it says nothing."""
    data = message.get("plugindata")
    said = data.get("data") if isinstance(data, dict) else None
    return said if isinstance(said, dict) else {}


def objects(value: object) -> list[Json]:
    """The objects of a list; nothing where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _checked(answer: Json) -> Json:
    """The answer, if it is no error of the server's or the plugin's."""
    if (code := _error_code(answer)) is not None:
        raise RefusedError(code, str(answer["error"].get("reason", "")))
    data = plugin_data(answer)
    if "error_code" in data:
        raise RefusedError(_number(data["error_code"]), str(data.get("error", "")))
    return answer


def _error_code(answer: Mapping[str, Any]) -> int | None:
    error = answer.get("error")
    return _number(error.get("code")) if isinstance(error, dict) else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _id(answer: Json) -> int:
    """Of what was made."""
    try:
        return int(answer["data"]["id"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        text = "no id"
        raise _NonsenseError(text) from error


def _read(data: str | bytes) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        text = "not JSON"
        raise _NonsenseError(text) from error


def _one(message: Any) -> Json:  # noqa: ANN401 (JSON)
    if not isinstance(message, dict):
        text = "not an object"
        raise _NonsenseError(text)
    return message
