"""RTSP without a server: addresses and their secrets, what waits to be decoded, and what FFmpeg's errors mean."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import av.error
import pytest
from hypothesis import given
from hypothesis import strategies as st
from videos import run

from daemon.errors import LostError, SourceError
from daemon.sources import backlog
from daemon.sources.backlog import Backlog
from daemon.sources.live import Feeds
from daemon.sources.rtsp import RtspConnection, _Reading, parse_address


@pytest.mark.parametrize(
    ("url", "shown", "host", "port"),
    [
        ("rtsp://camera/stream1", "rtsp://camera:554/stream1", "camera", 554),
        ("rtsps://camera/stream1", "rtsps://camera:322/stream1", "camera", 322),
        ("RTSP://anna:pw@Camera:8554", "rtsp://camera:8554", "camera", 8554),
        ("rtsp://[fe80::1]:8554/a/b", "rtsp://[fe80::1]:8554/a/b", "fe80::1", 8554),
        ("rtsp://camera/a?user=anna&password=pw", "rtsp://camera:554/a", "camera", 554),
        ("rtsp://camera/user=anna&password=pw&channel=1", "rtsp://camera:554/…", "camera", 554),
    ],
)
def test_an_address_is_shown_without_what_is_secret(url: str, shown: str, host: str, port: int) -> None:
    """User, password and query go, and so does a path with settings in it."""
    address = parse_address(url)
    assert (address.shown, address.host, address.port) == (shown, host, port)
    assert "pw" not in repr(address)


def test_an_address_is_dialled_with_all_of_it() -> None:
    """FFmpeg gets the path and the query as they are, and user and password escaped."""
    address = parse_address("rtsp://anna:p%2Fw@camera:8554/a?b=c#d")
    assert address.dialled == "rtsp://anna:p%2Fw@camera:8554/a?b=c"
    assert address.asked == "rtsp://camera:8554/a?b=c"
    assert parse_address("rtsp://anna:pw@camera/", "eve", "x@y").dialled == "rtsp://eve:x%40y@camera:554/"
    assert parse_address("rtsp://anna@camera/", password="pw").dialled == "rtsp://anna:pw@camera:554/"  # noqa: S106
    assert parse_address("rtsp://camera/", password="pw").dialled == "rtsp://camera:554/"  # noqa: S106
    assert parse_address("rtsp://anna:pw@camera/").has_user
    assert not parse_address("rtsp://camera/").has_user


@given(
    user=st.text(
        st.characters(min_codepoint=33, max_codepoint=255).filter(lambda c: c.isprintable() and c != ":"),
        min_size=1,
        max_size=15,
    ),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=255).filter(str.isprintable), max_size=15),
)
def test_every_password_comes_through(user: str, secret: str) -> None:
    """What FFmpeg cuts out of the address and unescapes is the user and the password, from either place."""
    expected = f"{user}:{secret}"
    for address in (
        parse_address("rtsp://camera/live", user, secret),
        parse_address(f"rtsp://{quote(user, safe='')}:{quote(secret, safe='')}@camera/live"),
    ):
        authority = address.dialled.removeprefix("rtsp://").split("/")[0].split("?")[0].split("#")[0]
        assert unquote(authority.rpartition("@")[0]) == expected
        assert authority.rpartition("@")[2] == "camera:554"


@pytest.mark.parametrize(
    "url",
    [
        *("http://camera/live", "rtsp:///live", "rtsp://", "live", "rtsp://camera:99999/", "rtsp://camera:0/"),
        *(
            "rtsp://anna:p#w@camera/",
            "rtsp://[camera/",
            "rtsp://camera/a b",
            "rtsp://camera/a\r\nB: c",
            "rtsp://anna:pw/x@camera/",
        ),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    """There may be a password in it, at a place where none belongs."""
    with pytest.raises(SourceError) as raised:
        RtspConnection(url)
    assert str(raised.value).startswith("the source's url is no address of a stream; write rtsp://HOST/PATH")
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("user", "secret", "expected"),
    [
        ("an:na", "pw", "must not have a colon"),
        ("anna", "p\nw", "control character"),
        ("anna", "x" * 123, "longer than the 127 bytes"),
        ("anna", "/" * 41, "longer than the 127 bytes"),
    ],
)
def test_passwords_that_cannot_be_sent_are_refused(user: str, secret: str, expected: str) -> None:
    """FFmpeg would cut them off or misread them, and the camera would call them wrong."""
    with pytest.raises(SourceError, match=expected) as raised:
        parse_address("rtsp://camera/", user, secret)
    assert secret not in str(raised.value)
    assert parse_address("rtsp://camera/", "anna", "x" * 122)


@dataclass(frozen=True)
class Packet:
    """As much of a packet as is asked for."""

    number: int
    is_keyframe: bool = False
    size: int = 1000


class Queue:
    """A backlog with a clock that is set, and a count of what it skipped."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.n_skipped = 0
        self.backlog: Backlog[Packet] = Backlog(self._skipped, lambda: self.now_s)

    def _skipped(self, n: int) -> None:
        self.n_skipped += n

    def put(self, *packets: Packet, every_s: float = 0.04) -> None:
        """They come one after another."""
        for packet in packets:
            self.backlog.put(packet)
            self.now_s += every_s

    def take(self) -> tuple[int, bool]:
        """Number of the next packet, and whether it is late."""
        taken = self.backlog.take()
        assert taken is not None
        return taken[0].number, taken[1]


def test_packets_are_decoded_in_order_while_they_are_young() -> None:
    """Nothing is late at 0.3 s; at 0.4 s it is."""
    queue = Queue()
    queue.put(*map(Packet, range(3)), every_s=0.0)
    assert queue.take() == (0, False)
    queue.now_s = 0.3
    assert queue.take() == (1, False)
    queue.now_s = 0.4
    assert queue.take() == (2, True)
    assert queue.n_skipped == 0


def test_a_second_behind_it_jumps_to_the_newest_key_frame() -> None:
    """Packets 0 to 29, one in 40 ms, keys at 0, 10 and 20: at 1.2 s number 0 is too old, and 20 has waited 0.4 s."""
    queue = Queue()
    queue.put(*(Packet(i, i % 10 == 0) for i in range(30)))
    assert queue.take() == (20, True)
    assert queue.n_skipped == 20
    assert queue.take() == (21, True)


def test_without_a_newer_key_frame_it_bears_with_two_seconds() -> None:
    """A hitch is decoded away; beyond two seconds everything is skipped up to the next key frame."""
    queue = Queue()
    queue.put(*(Packet(i, i == 0) for i in range(30)))
    assert queue.take() == (0, True)
    queue.now_s = 2.1
    queue.put(Packet(30, is_keyframe=True))
    assert queue.take() == (30, False)
    assert queue.n_skipped == 29

    queue.put(Packet(31))
    queue.now_s = 5.0

    def come() -> None:
        queue.backlog.put(Packet(32))
        queue.backlog.put(Packet(33, is_keyframe=True))

    later = threading.Timer(0.1, come)
    later.start()
    assert queue.take() == (33, False)
    later.join()
    assert queue.n_skipped == 31


@pytest.mark.parametrize(("n_max", "size"), [(backlog.WAITING_MAX, 10), (32, 1 << 20)])
def test_no_more_waits_than_there_is_room_for(n_max: int, size: int) -> None:
    """When it is full, all of it is skipped, and what follows up to a key frame."""
    queue = Queue()
    queue.put(*(Packet(i, is_keyframe=True, size=size) for i in range(n_max)), every_s=0.0)
    assert queue.n_skipped == 0
    queue.put(Packet(n_max, size=size), Packet(n_max + 1, is_keyframe=True, size=size), every_s=0.0)
    assert queue.n_skipped == n_max + 1
    assert queue.take() == (n_max + 1, False)


def test_the_end_wakes_who_waits() -> None:
    """And what waits then is not decoded any more."""
    queue = Queue()
    threading.Timer(0.05, queue.backlog.end).start()
    assert queue.backlog.take() is None
    queue.put(Packet(0))
    assert queue.backlog.take() is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.booleans(), st.integers(1, 8 << 20)),
            st.tuples(st.just("wait"), st.floats(0, 3)),
            st.just(("take",)),
        ),
        max_size=60,
    )
)
def test_every_packet_is_counted_once_and_none_is_too_old(steps: list[tuple[object, ...]]) -> None:
    """Put are taken, skipped and waiting ones; numbers rise; decoding goes on at a key frame; the age is bounded."""
    queue = Queue()
    came: dict[int, float] = {}
    taken: list[int] = []
    keys: set[int] = set()
    for step in steps:
        if step[0] == "put":
            number = len(came)
            came[number] = queue.now_s
            keys |= {number} if step[1] else set()
            queue.backlog.put(Packet(number, bool(step[1]), int(step[2])))  # type: ignore[call-overload]
        elif step[0] == "wait":
            queue.now_s += float(step[1])  # type: ignore[arg-type]
        elif any(queue.now_s - at <= backlog.LOST_S for _, (at, _) in enumerate(queue.backlog._waiting)):
            with_key = [p for at, p in queue.backlog._waiting if queue.now_s - at <= backlog.LOST_S and p.is_keyframe]
            if queue.now_s - queue.backlog._waiting[0][0] > backlog.LOST_S and not with_key:
                continue  # it would wait for more
            number, late = queue.take()
            assert queue.now_s - came[number] <= backlog.LOST_S
            assert late == (queue.now_s - came[number] > backlog.LATE_S)
            assert not taken or number == taken[-1] + 1 or (number > taken[-1] and number in keys)
            taken.append(number)
        assert sum(p.size for _, p in queue.backlog._waiting) == queue.backlog._n_bytes
        assert len(came) == len(taken) + queue.n_skipped + len(queue.backlog._waiting)


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (av.error.HTTPForbiddenError(403, "no"), SourceError, "asks for user and password"),
        (av.error.HTTPServerError(503, "no"), LostError, "the server cannot give the stream"),
        (av.error.HTTPTooManyRequestsError(429, "no"), LostError, "the server cannot give the stream"),
        (av.error.OSError(errno.EPROTONOSUPPORT, "no"), SourceError, "set source.transport to udp"),
        (av.error.OSError(errno.EIO, "Input/output ERROR"), LostError, "cannot be opened (input/output error)"),
        (av.error.InvalidDataError(1, "no"), LostError, "does not answer as an RTSP server does"),
    ],
)
def test_what_ffmpeg_says_becomes_one_line(error: av.error.FFmpegError, kind: type[Exception], expected: str) -> None:
    """Who can mend it is told what to do, and it is tried again where that may help."""
    reading = _Reading(parse_address("rtsp://camera/a"), "tcp", {}, 5.0, 5.0, Feeds())
    refusal = reading._refusal(error, 0.1)
    assert isinstance(refusal, kind)
    assert str(refusal).startswith("rtsp://camera:554/a: ")
    assert expected in str(refusal)


def test_no_answer_in_time_is_told_from_a_wrong_one() -> None:
    """FFmpeg has no error of its own for it."""
    reading = _Reading(parse_address("rtsp://camera/a"), "tcp", {}, 5.0, 5.0, Feeds())
    assert "no answer within 5 s" in str(reading._refusal(av.error.InvalidDataError(1, "no"), 5.1))


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Before anybody is reached."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (tmp_path / "missing.pem", empty):
        with pytest.raises(SourceError, match=f"{path.name}: holds no certificates"):
            run(RtspConnection("rtsps://127.0.0.1:1/x", ca_file=path).run(Feeds()))


@asynccontextmanager
async def listening(says: bytes | None) -> AsyncIterator[str]:
    """The address, as of rtsps, of a server that says this to whoever comes, or nothing."""
    came: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        if says is not None:
            writer.write(says)
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"rtsps://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        finally:
            for writer in came:
                writer.transport.abort()


def test_who_does_not_speak_tls_is_told_so() -> None:
    """Such as rtsps:// with the port of rtsp://."""

    async def main() -> None:
        async with listening(b"RTSP/1.0 400 Bad Request\r\n\r\n") as url:
            await RtspConnection(url).run(Feeds())

    with pytest.raises(LostError, match="does not speak TLS as we do; check the port, or write rtsp://"):
        run(main())


def test_a_server_that_does_not_let_us_in_is_given_up_in_time() -> None:
    """It listens, but does not shake hands."""

    async def main() -> None:
        async with listening(None) as url:
            with pytest.raises(LostError, match=r"no answer within 0\.3 s"):
                await RtspConnection(url, open_timeout_s=0.3).run(Feeds())

    run(main())


@pytest.mark.parametrize("host", ["a..b", "a" * 64, ".example.org"])
def test_a_host_that_can_be_no_name_is_refused(host: str) -> None:
    """Python cannot even ask for it."""
    with pytest.raises(SourceError, match="the host can be no name, a part of it is empty or too long") as raised:
        run(RtspConnection(f"rtsp://anna:pw@{host}/x").run(Feeds()))
    assert "pw" not in str(raised.value)


@asynccontextmanager
async def answering(says: bytes | None, asked: list[bytes], *, aborts: bool = False) -> AsyncIterator[str]:
    """The address, as of rtsp, of a server that answers every connection's first request so, or not at all."""
    came: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if aborts:
                writer.transport.abort()
            elif says is not None:
                writer.write(says)
                writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"rtsp://anna:pw@127.0.0.1:{server.sockets[0].getsockname()[1]}/x?a=b"
        finally:
            for writer in came:
                writer.transport.abort()


def test_a_silent_server_can_be_left_at_once() -> None:
    """It accepts and says nothing; FFmpeg, which cannot be cancelled while it opens, never meets it."""

    async def main() -> float:
        asked: list[bytes] = []
        async with answering(None, asked) as url:
            loop = asyncio.get_running_loop()
            task = asyncio.create_task(RtspConnection(url, open_timeout_s=5.0).run(Feeds()))
            while not asked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            began_s = loop.time()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            return loop.time() - began_s

    assert run(main()) < 1


def test_a_silent_server_is_given_up_in_time() -> None:
    """It is asked once, without the password."""

    async def main() -> None:
        asked: list[bytes] = []
        async with answering(None, asked) as url:
            with pytest.raises(LostError, match=r"no answer within 0\.3 s; check host and port"):
                await RtspConnection(url, open_timeout_s=0.3).run(Feeds())
        place = url.replace("anna:pw@", "")
        assert asked == [f"OPTIONS {place} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: attuned\r\n\r\n".encode()]

    run(main())


@pytest.mark.parametrize(
    ("says", "aborts"), [(b"", False), (b"", True), (b"RT", False), (b"HTTP/1.1 400 Bad Request\r\n\r\n", False)]
)
def test_who_is_no_rtsp_server_is_told_so(says: bytes, aborts: bool) -> None:  # noqa: FBT001
    """Such as a web server, or one that hangs up; FFmpeg does not come."""

    async def main() -> None:
        asked: list[bytes] = []
        async with answering(says, asked, aborts=aborts) as url:
            with pytest.raises(LostError, match="does not answer as an RTSP server does; check the port"):
                await RtspConnection(url).run(Feeds())
        assert len(asked) == 1

    run(main())


@pytest.mark.parametrize("status", [b"200 OK", b"401 Unauthorized", b"405 Method Not Allowed"])
def test_whatever_an_rtsp_server_answers_ffmpeg_goes_on(status: bytes) -> None:
    """It knows what the answer means."""

    async def main() -> list[bytes]:
        asked: list[bytes] = []
        async with answering(b"RTSP/1.0 " + status + b"\r\nCSeq: 1\r\n\r\n", asked) as url:
            with pytest.raises((LostError, SourceError)):
                await RtspConnection(url, open_timeout_s=1.0).run(Feeds())
        return asked

    assert len(run(main())) > 1


def test_without_verification_the_greeting_is_left_to_ffmpeg_where_tls_fails() -> None:
    """Old cameras speak TLS as FFmpeg still does and Python no longer."""

    async def main() -> None:
        async with listening(b"RTSP/1.0 400 Bad Request\r\n\r\n") as url:
            await RtspConnection(url, verify=False, open_timeout_s=1.0)._knock()

    run(main())
