"""Whatever strangers hand over is refused in words or taken: nothing crashes, nothing hangs.

Two minutes in all; `make fuzz` goes on for as long as it is told, guided by coverage.
"""

import json
import struct
from collections.abc import Callable
from datetime import timedelta

import fuzz_targets
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay import LOOPBACK, run

from config.settings import Settings
from daemon.errors import LostError, SourceError
from daemon.sources.webrtc import IceSettings, Peer
from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(120)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
HANG = timedelta(seconds=20)
"""No input takes longer; the machine of the tests may be a slow one."""


def examples(n: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many, each in bounded time."""
    return settings(max_examples=n, deadline=HANG, suppress_health_check=SLOW)


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Something sound with pieces cut out, doubled or replaced."""
    piece = st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12))

    def spoil(seed: bytes, pieces: list[tuple[float, int, bytes]]) -> bytes:
        for where, length, new in pieces:
            at = int(where * len(seed))
            seed = seed[:at] + new + seed[at + length :]
        return seed

    return st.builds(spoil, st.sampled_from(seeds), st.lists(piece, max_size=6)) | st.binary(max_size=400)


KEYS = sorted(
    {*Settings.model_fields}
    | {key for field in Settings.model_fields.values() for key in getattr(field.annotation, "model_fields", {})}
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
SECTIONS = st.dictionaries(
    st.sampled_from(sorted(Settings.model_fields)), VALUES | st.dictionaries(st.sampled_from(KEYS), VALUES), max_size=3
)
DEFAULTS = (
    b"node: local\nmqtt: {port: 1883, host: 127.0.0.1}\nsessions:\n  - {name: a, url: rtsp://x/y, purpose: research}\n"
)


@given(
    SECTIONS.map(lambda value: yaml.safe_dump(value).encode())
    | mutated(
        [
            DEFAULTS,
            b"a: 2001-99-99\n",
            b"&a [*a]",
            b"a: !!timestamp x\n",
            b"a: !!bool x\n",
            b"a: !!int _\n",
            b"a\0: 1\n",
        ]
    )
)
@examples(100)
def test_configurations(data: bytes) -> None:
    """Every mistake is told, none as a traceback."""
    fuzz_targets.config(data)


PROBABILITIES = dict.fromkeys(EMOTIONS, 1 / 7)
READING = {
    "schema": "attuned/participant-emotion/1",
    "participant": "p-00000000",
    "second": 3,
    "n_frames": 5,
    "coverage": 1.0,
    "quality": 0.5,
    "probabilities": PROBABILITIES,
    "abstain": False,
    "sources": {"pixel": PROBABILITIES, "landmark": None},
    "weights": {"pixel": 0.5, "landmark": 0.5},
    "heads": {"pixel": "generic", "landmark": "generic"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*READING, *EMOTIONS, "pixel"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(READING)), JSON, max_size=4).map(lambda said: READING | said))
@examples(200)
def test_payloads(said: dict[str, object]) -> None:
    """A payload is read or refused with a ValueError."""
    fuzz_targets.wire(json.dumps(said).encode())


TOPIC = b"attuned/local/session/s/participant/p-00000000/"


@given(mutated([TOPIC + b"consent/set\0granted", TOPIC + b'label/set\0{"emotion": "anger", "from": 1, "to": 2}']))
@examples(200)
def test_topics(data: bytes) -> None:
    """Consent and corrections come from whoever may publish."""
    fuzz_targets.topics(data)


OFFER = (
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
    b"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n"
    b"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 "
    + b":".join([b"AB"] * 32)
    + b"\r\n"
    b"a=setup:actpass\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"
    b"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc:1 cname:x\r\na=extmap:1 urn:x\r\na=rtcp-fb:96 nack pli\r\n"
    b"a=candidate:1 1 UDP 2130706431 127.0.0.1 50000 typ host\r\na=end-of-candidates\r\n"
)
LINES = OFFER.splitlines(keepends=True)


@given(mutated([OFFER]) | st.lists(st.sampled_from(LINES), max_size=30).map(lambda some: b"v=0\r\n" + b"".join(some)))
@examples(400)
def test_descriptions(data: bytes) -> None:
    """SDP of WHIP, WHEP and Janus becomes words that aiortc takes, or is refused in a line."""
    fuzz_targets.sdp(data)


@given(
    mutated([OFFER])
    | st.lists(st.sampled_from(LINES), min_size=20, max_size=40).map(lambda some: b"".join([*LINES[:5], *some]))
)
@examples(20)
def test_offers_are_answered_or_refused(data: bytes) -> None:
    """The body of a WHIP request, a WHEP counter-offer or Janus's offer, through a whole peer."""

    async def main() -> None:
        async with Peer(IceSettings(LOOPBACK), lambda *_: None, lambda _: None) as peer:
            try:
                answer = await peer.answer(data.decode(errors="replace"))
            except (SourceError, LostError) as error:
                fuzz_targets.one_line(error)
            else:
                assert answer.startswith("v=0")

    run(main())


MESSAGES = [
    {"janus": "success", "data": {"id": 2}},
    {
        "janus": "event",
        "sender": 2,
        "plugindata": {"data": {"publishers": [{"id": 1, "streams": [{"type": "video", "mid": "0", "codec": "vp8"}]}]}},
    },
    {"janus": "error", "error": {"code": 458, "reason": "no such session"}},
]
WORDS = st.sampled_from(
    [
        "janus",
        "data",
        "id",
        "plugindata",
        "publishers",
        "streams",
        "type",
        "mid",
        "codec",
        "error",
        "code",
        "error_code",
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@given(
    mutated([json.dumps(message).encode() for message in MESSAGES]) | TREES.map(lambda tree: json.dumps(tree).encode())
)
@examples(300)
def test_janus(data: bytes) -> None:
    """What a server says of a room."""
    fuzz_targets.janus(data)


ADDRESSES = [
    b"rtsp://u:p@host:554/a?b",
    b"janus+http://host:8088/janus?room=1&pin=2",
    b"whep+https://host/x",
    b"whip://",
    b"file:///a",
]


@given(mutated(ADDRESSES))
@examples(300)
def test_addresses(data: bytes) -> None:
    """What a client of the API calls an address."""
    fuzz_targets.addresses(data)


PICTURES = st.lists(
    st.builds(
        lambda width, height, kind, seed: struct.pack("<HHBH", width, height, kind, seed),
        st.integers(0, 3) | st.integers(0, 65535),
        st.integers(0, 3) | st.integers(0, 65535),
        st.integers(0, 5),
        st.integers(0, 65535),
    ),
    max_size=4,
).map(b"".join)


@given(PICTURES)
@examples(30)
def test_pictures_through_the_gallery(data: bytes) -> None:
    """Tiles lie in the picture and hold somebody each, whatever size and content follow each other."""
    fuzz_targets.gallery(data)


@given(PICTURES)
@examples(40)
def test_pictures_through_the_face_mesh(data: bytes) -> None:
    """One tracker sees all of them, as that of a participant would."""
    fuzz_targets.faces(data)


@given(data=st.data())
@examples(60)
def test_bytes_as_video(data: st.DataObject, clips: list[bytes]) -> None:
    """A damaged recording is read as far as it goes, or refused in a line."""
    fuzz_targets.video(data.draw(mutated(clips)))
