"""People in a Janus room: aiortc publishers that replay video encoded beforehand, in a process of their own.

Reads one JSON object a line and answers each with one: `{"join": "name", "room": …, "videos": [[file, description]],
"audio": true}`, `{"leave": "name"}`, or `{"ask": {…}}`, a request to the VideoRoom. They leave when its input ends.
"""

import asyncio
import fractions
import json
import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from daemon.errors import LostError
from daemon.sources.janus_api import JanusSession, RefusedError

FPS = 25
_REALTIME = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
_OPTIONS = {
    "libvpx": _REALTIME,
    "libvpx-vp9": _REALTIME,
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "bf": "0"},
}


def encode(path: Path, pictures: Iterable[np.ndarray], *, codec: str = "libvpx", bit_rate: int = 500_000) -> Path:
    """A video of these (H, W, 3) uint8 pictures as a caller would send it, with a key picture every second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=_OPTIONS[codec])
        stream.bit_rate, stream.pix_fmt, stream.gop_size = bit_rate, "yuv420p", FPS
        for i, picture in enumerate(pictures):
            if i == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class Replay(MediaStreamTrack):
    """The packets of a video over and over, at the pace of its pictures."""

    kind = "video"

    def __init__(self, path: str) -> None:
        super().__init__()
        with av.open(path) as container:
            self.codec = container.streams.video[0].codec_context.name
            self._packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        self._n = 0
        self._began_s = 0.0

    async def recv(self) -> av.Packet:
        """The next packet, when it is due."""
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(0.0, self._began_s + self._n / FPS - time.monotonic()))
        packet = av.Packet(self._packets[self._n % len(self._packets)])
        packet.pts, packet.time_base = self._n, fractions.Fraction(1, FPS)
        self._n += 1
        return packet


class Publisher:
    """One person in a room."""

    def __init__(self, url: str, wish: dict[str, Any]) -> None:
        self.id: int | str = 0
        self._session = JanusSession(url, token=wish.get("token"))
        self._wish = wish
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        wish = self._wish
        await self._stack.enter_async_context(self._session)
        listening = asyncio.create_task(self._listen())
        self._stack.callback(listening.cancel)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._stack.push_async_callback(peer.close)
        described = []
        for i, (path, text) in enumerate(wish.get("videos", [])):
            track = Replay(path)
            transceiver = peer.addTransceiver(track, direction="sendonly")
            codecs = RTCRtpSender.getCapabilities("video").codecs
            name = {"vp8": "VP8", "h264": "H264"}[track.codec]
            transceiver.setCodecPreferences([codec for codec in codecs if codec.name == name])
            described.append({"mid": str(i), "description": text})
        if wish.get("audio"):
            peer.addTransceiver("audio", direction="sendonly")
        await peer.setLocalDescription(await peer.createOffer())
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": wish["room"], "display": wish["join"]}
        join |= {key: wish[key] for key in ("pin", "token", "id") if key in wish} | {"descriptions": described}
        # Janus may be told that this is another codec than it is; it does not look.
        codec = wish.get("said_to_be", "VP8")
        offer = {"type": "offer", "sdp": peer.localDescription.sdp.replace("VP8/90000", f"{codec}/90000")}
        data, answer = await self._session.request(await self._session.attach(), join, offer)
        assert answer is not None, data
        self.id = data["id"]
        sdp = answer["sdp"].replace(f"{codec}/90000", "VP8/90000")
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _listen(self) -> None:
        try:
            await self._session.listen()
        except LostError:
            return  # the test has killed the server


async def ask(url: str, request: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    """What the VideoRoom answers."""
    async with JanusSession(url, token=token) as session:
        try:
            answer, _ = await session.request(await session.attach(), request)
        except RefusedError as error:
            return {"refused": error.code, "text": str(error)}
        return answer


async def main(url: str) -> None:
    """Does what the input says until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    people: dict[str, Publisher] = {}
    while line := await reader.readline():
        wish = json.loads(line)
        if "join" in wish:
            person = people[wish["join"]] = Publisher(url, wish)
            await person.__aenter__()
            said: dict[str, Any] = {"joined": wish["join"], "id": person.id}
        elif "leave" in wish:
            await people.pop(wish["leave"]).__aexit__(None, None, None)
            said = {"left": wish["leave"]}
        else:
            said = {"answer": await ask(url, wish["ask"], wish.get("token"))}
        print(json.dumps(said), flush=True)  # noqa: T201
    for person in people.values():
        await person.__aexit__(None, None, None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
