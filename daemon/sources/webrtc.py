"""A WebRTC peer on aiortc that receives video, bounded and clean.

aiortc queues without bounds in two places: encoded pictures ahead of each decoder's thread, and decoded ones behind
it. The first gets a queue of ours (`decoding`), the second is emptied at once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Never, Self

from aioice import Connection
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcicetransport import connection_kwargs
from aiortc.sdp import candidate_from_sdp
from av.video.frame import VideoFrame

from daemon.errors import LostError, SourceError
from daemon.sources.addresses import use_addresses
from daemon.sources.decoding import Decoding
from daemon.sources.sdp import Description, answer_for, transcript, unreadable

CONNECT_S = 12.0
"""ICE and DTLS are given so long; without end-of-candidates aioice would wait for ever."""
CLOSE_S = 5.0
CANDIDATES_MAX = 64
"""Candidates of a peer that are looked at; more are left out."""
LOOK_S = 0.5
"""How often it is looked whether a feed is frozen."""


ADDRESS_FIELD = 4
"""Of a candidate: foundation, component, transport, priority, address."""


class ClosedError(LostError):
    """The peer ended the connection in good order, or we did."""


@dataclass(frozen=True, slots=True)
class IceSettings:
    """How a peer may be reached.

    addresses: local ones that may be used; (): all but loopback. stun, turn: `stun:host:port`, `turn:host:port` or
    `turns:host:port?transport=tcp`; none by default. The credentials are TURN's.
    """

    addresses: tuple[str, ...] = ()
    stun: str | None = None
    turn: str | None = None
    turn_username: str | None = None
    turn_password: str | None = field(default=None, repr=False)
    allows: Callable[[str], bool] | None = None
    """Which addresses of the other side may be tried; None: all that it names."""

    def servers(self) -> list[RTCIceServer]:
        """STUN and TURN as aiortc names them.

        Raises:
            SourceError: aiortc would pass one of them over in silence.
        """
        servers = []
        if self.stun:
            servers.append(_checked("webrtc.stun", RTCIceServer(urls=self.stun), "stun:host:port"))
        if self.turn:
            server = RTCIceServer(urls=self.turn, username=self.turn_username, credential=self.turn_password)
            servers.append(_checked("webrtc.turn", server, "turn:host:port or turns:host:port?transport=tcp"))
        return servers


class Peer:
    """Receives video: `async with Peer(...) as peer`, then `offer` and `accept`, or `answer`, and `until_lost`.

    Args:
        ice: How it may be reached.
        on_picture: Is given every decoded picture with the mid of its m-line, in the event loop.
        on_skipped: Is told how many pictures came that were not decoded.
    """

    def __init__(
        self, ice: IceSettings, on_picture: Callable[[str, VideoFrame], None], on_skipped: Callable[[int], None]
    ) -> None:
        self.n_pictures = 0
        self._addresses = ice.addresses
        self._allows = ice.allows
        self._on_picture = on_picture
        self._on_skipped = on_skipped
        # Without a list of its own aiortc would ask a public STUN server.
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=ice.servers(), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._changed = asyncio.Event()
        self._decoding: dict[str, Decoding] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._last_s = asyncio.get_running_loop().time()
        self._was_connected = False
        self._negotiated = False
        self._was_cut = False
        self._is_over = False
        self._n_candidates = 0

    async def __aenter__(self) -> Self:
        self._connection.on("connectionstatechange", self._changed.set)
        self._tasks.append(asyncio.create_task(self._thaw(), name="webrtc-thaw"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._close())

    async def offer(self) -> str:
        """An offer to receive one video track, with all candidates.

        Raises:
            LostError: None of the addresses is there.
        """
        self._begin()
        await self._connection.setLocalDescription()
        # WHIP and WHEP ask for rtcp-mux-only (RFC 8858); aiortc does nothing else.
        return self._connection.localDescription.sdp.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")

    async def accept(self, answer_sdp: str) -> None:
        """Takes the peer's answer to the offer.

        Raises:
            SourceError: It is no answer, or has no video that can be read.
        """
        why = unreadable(answer_sdp)
        if why is not None:
            raise SourceError(why)
        description = Description.parse(answer_sdp)
        if len(description.sections) != 1:
            msg = f"the answer has {len(description.sections)} m-lines; the offer has one: the server must answer it alone"
            raise SourceError(msg)
        own = Description.parse(self._connection.localDescription.sdp).sections[0].mid
        text = transcript(description).replace(f"a=mid:{description.sections[0].mid}\r\n", f"a=mid:{own}\r\n")
        await self._take(self._allowed(text), "answer")

    async def answer(self, offer_sdp: str) -> str:
        """The answer to an offer, with all candidates; a later offer of the same peer is taken too.

        Raises:
            SourceError: It is no offer, or has no video that can be read.
            LostError: None of the addresses is there.
        """
        why = unreadable(offer_sdp)
        if why is not None and not self._negotiated:
            raise SourceError(why)
        if not self._negotiated:
            self._begin()
        description = Description.parse(offer_sdp)
        await self._take(self._allowed(transcript(description)), "offer")
        await self._connection.setLocalDescription()
        return answer_for(description, self._connection.localDescription.sdp)

    async def add_candidates(self, candidates: Sequence[str]) -> None:
        """Further ways to the peer, which trickle in after its offer.

        Args:
            candidates: Values of `candidate` attributes, checked by `sdp`; "" says that no more come.
        """
        mid = next((t.mid for t in self._connection.getTransceivers()), None)
        for line in candidates[: CANDIDATES_MAX - self._n_candidates]:
            if line and not self._may_try(line):
                continue
            candidate = candidate_from_sdp(line) if line else None
            if candidate is not None:
                candidate.sdpMid = mid
            await self._connection.addIceCandidate(candidate)
            self._n_candidates += 1

    def _may_try(self, candidate: str) -> bool:
        """Whether the address of a candidate (RFC 8839 section 5.1) is one that we may send to."""
        fields = candidate.split()
        return self._allows is None or (len(fields) > ADDRESS_FIELD and self._allows(fields[ADDRESS_FIELD]))

    def _allowed(self, sdp: str) -> str:
        """A description without the candidates that we may not send to."""
        mark = "a=candidate:"
        return "".join(
            line
            for line in sdp.splitlines(keepends=True)
            if not line.startswith(mark) or self._may_try(line.removeprefix(mark))
        )

    def hang_up(self) -> None:
        """Lets whoever waits for the loss know that it is over, by `ClosedError`."""
        self._is_over = True
        self._changed.set()

    async def until_connected(self) -> None:
        """Returns once the peer is reached.

        Raises:
            LostError: It is not.
        """
        await self._watch(CONNECT_S, lambda: self._was_connected)

    async def until_lost(self, stall_s: float | None) -> Never:
        """Returns never; pictures come meanwhile.

        Args:
            stall_s: How long no picture may come; None: as long as the connection holds.

        Raises:
            LostError: The connection was not made, broke, was closed by the peer, or shows nothing.
        """
        await self.until_connected()
        while True:
            await self._watch(stall_s, lambda: False)

    async def _watch(self, silent_s: float | None, is_over: Callable[[], bool]) -> None:
        """Waits until it is over, unless nothing comes for so long."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            self._look()
            if is_over():
                return
            left_s = None if silent_s is None else self._last_s + silent_s - loop.time()
            if silent_s is not None and left_s is not None and left_s <= 0:
                raise LostError(self._why_silent(silent_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    def _begin(self) -> None:
        """The one transport, before it gathers candidates."""
        transceiver = self._connection.addTransceiver("video", direction="recvonly")
        dtls = transceiver.receiver.transport
        ice = dtls.transport._connection  # noqa: SLF001
        use_addresses(ice, self._addresses)
        consent_ends_with(ice)

        def changed() -> None:
            # DTLS closes by a word of the peer, or since ICE has gone before it.
            if dtls.state == "closed" and ice._closing:  # noqa: SLF001
                self._was_cut = True

        dtls.on("statechange", changed)

    async def _take(self, sdp: str, kind: str) -> None:
        missing = [name for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup") if f"a={name}:" not in sdp]
        if missing:
            msg = f"the peer's SDP has no {' and no '.join(missing)}; check that it is a WebRTC {kind}"
            raise SourceError(msg)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=kind))
        except (
            ValueError, KeyError, IndexError, AssertionError, AttributeError, StopIteration, RuntimeError,
            OperationError, InvalidAccessError, InvalidStateError,
        ) as error:  # fmt: skip
            # aiortc's parser raises whatever its lines happen to raise.
            why = f"{type(error).__name__}: {error}"[:100]
            msg = f"the peer's SDP cannot be used ({why}); check that it is a WebRTC {kind}"
            raise SourceError(msg) from error
        self._negotiated = True
        for transceiver in self._connection.getTransceivers():
            # The stubs of aiortc say that there always are both.
            track: MediaStreamTrack | None = transceiver.receiver.track
            mid = transceiver.mid or ""
            if track is not None and mid not in self._decoding:
                # setRemoteDescription has only scheduled the task that starts the decoder: it is not running yet.
                now_s = asyncio.get_running_loop().time()
                self._decoding[mid] = Decoding(transceiver.receiver, self._on_skipped, now_s)
                self._tasks.append(asyncio.create_task(self._drain(mid, track), name=f"webrtc-drain[{mid}]"))

    async def _drain(self, mid: str, track: MediaStreamTrack) -> None:
        """Hands pictures on as they come."""
        loop = asyncio.get_running_loop()
        with suppress(MediaStreamError):
            while True:
                picture = await track.recv()
                if isinstance(picture, VideoFrame):
                    self.n_pictures += 1
                    self._last_s = loop.time()
                    self._decoding[mid].seen(self._last_s)
                    self._on_picture(mid, picture)

    async def _thaw(self) -> None:
        """Looks after frozen feeds."""
        while True:
            await asyncio.sleep(LOOK_S)
            for decoding in self._decoding.values():
                decoding.look(asyncio.get_running_loop().time())

    def _look(self) -> None:
        """Notes that it is connected, or that it no longer is."""
        state = self._connection.connectionState
        if state == "connected" and not self._was_connected:
            self._was_connected = True
            self._last_s = asyncio.get_running_loop().time()
        elif state == "failed" or (state == "closed" and self._was_cut and not self._is_over):
            if self._was_connected:
                msg = "the peer no longer answers"
            elif self._connection.iceConnectionState == "failed":
                msg = "no way to the peer was found (ICE failed); check webrtc.addresses, or set webrtc.turn"
            else:
                msg = "no encryption could be agreed on (DTLS failed); the peer's certificate or version is not right"
            raise LostError(msg)
        if state == "closed" or self._is_over:
            msg = "the peer closed the connection"
            raise ClosedError(msg)

    def _why_silent(self, limit_s: float) -> str:
        if not self._was_connected:
            return f"no way to the peer was found in {limit_s:g} s; check webrtc.addresses, or set webrtc.turn"
        return f"no picture came for {limit_s:g} s; check the sender, or set source.stall_s"

    async def _close(self) -> None:
        """Ends the connection and our tasks, in bounded time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
                # aiortc starts a receiver whose DTLS is agreed on while `close` is past it, and would never end it.
                for transceiver in self._connection.getTransceivers():
                    await transceiver.receiver.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def consent_ends_with(ice: Connection) -> None:
    """Mends a leak of aioice: a connection that is closed in the moment in which it connects queries consent for ever.

    Its `close` finds no such task yet, and `connect` starts it afterwards.
    """
    query = ice.query_consent

    async def query_unless_closed() -> None:
        if not ice._closing:  # noqa: SLF001
            await query()

    ice.query_consent = query_unless_closed  # type: ignore[method-assign]


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Runs clean-up to its end even where we are cancelled, once more or for the first time; it must be bounded."""
    task = asyncio.create_task(work, name="webrtc-clean-up")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _checked(setting: str, server: RTCIceServer, form: str) -> RTCIceServer:
    try:
        known = connection_kwargs([server])
    except ValueError:
        known = {}
    place = known.get("stun_server") or known.get("turn_server")
    if place is None or not 0 < place[1] < 1 << 16:
        msg = f"{setting}: cannot be used; write it as {form}"
        raise SourceError(msg)
    return server
