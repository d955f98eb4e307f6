"""What peers say in SDP, and what is made of it; aiortc itself takes every transcript here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay import LOOPBACK, run

from daemon.errors import SourceError
from daemon.sources.sdp import Description, Fragment, transcript, unreadable
from daemon.sources.webrtc import IceSettings, Peer

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
DIGEST = ":".join(["AB"] * 32)
TRANSPORT = (
    f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {DIGEST}\r\na=setup:actpass\r\n"
)
CANDIDATE = "a=candidate:1 1 UDP 2130706431 127.0.0.1 50000 typ host\r\n"


def video(*codecs: str, mid: str = "1", extra: str = "a=sendonly\r\n", transport: str = TRANSPORT) -> str:
    """A video section; codecs as `VP8` or `H264 parameters`."""
    lines = f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(str(96 + i) for i in range(len(codecs)))}\r\n"
    lines += f"c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n{extra}a=rtcp-mux\r\n{transport}"
    for i, codec in enumerate(codecs):
        name, _, parameters = codec.partition(" ")
        lines += f"a=rtpmap:{96 + i} {name}/90000\r\na=rtcp-fb:{96 + i} nack pli\r\n"
        lines += f"a=fmtp:{96 + i} {parameters}\r\n" if parameters else ""
    return lines


AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
)
BUNDLE = "a=group:BUNDLE 0 1\r\n"


def answered(offer: str) -> str:
    """What a peer of ours answers."""

    async def main() -> str:
        async with Peer(IceSettings(LOOPBACK), lambda *_: None, lambda _: None) as peer:
            return await peer.answer(offer)

    return run(main())


def sections(sdp: str) -> list[str]:
    """The m-lines with what follows."""
    return [f"m={part}" for part in sdp.split("\r\nm=")[1:]]


@pytest.mark.parametrize(
    "parameters",
    [
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "level-asymmetry-allowed=1; packetization-mode=1; profile-level-id=42E01F",
        "packetization-mode=1;profile-level-id=42c01f",
        "packetization-mode=1;profile-level-id=42001f",
        "packetization-mode=1;profile-level-id=42c02a",
        "packetization-mode=0;profile-level-id=42e01f",
        "profile-level-id=42e01f",
        "packetization-mode=1;profile-level-id=4d001f",
        "packetization-mode=1;profile-level-id=640c34",
        "packetization-mode=1;profile-level-id=640032;sprop-parameter-sets=Z0IAKeKQFAe2,aM48gA==",
        "",
    ],
)
def test_h264_is_answered_as_it_was_offered(parameters: str) -> None:
    """Every 8-bit 4:2:0 profile, level and packetization mode: FFmpeg decodes them all, so the answer repeats them."""
    answer = answered(HEAD + video(f"H264 {parameters}".strip()))
    (section,) = sections(answer)
    assert section.startswith("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n") or " UDP/TLS/RTP/SAVPF 96\r\n" in section
    assert "a=recvonly" in section
    assert (f"a=fmtp:96 {parameters}\r\n" in section) == bool(parameters)


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (HEAD + AUDIO, "there is no video track"),
        (HEAD + video("VP8", extra="a=recvonly\r\n"), "there is no video track"),
        (HEAD + video("VP8", extra="a=inactive\r\n"), "there is no video track"),
        (HEAD + video("VP8").replace("m=video 9", "m=video 0"), "there is no video track"),
        (HEAD + video("VP9", "AV1", "rtx apt=96"), "comes as AV1, VP9, and attuned reads VP8 and H.264"),
        (HEAD + video("H265"), "comes as H265"),
        (HEAD + video("H264 profile-level-id=6e0033"), "comes as H.264 profile 6e0033"),
        (HEAD + video("H264 profile-level-id=f4001f"), "comes as H.264 profile f4001f"),
        (HEAD + video("VP8").replace("a=rtpmap:96 VP8/90000", ""), "comes as an unknown codec"),
        (HEAD + video("<b>\x1b[1m" + "Z" * 99), "comes as B1M" + "Z" * 21 + ","),
        (HEAD + video(*"ABCDEFGH"), "comes as A, B, C, D, and attuned"),
    ],
)
def test_what_cannot_be_read_is_named(offer: str, message: str) -> None:
    """With what to do about it, in one line."""
    why = unreadable(offer)
    assert why is not None
    assert message in why
    assert "\n" not in why
    assert ";" in why


def test_what_can_be_read_has_no_reason() -> None:
    """One codec of several is enough."""
    assert unreadable(HEAD + video("AV1", "VP9", "VP8")) is None


def test_the_senders_order_of_codecs_is_kept() -> None:
    """With retransmission for those that are read, and nothing of the others."""
    offer = HEAD + video("VP9", "H264 packetization-mode=1;profile-level-id=42e01f", "rtx apt=97", "VP8", "rtx apt=96")
    (section,) = sections(answered(offer))
    assert section.splitlines()[0].split()[3:] == ["97", "99", "98"]
    assert "a=fmtp:98 apt=97" in section


def test_sound_in_a_bundle_is_inactive() -> None:
    """It carries the transport, which is the video's too."""
    audio, picture = sections(
        answered(HEAD + BUNDLE + AUDIO.replace("a=mid", TRANSPORT + CANDIDATE + "a=mid") + video("VP8"))
    )
    assert audio.startswith("m=audio ")
    assert not audio.startswith("m=audio 0 ")
    assert "a=inactive" in audio
    assert "a=rtpmap:111 opus/48000/2" in audio
    for name in ("ice-ufrag", "ice-pwd", "fingerprint:sha-256", "setup:active", "candidate", "mid"):
        assert f"a={name}" in audio
        assert f"a={name}" in picture


def test_sound_outside_a_bundle_is_rejected() -> None:
    """There is one transport, and it is the video's."""
    answer = answered(HEAD + AUDIO.replace("a=mid", TRANSPORT + "a=mid") + video("VP8"))
    audio, _ = sections(answer)
    assert audio.startswith("m=audio 0 ")
    assert "BUNDLE" not in answer


def test_data_and_unreadable_video_are_rejected() -> None:
    """They keep their places; the bundle is what is left."""
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n"
    offer = HEAD + "a=group:BUNDLE 3 2 1\r\n" + video("AV1", mid="3") + data + TRANSPORT + video("VP8")
    answer = answered(offer)
    av1, application, picture = sections(answer)
    assert av1.startswith("m=video 0 UDP/TLS/RTP/SAVPF 96")
    assert application.startswith("m=application 0 UDP/DTLS/SCTP webrtc-datachannel")
    assert "a=recvonly" in picture
    assert "a=group:BUNDLE 1\r\n" in answer


def test_the_transport_may_stand_once() -> None:
    """For the session, as libdatachannel says it, or in the first m-line of a bundle, the others being bundle-only."""
    once = HEAD + BUNDLE + TRANSPORT + AUDIO + video("VP8", transport="")
    first = HEAD + BUNDLE + AUDIO.replace("a=mid", TRANSPORT + CANDIDATE + "a=mid")
    first += video("VP8", transport="", extra="a=bundle-only\r\na=sendonly\r\n").replace("m=video 9", "m=video 0")
    for offer in (once, first):
        _, picture = sections(answered(offer))
        assert "a=recvonly" in picture


def test_a_simulcast_is_answered_as_one_stream() -> None:
    """No rid is accepted, so the sender sends one of them (RFC 8853 section 5.3.2)."""
    extra = "a=sendonly\r\na=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\na=extmap:4/sendonly urn:x param\r\n"
    answer = answered(HEAD + video("VP8", "rtx apt=96", extra=extra))
    assert "simulcast" not in answer
    assert "a=rid" not in answer


def test_only_one_transport_is_read_where_nothing_is_bundled() -> None:
    """The first video."""
    first, second = sections(answered(HEAD + video("VP8", mid="a") + video("VP8", mid="b")))
    assert "a=recvonly" in first
    assert second.startswith("m=video 0 ")


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate:broken",
        "a=candidate:1 1 UDP x 127.0.0.1 50000 typ host",
        "a=ssrc:1234",
        "a=extmap:x",
        "a=setup:holdconn",
        "a=fmtp:55 x=1",
        "a=rtcp:nonsense",
        "a=fingerprint:sha-256",
    ],
)
def test_lines_that_aiortc_would_choke_on_are_left_out(line: str) -> None:
    """The rest is enough to go on."""
    assert "a=recvonly" in answered(HEAD + video("VP8", extra=f"{line}\r\na=sendonly\r\n"))


def test_fragments_hold_candidates_and_ice() -> None:
    """Unknown kinds of candidates are passed over, as RFC 9725 asks."""
    text = (
        f"a=group:BUNDLE 0\r\nm=audio 9 RTP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n{CANDIDATE}a=candidate:odd\r\n"
    )
    assert Fragment.parse(text + "a=end-of-candidates") == Fragment(
        (CANDIDATE[len("a=candidate:") : -2], ""), ("abcd", "secret")
    )
    with pytest.raises(SourceError, match="neither candidates nor ICE"):
        Fragment.parse("a=group:BUNDLE 0")


LINES = """v=0
m=video 9 UDP/TLS/RTP/SAVPF 96 97
m=audio 9 RTP/SAVPF 0
m=video
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=rtpmap:96 H264/90000
a=rtpmap:
a=fmtp:97 apt=96
a=fmtp:97
a=fmtp:96 profile-level-id=zz
a=sendonly
a=mid:1
a=group:BUNDLE 1
a=group:
a=ice-ufrag:x
a=extmap:1 u
a=ssrc:1 cname:x
a="""
WORDS = st.sampled_from(LINES.split("\n")) | st.text(max_size=20)


@given(st.lists(WORDS, max_size=12))
def test_whatever_a_peer_says_is_read_or_refused(lines: list[str]) -> None:
    """By the one error that supervisors know; what is read has as many m-lines in the transcript."""
    sdp = "\r\n".join(["v=0", *lines])
    try:
        why = unreadable(sdp)
        description = Description.parse(sdp)
    except SourceError:
        return
    assert why is None or "\n" not in why
    assert transcript(description).count("\r\nm=") == len(description.sections)
