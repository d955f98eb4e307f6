"""The WebRTC peer against aiortc's own, over loopback."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.frame import VideoFrame
from replay import LOOPBACK, Clip, Counting, Publisher, flat, lose, run, until

from daemon.errors import LostError, SourceError
from daemon.sources import webrtc
from daemon.sources.decoding import ENCODED_MAX, EncodedQueue, is_key_frame
from daemon.sources.webrtc import ClosedError, IceSettings, Peer, to_the_end

ICE = IceSettings(addresses=LOOPBACK)
RTX = 98
"""The payload type of retransmissions that aiortc offers for VP8."""
LEVELS = [40, 80, 120, 160, 200]


class Seen:
    """What a peer was shown."""

    def __init__(self) -> None:
        self.pictures: list[tuple[str, VideoFrame]] = []
        self.n_skipped = 0

    def picture(self, mid: str, picture: VideoFrame) -> None:
        """Notes it."""
        self.pictures.append((mid, picture))

    def skipped(self, n: int) -> None:
        """Counts."""
        self.n_skipped += n

    def greys(self, mid: str = "0") -> list[int]:
        """The grey of each picture of a feed."""
        return [round(float(p.to_ndarray(format="gray").mean())) for m, p in self.pictures if m == mid]

    def peer(self, ice: IceSettings = ICE) -> Peer:
        """A peer that shows it."""
        return Peer(ice, self.picture, self.skipped)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two seconds of VP8."""
    return flat(LEVELS * 10)


@pytest.mark.parametrize(("codec", "profile"), [("VP8", ""), ("H264", "baseline"), ("H264", "main"), ("H264", "high")])
def test_pictures_come_from_a_peer_that_offers(codec: str, profile: str) -> None:
    """What is published is what is seen, under the mid of its m-line, and nothing is left behind."""
    published = flat(LEVELS * 10, codec=codec, profile=profile)

    async def main() -> None:
        seen = Seen()
        async with Publisher(published) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await peer.until_connected()
            await until(lambda: len(seen.pictures) >= 10)
        greys = seen.greys()
        assert greys[:10] == pytest.approx(
            (LEVELS * 4)[LEVELS.index(min(LEVELS, key=lambda g: abs(g - greys[0]))) :][:10], abs=2
        )
        assert {mid for mid, _ in seen.pictures} == {"0"}

    run(main())


def test_pictures_come_from_a_peer_that_answers(clip: Clip) -> None:
    """We offer to receive one video, and nothing else; the candidates are those of the allowed address."""

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip) as publisher, seen.peer() as peer:
            offer = await peer.offer()
            assert [line.split()[0] for line in offer.splitlines() if line.startswith("m=")] == ["m=video"]
            assert {line.split()[4] for line in offer.splitlines() if line.startswith("a=candidate")} == {"127.0.0.1"}
            assert "a=recvonly" in offer
            assert "a=rtcp-mux-only" in offer
            await peer.accept(await publisher.answer(offer))
            await until(lambda: len(seen.pictures) >= 5)

    run(main())


def test_every_m_line_is_a_feed_and_more_may_come(clip: Clip) -> None:
    """A second offer of the same peer adds a feed and leaves those that are there alone."""

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip, flat([60] * 25)) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: {m for m, _ in seen.pictures} == {"0", "1"})
            publisher.add(flat([220] * 25))
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: {m for m, _ in seen.pictures} == {"0", "1", "2"})
            n = len(seen.greys("0"))
            await until(lambda: len(seen.greys("0")) > n)
            assert set(seen.greys("1")) <= {59, 60, 61}
            assert set(seen.greys("2")) <= {219, 220, 221}

    run(main())


def test_audio_stays_quiet(clip: Clip) -> None:
    """It is answered inactive, nobody decodes it, and the video in the same bundle comes."""

    async def main() -> None:
        seen = Seen()
        async with Publisher() as publisher, seen.peer() as peer:
            publisher.connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
            publisher.restrict()
            publisher.add(clip)
            answer = await peer.answer(await publisher.offer())
            audio = answer[answer.index("m=audio") : answer.index("m=video")]
            assert "a=inactive" in audio
            await publisher.accept(answer)
            await until(lambda: len(seen.pictures) >= 5)
            assert {mid for mid, _ in seen.pictures} == {"1"}

    run(main())


@pytest.mark.parametrize("sdp", ["", "hello", "<html></html>", "v=0\r\n", "v=0\r\nm=video\r\n"])
def test_what_is_no_sdp_is_said(sdp: str) -> None:
    """In one line; nothing of it is kept."""

    async def main() -> None:
        async with Seen().peer() as peer:
            with pytest.raises(SourceError, match="SDP cannot be read"):
                await peer.answer(sdp)

    run(main())


def test_sdp_without_a_way_to_the_peer_is_said() -> None:
    """Found before anything is started that would fail unseen."""
    sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"

    async def main() -> None:
        async with Seen().peer() as peer:
            with pytest.raises(
                SourceError, match="has no ice-ufrag and no ice-pwd and no fingerprint and no setup; che"
            ):
                await peer.answer(sdp)

    run(main())


@pytest.mark.parametrize(("was", "now"), [("VP8/90000", "VP8"), ("97", "72")])
def test_sdp_that_aiortc_cannot_take_is_said(clip: Clip, was: str, now: str) -> None:
    """Its parser raises all kinds of errors: here there is no clock, and a payload type that means RTCP."""

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            offer = (await publisher.offer()).replace(was, now)
            with pytest.raises(SourceError, match=r"cannot be used .*check that it is a WebRTC offer"):
                await peer.answer(offer)

    run(main())


def test_an_answer_with_more_than_was_asked_for_is_refused(clip: Clip) -> None:
    """One video was offered."""

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            answer = await publisher.answer(await peer.offer())
            with pytest.raises(SourceError, match="has 2 m-lines"):
                await peer.accept(answer + answer[answer.index("m=video") :])

    run(main())


def test_an_answer_without_video_is_refused(clip: Clip) -> None:
    """A server that has only sound rejects the m-line."""

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            answer = await publisher.answer(await peer.offer())
            with pytest.raises(SourceError, match="no video track"):
                await peer.accept(answer.replace("a=sendonly", "a=inactive"))

    run(main())


def test_ice_that_fails_is_told_and_leaves_nothing(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher is gone before it is reached: its port is closed, and no candidate follows."""
    monkeypatch.setattr("aioice.stun.RETRY_MAX", 1)

    async def main() -> None:
        async with Seen().peer() as peer:
            async with Publisher(clip) as publisher:
                offer = await publisher.offer()
            await peer.answer(offer)
            with pytest.raises(LostError, match="no way to the peer was found"):
                await peer.until_lost(5)

    run(main())


def test_a_peer_that_never_says_where_it_is_is_given_up(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without candidates aioice would wait for ever."""
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.3)

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            lines = (await publisher.offer()).splitlines()
            bare = [line for line in lines if not line.startswith(("a=candidate", "a=end-of"))]
            await peer.answer("\r\n".join(bare) + "\r\n")
            with pytest.raises(LostError, match=r"no way to the peer was found in 0\.3 s"):
                await peer.until_lost(None)

    run(main())


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.05, 0.2])
def test_it_can_be_cancelled_at_any_time(clip: Clip, after_s: float) -> None:
    """While it gathers, while it connects, while it shows: cancellation gets through, nothing is left behind."""

    async def session(publisher: Publisher) -> None:
        async with Seen().peer() as peer:
            answer = await peer.answer(await publisher.offer())
            await publisher.accept(answer)
            await peer.until_lost(5)

    async def main() -> None:
        async with Publisher(clip) as publisher:
            task = asyncio.create_task(session(publisher))
            await asyncio.sleep(after_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


@pytest.mark.parametrize("n_steps", range(0, 60, 4))
def test_it_can_be_cancelled_while_encryption_is_agreed_on(clip: Clip, n_steps: int) -> None:
    """At every so manieth step of the event loop after DTLS has begun: aiortc may then start its receiver too late."""

    async def main() -> None:
        async with Publisher(clip) as publisher:
            begun = asyncio.Event()

            async def session() -> None:
                async with Seen().peer() as peer:
                    answer = await peer.answer(await publisher.offer())
                    dtls = peer._connection.getTransceivers()[0].receiver.transport
                    dtls.on("statechange", begun.set)
                    await publisher.accept(answer)
                    await peer.until_lost(5)

            task = asyncio.create_task(session())
            await begun.wait()
            for _ in range(n_steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_a_publisher_that_vanishes_is_lost(clip: Clip) -> None:
    """It says nothing; the picture stands still."""

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: len(seen.pictures) > 3)
            publisher.kill()
            began_s = time.monotonic()
            with pytest.raises(LostError, match=r"no picture came for 0\.5 s"):
                await peer.until_lost(0.5)
            assert time.monotonic() - began_s < 2

    run(main())


def test_a_publisher_that_no_longer_answers_is_lost(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a still picture is no loss, consent to send tells (RFC 7675); after 30 s, were it not shortened here."""
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 1)
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.1)

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: len(seen.pictures) > 3)
            publisher.kill()
            with pytest.raises(LostError, match="no longer answers"):
                await asyncio.wait_for(peer.until_lost(None), 10)

    run(main())


def test_a_certificate_that_was_not_announced_is_refused(clip: Clip) -> None:
    """Whoever sits between would have another."""

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            offer = await publisher.offer()
            digest = offer.split("fingerprint:sha-256 ")[1].split("\r\n")[0]
            answer = await peer.answer(offer.replace(digest, digest[::-1]))
            await publisher.accept(answer)
            with pytest.raises(LostError, match="DTLS failed"):
                await peer.until_lost(5)

    run(main())


def test_a_publisher_that_leaves_has_closed(clip: Clip) -> None:
    """DTLS says so at once."""

    async def main() -> None:
        seen = Seen()
        async with seen.peer() as peer:
            async with Publisher(clip) as publisher:
                await publisher.accept(await peer.answer(await publisher.offer()))
                await until(lambda: len(seen.pictures) > 3)
            with pytest.raises(ClosedError, match="closed the connection"):
                await peer.until_lost(None)

    run(main())


def test_a_still_picture_is_no_loss_where_nobody_says_so(clip: Clip) -> None:
    """Rooms may be empty."""

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: len(seen.pictures) > 3)
            for track in publisher.tracks:
                track.is_paused = True
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.until_lost(None), 1)

    run(main())


def test_hanging_up_ends_the_wait(clip: Clip) -> None:
    """For those who end it from elsewhere."""

    async def main() -> None:
        async with Publisher(clip) as publisher, Seen().peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await peer.until_connected()
            asyncio.get_running_loop().call_later(0.1, peer.hang_up)
            with pytest.raises(ClosedError):
                await peer.until_lost(None)

    run(main())


def test_a_decoder_that_falls_behind_skips_and_stays_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth of the speed that is needed, what is seen is never older than the queue; the rest is counted."""
    decode = Vp8Decoder.decode

    def slow(self: Vp8Decoder, encoded: JitterFrame) -> list[Any]:
        time.sleep(0.1)
        return decode(self, encoded)

    monkeypatch.setattr(Vp8Decoder, "decode", slow)

    async def main() -> None:
        seen = Seen()
        async with Publisher(Counting(fps=100)) as publisher, seen.peer() as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: seen.n_skipped > 100, within_s=20)
            n = len(seen.pictures)
            await until(lambda: len(seen.pictures) > n + 5, within_s=20)
            waiting = [q._encoded.qsize() for q in peer._decoding.values()]
            assert max(waiting) <= ENCODED_MAX

    run(main())


@pytest.mark.parametrize("script", ["one in ten", "all for 2 s", "all for 1 s, for good"])
def test_lost_packets_do_not_freeze_the_picture(script: str) -> None:
    """Retransmission heals the first two; where it is lost too, a key frame is asked for, and comes.

    aiortc by itself would wait for 512 packets, which here are 20 s.
    """
    numbers = itertools.count()

    async def main() -> None:
        seen, loop = Seen(), asyncio.get_running_loop()
        is_lost: dict[str, Callable[[bytes], bool]] = {
            "one in ten": lambda _: next(numbers) % 10 == 7,
            "all for 2 s": lambda _: 1 < loop.time() - began_s < 3,
            "all for 1 s, for good": lambda data: 1 < loop.time() - began_s < 2 or data[1] & 0x7F == RTX,
        }
        async with Publisher(Counting()) as publisher, seen.peer() as peer:
            answer = await peer.answer(await publisher.offer())
            lose(peer._connection, is_lost[script])
            began_s = loop.time()
            await publisher.accept(answer)
            await until(lambda: loop.time() - began_s > 3.2)
            n = len(seen.pictures)
            await until(lambda: len(seen.pictures) > n + 20, within_s=4)
            greys = seen.greys()[-15:]
            # The grey grows by 2 from picture to picture, more or less one, and starts again after a hundred.
            assert sum(0 <= b - a <= 5 for a, b in itertools.pairwise(greys)) >= 13, greys

    run(main())


def test_candidates_may_follow_the_offer(clip: Clip) -> None:
    """Trickle ICE: the offer says nothing of where the publisher is; only so many candidates are looked at."""

    async def main() -> None:
        seen = Seen()
        async with Publisher(clip) as publisher, seen.peer() as peer:
            lines = (await publisher.offer()).splitlines()
            candidates = [line.removeprefix("a=candidate:") for line in lines if line.startswith("a=candidate")]
            bare = [line for line in lines if not line.startswith(("a=candidate", "a=end-of"))]
            answer = await peer.answer("\r\n".join(bare) + "\r\n")
            # The publisher does not know where we are either: it is found by what we send.
            hidden = [line for line in answer.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
            await publisher.accept("\r\n".join(hidden) + "\r\n")
            await peer.add_candidates([*candidates, ""])
            await until(lambda: len(seen.pictures) > 3)
            await peer.add_candidates(candidates * 100)
            assert peer._n_candidates == webrtc.CANDIDATES_MAX

    run(main())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (IceSettings(stun="stuns:example.org"), "webrtc.stun: cannot be used"),
        (IceSettings(stun="example.org"), "webrtc.stun: cannot be used"),
        (IceSettings(stun="stun:127.0.0.1:99999"), "webrtc.stun: cannot be used; write it as stun:host:port"),
        (IceSettings(stun="stun:127.0.0.1:0"), "webrtc.stun: cannot be used"),
        (IceSettings(turn="turn:127.0.0.1:65536"), "webrtc.turn: cannot be used"),
        (IceSettings(turn="turn:example.org?transport=sctp"), "webrtc.turn: cannot be used"),
    ],
)
def test_servers_that_would_be_passed_over_are_refused(settings: IceSettings, message: str) -> None:
    """They are ignored by aiortc without a word."""
    with pytest.raises(SourceError, match=message):
        settings.servers()


def test_no_server_is_asked_by_default() -> None:
    """A public one would be asked by aiortc where it is not given a list."""
    assert IceSettings().servers() == []
    known = IceSettings(stun="stun:a.example:65535", turn="turn:b.example", turn_username="u", turn_password="p")  # noqa: S106
    assert [(server.urls, server.username, server.credential) for server in known.servers()] == [
        ("stun:a.example:65535", None, None),
        ("turn:b.example", "u", "p"),
    ]


def test_clean_up_goes_to_its_end() -> None:
    """Whoever is cancelled meanwhile, even twice, is cancelled after it."""
    done: list[str] = []

    async def clean_up() -> None:
        await asyncio.sleep(0.1)
        done.append("clean")

    async def main() -> None:
        task = asyncio.create_task(to_the_end(clean_up()))
        for _ in range(2):
            await asyncio.sleep(0.02)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["clean"]

    run(main())


KEY, DELTA = b"\x10\x00\x00", b"\x11\x00\x00"
VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)


def test_the_queue_passes_over_everything_up_to_a_key_frame() -> None:
    """At the start, and after it was full; a key frame is asked for each time, and again after 30 pictures."""
    skipped: list[int] = []
    asked: list[None] = []
    encoded = EncodedQueue(skipped.append, lambda: asked.append(None))
    encoded.put((VP8, JitterFrame(DELTA, 0)))
    assert (encoded.qsize(), sum(skipped), len(asked)) == (0, 1, 1)
    for i, data in enumerate([KEY] + [DELTA] * (ENCODED_MAX - 1)):
        encoded.put((VP8, JitterFrame(data, i)))
    assert (encoded.qsize(), sum(skipped), len(asked)) == (ENCODED_MAX, 1, 1)
    encoded.put((VP8, JitterFrame(DELTA, 99)))
    assert (encoded.qsize(), sum(skipped), len(asked)) == (0, 1 + ENCODED_MAX + 1, 2)
    for _ in range(29):
        encoded.put((VP8, JitterFrame(DELTA, 99)))
    assert len(asked) == 2
    encoded.put((VP8, JitterFrame(DELTA, 99)))
    assert len(asked) == 3
    encoded.put((VP8, JitterFrame(KEY, 100)))
    encoded.put(None)
    assert encoded.get_nowait() is None
    assert encoded.qsize() == 0


@pytest.mark.parametrize(
    ("codec", "data", "is_key"),
    [
        ("VP8", KEY, True),
        ("VP8", DELTA, False),
        ("VP8", b"", False),
        ("H264", b"\0\0\0\1\x65abc", True),
        ("H264", b"\0\0\0\1\x09\x10\0\0\0\1\x67abc", True),
        ("H264", b"\0\0\0\1\x41abc\0\0\1\x06", False),
        ("H264", b"\0\0\1", False),
        ("H264", b"", False),
    ],
)
def test_key_frames_are_told_by_their_first_bytes(codec: str, data: bytes, is_key: bool) -> None:  # noqa: FBT001
    """VP8: the lowest bit; H.264: type 5 or 7 among the units."""
    assert is_key_frame(codec, data) is is_key


def test_what_is_replaced_in_aiortc_is_there() -> None:
    """A new aiortc that has moved its private parts fails here."""

    async def main() -> None:
        connection = RTCPeerConnection()
        receiver = connection.addTransceiver("video").receiver
        for name in ("decoder_queue", "decoder_error", "jitter_buffer", "nack_generator"):
            assert hasattr(receiver, f"_RTCRtpReceiver__{name}")
        await connection.close()

    run(main())
