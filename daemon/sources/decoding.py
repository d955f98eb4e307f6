"""What aiortc has ahead of a decoder, bounded and thawed.

It queues encoded pictures for each decoder's thread without bounds, and after a loss that retransmission does not heal
its jitter buffer waits for 512 packets, which are many seconds of a small picture. Both are private parts of
`RTCRtpReceiver`: `tests/daemon/test_webrtc.py` fails when a new aiortc has moved them.
"""

import queue
from collections.abc import Callable
from contextlib import suppress

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

ENCODED_MAX = 15
"""Encoded pictures of a feed that wait for its decoder: half a second."""
ASK_EVERY = 30
"""Pictures that are passed over before a key frame is asked for again."""
FROZEN_S = 1.0
"""Packets without a picture for so long mean that one is missing; doubles while no picture comes, as a key frame may
be that slow."""
FROZEN_MAX_S = 8.0
_JITTER_PACKETS = 512

_Encoded = tuple[RTCRtpCodecParameters, JitterFrame]


class Decoding:
    """What a receiver decodes. To be made before its thread starts.

    Args:
        receiver: Of video.
        on_skipped: Is told how many pictures came that are not decoded.
        now_s: A steady clock's time.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_skipped: Callable[[int], None], now_s: float) -> None:
        self._receiver = receiver
        # aiortc's own way to ask for a key frame: with the next packet it sends a picture loss indication.
        ask = receiver._RTCRtpReceiver__decoder_error.set  # type: ignore[attr-defined] # noqa: SLF001
        self._encoded = EncodedQueue(on_skipped, ask)
        receiver._RTCRtpReceiver__decoder_queue = self._encoded  # type: ignore[attr-defined] # noqa: SLF001
        self._last_s = now_s
        self._limit_s = FROZEN_S
        self._newest_packet: int | None = None

    def seen(self, now_s: float) -> None:
        """A picture was decoded."""
        self._last_s, self._limit_s = now_s, FROZEN_S

    def look(self, now_s: float) -> None:
        """Starts anew with a key frame where packets come and no pictures; called about twice a second."""
        nacks = self._receiver._RTCRtpReceiver__nack_generator  # type: ignore[attr-defined] # noqa: SLF001
        moved = nacks.max_seq != self._newest_packet
        self._newest_packet = nacks.max_seq
        if not moved or now_s - self._last_s < self._limit_s:
            return
        self._last_s, self._limit_s = now_s, min(2 * self._limit_s, FROZEN_MAX_S)
        nacks.missing.clear()
        anew = JitterBuffer(capacity=_JITTER_PACKETS, is_video=True)
        self._receiver._RTCRtpReceiver__jitter_buffer = anew  # type: ignore[attr-defined] # noqa: SLF001
        self._encoded.start_anew()


class EncodedQueue(queue.Queue[_Encoded | None]):
    """What waits for a decoder: at most `ENCODED_MAX`, and nothing that lacks what it refers to.

    Args:
        on_skipped: Is told how many pictures are passed over.
        ask: Asks the sender for a key frame.
    """

    def __init__(self, on_skipped: Callable[[int], None], ask: Callable[[], None]) -> None:
        super().__init__()
        self._on_skipped = on_skipped
        self._ask = ask
        self._n_passed = 0
        self._skips = True

    def start_anew(self) -> None:
        """Passes over everything up to the next key frame, and asks for it."""
        self._skips, self._n_passed = True, 1
        self._ask()

    def put(self, item: _Encoded | None, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 (queue's)
        """Called in the event loop; never waits. None ends the decoder."""
        if item is None:
            self._empty()
        elif not self._wanted(*item):
            return
        super().put(item, block, timeout)

    def _wanted(self, codec: RTCRtpCodecParameters, picture: JitterFrame) -> bool:
        if not self._skips and self.qsize() >= ENCODED_MAX:
            self._skips, self._n_passed = True, 0
            self._on_skipped(self._empty())
        if self._skips and is_key_frame(codec.name, picture.data):
            self._skips = False
        if self._skips:
            if self._n_passed % ASK_EVERY == 0:
                self._ask()
            self._n_passed += 1
            self._on_skipped(1)
        return not self._skips

    def _empty(self) -> int:
        n = 0
        with suppress(queue.Empty):
            while True:
                self.get_nowait()
                n += 1
        return n


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether a picture can be decoded without those before it.

    VP8: bit 0 of the frame header is 0 (RFC 6386 section 9.1). H.264: it holds an IDR slice (5) or a sequence parameter
    set (7), which also starts a stream that refreshes gradually (H.264 table 7-1).

    Args:
        codec: `VP8` or `H264`.
        data: A whole frame; H.264 with start codes.
    """
    if codec == "VP8":
        return bool(data) and data[0] & 1 == 0
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 0x1F in {5, 7}:
            return True
        at = data.find(b"\0\0\1", at + 3)
    return False
