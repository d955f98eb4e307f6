"""RTSP cameras and recorders through FFmpeg: one thread reads, another decodes, and the newest picture wins.

Packets that wait say how far decoding is behind, whatever the timestamps of the stream are worth. FFmpeg takes the
password in the address alone: that address, and FFmpeg's exceptions, which quote it, never leave this module.
"""

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import av
from av.container import InputContainer
from av.error import (
    FFmpegError,
    HTTPClientError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPOtherClientError,
    HTTPServerError,
    HTTPUnauthorizedError,
    InvalidDataError,
)
from av.packet import Packet
from av.video.stream import VideoStream

from daemon.errors import AttunedError, LostError, SourceError
from daemon.security import ForbiddenAddressError, Guard
from daemon.sources.backlog import Backlog
from daemon.sources.live import Feeds

GALLERY = "gallery"
"""The one feed of a camera or recorder."""
SLICE_S = 2.0
"""A thread that waits for packets looks up so often. Shorter would be quicker to cancel, but whoever looks up in the
middle of a packet sent over TCP loses its place in the stream."""
REOPENING_S = (0.0, 0.2, 0.5, 1.0)
"""Pauses before each try to open a stream anew that was open a moment ago."""
AUTH_MAX_BYTES = 127
"""FFmpeg cuts off user and password beyond this."""
ANSWER_MAX_BYTES = 1 << 16
_ENCODING = re.compile(rb"m=video.*?a=rtpmap:\d+ ([\w.-]{1,40})/", re.DOTALL)
PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stream is."""

    shown: str
    """For messages: without user, password, query, and without a path that carries settings."""
    host: str
    port: int
    secure: bool
    has_user: bool
    asked: str = field(repr=False)
    """For requests: without user and password."""
    dialled: str = field(repr=False)
    """For FFmpeg: with all of them."""

    def at(self, ip: str) -> "Address":
        """The same with the host's address in place of its name, which may mean another one the next time.

        With TLS the name stays: it is what the certificate is checked for, and no other host has that.
        """
        if self.secure:
            return self
        place, pinned = (f"{f'[{h}]' if ':' in h else h}:{self.port}" for h in (self.host, ip))
        # User and password come first, have no bare @ in them, and may look like the place.
        user, at, rest = self.dialled.partition("@") if self.has_user else ("", "", self.dialled)
        dialled = f"{user}{at}{rest.replace(place, pinned, 1)}"
        return replace(self, host=ip, asked=self.asked.replace(place, pinned, 1), dialled=dialled)


def parse_address(url: str, username: str | None = None, password: str | None = None) -> Address:
    """The parts of an address; user and password of the settings win over those in it.

    Raises:
        SourceError: It is no address of a stream, or user and password cannot be sent.
    """
    wrong = "is no address of a stream; write rtsp://HOST/PATH or rtsps://HOST/PATH, user and password in source.*"
    try:
        parts = urlsplit(url)
        port = PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        port = None
    if not port or not parts.hostname or not url.isprintable() or " " in url:
        msg = f"the source's url {wrong}"
        raise SourceError(msg)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port}"
    user = unquote(parts.username or "") if username is None else username
    secret = unquote(parts.password or "") if password is None else password
    query = f"?{parts.query}" if parts.query else ""
    return Address(
        shown=f"{parts.scheme}://{place}{_shown_path(parts)}",
        host=parts.hostname,
        port=port,
        secure=parts.scheme == "rtsps",
        has_user=bool(user),
        asked=f"{parts.scheme}://{place}{parts.path}{query}",
        dialled=f"{parts.scheme}://{_userinfo(user, secret)}{place}{parts.path}{query}",
    )


def _shown_path(parts: SplitResult) -> str:
    """The path, unless it has settings in it: some cameras are told the password there."""
    return "/…" if re.search("[=&;]", parts.path) else parts.path


def _userinfo(user: str, secret: str) -> str:
    """User and password for FFmpeg, which undoes the escapes and keeps the rest as it is.

    Raises:
        SourceError: They cannot be sent.
    """
    if not user:
        return ""
    if ":" in user or not (user + secret).isprintable():
        msg = "source.username must not have a colon in it, nor source.password any control character"
        raise SourceError(msg)
    userinfo = ":".join(re.sub("[%/?#@:]", lambda found: f"%{ord(found[0]):02X}", text) for text in (user, secret))
    if len(userinfo.encode()) > AUTH_MAX_BYTES:
        msg = f"source.username and source.password are longer than the {AUTH_MAX_BYTES} bytes that can be sent by RTSP"
        raise SourceError(msg)
    return f"{userinfo}@"


class RtspConnection:
    """One RTSP stream with a picture of a whole call.

    Args:
        url: `rtsp://` or `rtsps://`; may hold user and password.
        transport: How pictures travel; with `rtsps://` it is always TCP.
        open_timeout_s: How long the server may take to answer.
        read_timeout_s: A stream that shows no picture for so long is lost.
        username: Wins over the URL's.
        password: Wins over the URL's.
        verify: Whether the certificate of an `rtsps://` server is checked.
        ca_file: Certificates to check it against; None: the system's.
        guard: Which addresses may be connected to; None: all.

    Raises:
        SourceError: The URL cannot be used.
    """

    component = "rtsp"
    is_room = False

    def __init__(
        self,
        url: str,
        *,
        transport: Literal["tcp", "udp"] = "tcp",
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 10.0,
        username: str | None = None,
        password: str | None = None,
        verify: bool = True,
        ca_file: Path | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._address = parse_address(url, username, password)
        self._pinned = self._address
        self._transport: Literal["tcp", "udp"] = "tcp" if self._address.secure else transport
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._verify = verify
        self._ca_file = ca_file

    async def run(self, feeds: Feeds) -> str:
        """Reads until the stream is lost or this is cancelled; then its threads end within `SLICE_S`.

        A server that greets us and falls silent while FFmpeg opens the stream holds that up for twice `open_timeout_s`.

        Raises:
            LostError: The server is not there, went away, ended the stream or shows nothing.
            SourceError: It refuses us, or shows nothing that can be read.
        """
        await self._knock()
        reading = _Reading(
            self._pinned, self._transport, self._tls_options(), self._open_timeout_s, self._read_timeout_s, feeds
        )
        threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode-rtsp")
        job = asyncio.get_running_loop().run_in_executor(threads, reading.read, threads)
        try:
            await asyncio.wait({job})
        finally:
            reading.stop()
            try:
                await asyncio.wait({job})
            finally:
                threads.shutdown()
        outcome = job.result()
        if isinstance(outcome, _NoDecoderError):
            outcome = SourceError(f"{self._address.shown}: {await self._encoding()} cannot be read; choose H.264")
        raise outcome

    async def _knock(self) -> None:
        """Whether an RTSP server answers whom we may trust: FFmpeg says not what was wrong, and cannot be cancelled.

        Raises:
            LostError: Nobody is there, or it is no RTSP server.
            SourceError: The certificate is not to be trusted, or the host can be no name.
        """
        address = self._address
        trust = self._trust()
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._pin()
                said = await self._greeting(trust)
        except TimeoutError as error:
            msg = f"{address.shown}: no answer within {self._open_timeout_s:g} s; check host and port"
            raise LostError(msg) from error
        except socket.gaierror as error:
            msg = f"{address.shown}: the host is unknown; check its name"
            raise LostError(msg) from error
        except ssl.SSLCertVerificationError as error:
            msg = (
                f"{address.shown}: its certificate is not trusted ({error.verify_message.lower().rstrip('.')}); "
                "set source.ca_file to its authority, or source.verify to false"
            )
            raise SourceError(msg) from error
        except UnicodeError as error:
            msg = f"{address.shown}: the host can be no name, a part of it is empty or too long; check the address"
            raise SourceError(msg) from error
        except ssl.SSLError as error:
            if not self._verify:
                return  # FFmpeg gets on with older TLS than Python does
            msg = f"{address.shown}: does not speak TLS as we do; check the port, or write rtsp://"
            raise LostError(msg, final_at_first=True) from error
        except OSError as error:
            msg = f"{address.shown}: cannot be reached ({_said(error)}); check host and port, and that it runs"
            raise LostError(msg) from error
        if said != b"RTSP/":
            msg = f"{address.shown}: does not answer as an RTSP server does; check the port"
            raise LostError(msg)

    async def _pin(self) -> None:
        """Makes sure that FFmpeg connects to the address that was found good.

        Raises:
            OSError: There is no such host.
            SourceError: It is in no network that may be asked for.
        """
        if self._guard is not None:
            address = self._address
            try:
                self._pinned = address.at(await self._guard.resolve(address.host, address.port))
            except ForbiddenAddressError as error:
                msg = f"{address.shown}: {error.strerror}"
                raise SourceError(msg) from error

    async def _greeting(self, trust: ssl.SSLContext | None) -> bytes:
        """The first bytes of the answer to what FFmpeg asks first.

        Raises:
            OSError, UnicodeError: There is no connection.
        """
        address = self._pinned
        asked = f"OPTIONS {address.asked} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: attuned\r\n\r\n"
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trust)
        try:
            writer.write(asked.encode())
            return await reader.readexactly(5)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async def _encoding(self) -> str:
        """What the server calls the encoding of its video, as far as it tells those who give no password."""
        address = self._pinned
        asked = f"DESCRIBE {address.asked} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
        answer = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(self._open_timeout_s):
                reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._trust())
                try:
                    writer.write(asked.encode())
                    while len(answer) < ANSWER_MAX_BYTES and not _ENCODING.search(answer):
                        answer += await reader.readuntil(b"\n")
                finally:
                    writer.transport.abort()
        found = _ENCODING.search(answer)
        return f"its codec {found[1].decode()}" if found else "its codec"

    def _trust(self) -> ssl.SSLContext | None:
        """How TLS is spoken and certificates are checked; None: there is no TLS.

        Raises:
            SourceError: The certificates cannot be read.
        """
        if not self._address.secure:
            return None
        if not self._verify:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            msg = f"{self._ca_file}: holds no certificates that can be read ({_said(error)}); mend source.ca_file"
            raise SourceError(msg) from error

    def _tls_options(self) -> dict[str, str]:
        """The same for FFmpeg, which checks nothing unless told, and looks for the system's where Red Hat has them."""
        if not (self._address.secure and self._verify):
            return {}
        known = self._ca_file or ssl.get_default_verify_paths().cafile
        return {"tls_verify": "1"} | ({"ca_file": str(known)} if known else {})


class _NoDecoderError(AttunedError):
    """There is a video in a codec that FFmpeg does not know."""


class _Reading:
    """One connection, from opening to loss, in threads of its own."""

    def __init__(
        self,
        address: Address,
        transport: Literal["tcp", "udp"],
        tls_options: dict[str, str],
        open_timeout_s: float,
        read_timeout_s: float,
        feeds: Feeds,
    ) -> None:
        self._address = address
        self._transport = transport
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._feeds = feeds
        self._backlog: Backlog[Packet[VideoStream]] = Backlog(feeds.skipped)
        self._stopped = threading.Event()
        self._seen_s = 0.0
        self._options = tls_options | {
            "rtsp_transport": transport,
            "protocol_whitelist": "rtp,udp,tcp,tls",
            # Not `nobuffer`: that throws away the first key frame, and nothing is seen until the next.
            "analyzeduration": "1000000",
            "fpsprobesize": "0",
            "timeout": str(round(1e6 * open_timeout_s)),
            "max_delay": "100000",
            "reorder_queue_size": "100",
            "buffer_size": str(1 << 20),
        }

    def stop(self) -> None:
        """Ends `read` soon; from any thread."""
        self._stopped.set()

    def read(self, threads: ThreadPoolExecutor) -> AttunedError:
        """Why the stream was lost or cannot be. Returned, not raised: it must not refer to what FFmpeg raised."""
        began_s = time.monotonic()
        try:
            container = self._open("video")
        except FFmpegError as error:
            return self._refusal(error, time.monotonic() - began_s)
        with container:
            video = next(iter(container.streams.video), None)
            if video is None:
                return self._no_video()
            # mypy: PyAV's stubs do not know that there may be no decoder.
            if getattr(video, "codec_context", None) is None:
                return _NoDecoderError()
            self._seen_s = time.monotonic()
            self._feeds.connected()
            self._feeds.open(GALLERY)
            decoding = threads.submit(self._decode, video)
            try:
                return self._fill(container, video, decoding)
            finally:
                self._backlog.end()
                decoding.result()

    def _open(self, kinds: str) -> InputContainer:
        """The stream, as far as it has tracks of these kinds."""
        return av.open(
            self._address.dialled,
            format="rtsp",
            container_options=self._options | {"allowed_media_types": kinds},
            metadata_errors="ignore",
            timeout=(self._open_timeout_s, SLICE_S),
        )

    def _no_video(self) -> AttunedError:
        return SourceError(f"{self._address.shown}: has no video track; check the path")

    def _fill(self, container: InputContainer, video: VideoStream, decoding: "Future[None]") -> AttunedError:
        """Reads packets until there are no more."""
        packets = container.demux(video)
        while not self._over(decoding):
            asked_s = time.monotonic()
            try:
                packet = next(packets)
            except FFmpegError as error:
                if time.monotonic() - asked_s < SLICE_S:
                    return LostError(f"{self._address.shown}: the connection broke ({_said(error)})")
                packets = container.demux(video)
                continue
            if packet.size == 0:
                return LostError(f"{self._address.shown}: the stream ended")
            self._backlog.put(packet)
        return LostError(f"{self._address.shown}: no picture came for {self._read_timeout_s:g} s")

    def _over(self, decoding: "Future[None]") -> bool:
        late = time.monotonic() - self._seen_s > self._read_timeout_s
        return late or self._stopped.is_set() or decoding.done()

    def _decode(self, video: VideoStream) -> None:
        """Decodes what waits, in a thread of its own."""
        codec = video.codec_context
        # More threads would each hold back a picture.
        codec.thread_count = 1
        while (waited := self._backlog.take()) is not None:
            packet, late = waited
            codec.skip_frame = "NONREF" if late else "DEFAULT"
            try:
                pictures = [picture for picture in packet.decode() if not picture.is_corrupt]
            except FFmpegError:
                self._feeds.skipped()
                continue
            if late and not pictures:
                self._feeds.skipped()
            for picture in pictures:
                self._seen_s = time.monotonic()
                self._feeds.put(GALLERY, picture)

    def _refusal(self, error: FFmpegError, took_s: float) -> AttunedError:
        """What it means that a stream could not be opened."""
        shown = self._address.shown
        match error:
            case HTTPUnauthorizedError() | HTTPForbiddenError():
                what = "wrong user or password" if self._address.has_user else "asks for user and password"
                refusal: AttunedError = SourceError(f"{shown}: {what}; set source.username and source.password")
            case HTTPNotFoundError():
                refusal = LostError(f"{shown}: the server has no such stream; check the path", final_at_first=True)
            case HTTPOtherClientError() if self._has_others():
                # A stream of which nothing is asked for cannot be played.
                refusal = self._no_video()
            case HTTPClientError() | HTTPServerError():
                refusal = LostError(f"{shown}: the server cannot give the stream; look into its log")
            case _ if error.errno == errno.EPROTONOSUPPORT:
                other = "udp" if self._transport == "tcp" else "tcp"
                refusal = SourceError(f"{shown}: cannot be had over {self._transport}; set source.transport to {other}")
            case _ if took_s >= self._open_timeout_s:
                refusal = LostError(f"{shown}: no answer within {self._open_timeout_s:g} s; check host and port")
            case InvalidDataError():
                refusal = LostError(f"{shown}: does not answer as an RTSP server does; check the port")
            case _:
                refusal = LostError(f"{shown}: cannot be opened ({_said(error)})")
        return refusal

    def _has_others(self) -> bool:
        """Whether there is something to hear, or anything else but a video."""
        for pause_s in REOPENING_S:
            # The server may still be taking down what was opened before.
            self._stopped.wait(pause_s)
            try:
                with self._open("audio+data+subtitle") as container:
                    return len(container.streams) > 0
            except HTTPServerError:
                continue
            except FFmpegError:
                return False
        return False


def _said(error: FFmpegError | OSError) -> str:
    """What was wrong, in lower case, without the address."""
    if isinstance(error, OSError) and not isinstance(error, FFmpegError):
        return os.strerror(error.errno).lower() if error.errno else "no address answers"
    return (error.strerror or type(error).__name__).lower()
