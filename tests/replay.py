"""Publishes pre-encoded video by WebRTC, so that many publishers cost next to nothing: aiortc packs, nobody encodes.

aiortc's own `MediaPlayer(decode=False, loop=True)` starts its timestamps again at every turn and then plays without
pause; this replay goes on in time.
"""

import asyncio
import fractions
import gc
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from daemon.sources.addresses import use_addresses
from daemon.sources.webrtc import consent_ends_with

LOOPBACK = ("127.0.0.1",)
T = TypeVar("T")
TIME_BASE = fractions.Fraction(1, 90000)


@dataclass(frozen=True)
class Clip:
    """Encoded pictures, the first a key frame; `codec` as in SDP, VP8 or H264."""

    codec: str
    pictures: tuple[bytes, ...]
    fps: int


def encode(
    pictures: Iterable[np.ndarray],
    *,
    codec: str = "VP8",
    fps: int = 25,
    key_every: int = 25,
    profile: str = "baseline",
    bit_rate: int = 600_000,
) -> Clip:
    """Encodes (H, W, 3) uint8 pictures of one size."""
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    context = av.CodecContext.create({"VP8": "libvpx", "H264": "libx264"}[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    context.time_base, context.framerate = fractions.Fraction(1, fps), fractions.Fraction(fps)
    context.bit_rate, context.gop_size = bit_rate, key_every
    context.options = (
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        if codec == "VP8"
        else {"preset": "ultrafast", "tune": "zerolatency", "profile": profile}
    )
    packets: list[bytes] = []
    for i, frame in enumerate(frames):
        frame.pts, frame.time_base = i, context.time_base
        packets += [bytes(p) for p in context.encode(frame.reformat(format="yuv420p"))]
    packets += [bytes(p) for p in context.encode(None)]
    return Clip(codec, tuple(packets), fps)


def flat(levels: Sequence[int], *, size: tuple[int, int] = (320, 180), **options: object) -> Clip:
    """A clip whose pictures have these grey levels."""
    return encode([np.full((size[1], size[0], 3), level, np.uint8) for level in levels], **options)  # type: ignore[arg-type]


def read(path: Path) -> Clip:
    """The video track of a file that holds VP8 or H.264."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = {"vp8": "VP8", "h264": "H264"}[stream.codec_context.name]
        to_start_codes = av.BitStreamFilterContext("h264_mp4toannexb" if codec == "H264" else "null", stream)
        pictures = [bytes(out) for packet in container.demux(stream) for out in to_start_codes.filter(packet)]
        fps = round(float(stream.average_rate or 25))
    return Clip(codec, tuple(p for p in pictures if p), fps)


class Replay(MediaStreamTrack):
    """The clip again and again, in real time."""

    kind = "video"

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self._clip = clip
        self._number = 0
        self._began_s: float | None = None
        self.is_paused = False

    async def recv(self) -> Packet:
        """The next encoded picture, when it is due."""
        loop = asyncio.get_running_loop()
        if self._began_s is None:
            self._began_s = loop.time()
        await asyncio.sleep(self._began_s + self._number / self._clip.fps - loop.time())
        while self.is_paused:
            await asyncio.sleep(0.02)
        packet = Packet(self._clip.pictures[self._number % len(self._clip.pictures)])
        packet.pts, packet.time_base = self._number * 90000 // self._clip.fps, TIME_BASE
        self._number += 1
        return packet


class Counting(MediaStreamTrack):
    """Grey pictures that aiortc encodes, key frames included when they are asked for."""

    kind = "video"

    def __init__(self, *, fps: int = 25, size: tuple[int, int] = (160, 120)) -> None:
        super().__init__()
        self._fps = fps
        self._size = size
        self._number = 0
        self._began_s: float | None = None

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due; its grey is 2 more than the last one's."""
        loop = asyncio.get_running_loop()
        if self._began_s is None:
            self._began_s = loop.time()
        await asyncio.sleep(self._began_s + self._number / self._fps - loop.time())
        level = 2 * (self._number % 100) + 20
        frame = av.VideoFrame.from_ndarray(np.full((*self._size[::-1], 3), level, np.uint8), format="rgb24")
        frame.pts, frame.time_base = self._number * 90000 // self._fps, TIME_BASE
        self._number += 1
        return frame


class Publisher:
    """An aiortc peer that sends clips: `async with Publisher(clip) as publisher`, then offer or answer."""

    def __init__(self, *clips: Clip | Counting, addresses: tuple[str, ...] = LOOPBACK) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.tracks: list[Replay | Counting] = []
        self._addresses = addresses
        self._is_restricted = False
        for clip in clips:
            self.add(clip)

    def add(self, clip: Clip | Counting) -> None:
        """One more m-line; to be offered again."""
        track = Replay(clip) if isinstance(clip, Clip) else clip
        transceiver = self.connection.addTransceiver(track, direction="sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        codec = clip.codec if isinstance(clip, Clip) else "VP8"
        transceiver.setCodecPreferences([c for c in known if c.name in {codec, "rtx"}])
        self.restrict()
        self.tracks.append(track)

    def restrict(self) -> None:
        """ICE uses our addresses; to be called after whoever adds the first transceiver by hand."""
        (ice, *_) = {t.sender.transport.transport._connection for t in self.connection.getTransceivers()}
        if not self._is_restricted:
            use_addresses(ice, self._addresses)
            consent_ends_with(ice)
            self._is_restricted = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for track in self.tracks:
            track.stop()
        await self.connection.close()

    async def offer(self) -> str:
        """With all candidates."""
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def accept(self, sdp: str) -> None:
        """The answer to it."""
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def answer(self, sdp: str) -> str:
        """To an offer to receive."""
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    def kill(self) -> None:
        """Vanishes without a word: its sockets close, nothing is said."""
        for transceiver in self.connection.getTransceivers():
            for protocol in transceiver.sender.transport.transport._connection._protocols:
                # ICE may repeat a question later, which asyncio reports as a fault where the socket is closed.
                protocol.transport.sendto = lambda *_: None
                protocol.transport.abort()


def lose(connection: RTCPeerConnection, is_lost: Callable[[bytes], bool]) -> None:
    """Scripted loss: RTP and RTCP datagrams for which `is_lost` do not arrive; DTLS and STUN do."""
    ice = connection.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in ice._protocols:

        def received(
            data: bytes, addr: tuple[str, int], arrive: Callable[..., None] = protocol.datagram_received
        ) -> None:
            if not (127 < data[0] < 192 and is_lost(data)):
                arrive(data, addr)

        protocol.datagram_received = received


def sockets() -> int:
    """How many sockets this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(entry.readlink()))
    return sum(link.startswith("socket:") for link in links)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like `videos.run`: no task outlives `main`, and no socket and no thread of aiortc either; no task fails unseen."""
    unseen: list[str] = []

    async def guarded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(str(context)))
        n_sockets = sockets()
        result = await main
        for _ in range(20):
            await asyncio.sleep(0.05)
            tasks = [str(t.get_coro()) for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            left = (tasks, sockets() - n_sockets, [t.name for t in threading.enumerate() if "decoder" in t.name])
            if left == ([], 0, []):
                return result
        msg = f"tasks, sockets and threads outlive the test: {left}"
        raise AssertionError(msg)

    with asyncio.Runner() as runner:
        result = runner.run(guarded())
        gc.collect()
    assert unseen == [], unseen
    return result


async def until(is_true: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Waits for something to become true."""
    async with asyncio.timeout(within_s):
        while not is_true():
            await asyncio.sleep(0.02)
