"""RTSP against GStreamer's server: it is read, lost, found again, refused, and never older than it may be."""

import asyncio
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rtsp_server import CLOCK, H264, RtspServer, age_ms, looped, rtsp_servers
from videos import run, write_video

from daemon.errors import AttunedError, LostError, SourceError
from daemon.sources import rtsp
from daemon.sources.live import Feeds, LiveSource
from daemon.sources.rtsp import RtspConnection
from daemon.sources.source import Moment, SourceState

Serve = Callable[..., RtspServer]
SECRET = "p/w#5@?%:é"  # noqa: S105 (made up; every character that URLs and FFmpeg treat specially)


@pytest.fixture
def rtsp_server() -> Iterator[Serve]:
    """Makes servers; all are gone afterwards."""
    with rtsp_servers() as make:
        yield make


def connect(url: str, **options: Any) -> RtspConnection:  # noqa: ANN401
    """A connection that does not wait for long."""
    return RtspConnection(url, **{"open_timeout_s": 3.0, "read_timeout_s": 3.0} | options)


def outcome(connection: RtspConnection) -> AttunedError:
    """Why it ended."""

    async def main() -> AttunedError:
        try:
            await connection.run(Feeds())
        except AttunedError as error:
            return error
        raise AssertionError

    return run(main())


def read(connection: RtspConnection, n: int = 10, while_it_runs: Callable[[], None] | None = None) -> Feeds:
    """The feeds when that many pictures have come, or after 15 s; the connection is cancelled then."""

    async def main() -> Feeds:
        feeds = Feeds()
        job = asyncio.create_task(connection.run(feeds))
        for wanted in [n, 2 * n] if while_it_runs else [n]:
            async with asyncio.timeout(15):
                while feeds.n_pictures < wanted and not job.done():
                    await asyncio.sleep(0.02)
            if wanted == n and while_it_runs:
                await asyncio.to_thread(while_it_runs)
        feeds.at_end = feeds.show(feeds._clock())  # type: ignore[attr-defined]
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job
        return feeds

    return run(main())


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_come_over_both_transports(rtsp_server: Serve, transport: str) -> None:
    """What the feed shows is less than half a second old, of which the sampling of this test takes 20 ms."""
    server = rtsp_server({"live": CLOCK}, "--transport", transport)
    feeds = read(connect(server.url("live"), transport=transport), 60)
    [frame] = feeds.at_end  # type: ignore[attr-defined]
    assert frame.image.shape == (192, 320, 3)
    assert age_ms(frame.image) < 500
    assert feeds.is_connected
    assert feeds.open_feeds == ("gallery",)
    assert feeds.n_undecoded == 0


def test_reordered_pictures_are_in_order(rtsp_server: Serve) -> None:
    """A stream with B-frames is shown in order."""
    encoder = "x264enc bframes=3 rc-lookahead=5 sync-lookahead=0 speed-preset=veryfast key-int-max=25"
    server = rtsp_server({"live": f"CLOCK ! {encoder} ! rtph264pay name=pay0"})
    made: list[float] = []

    class Watched(Feeds):
        def put(self, feed: str, picture: Any) -> None:  # noqa: ANN401
            made.append(1000 * time.monotonic() - age_ms(picture.to_ndarray(format="rgb24")))
            super().put(feed, picture)

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await connect(server.url("live")).run(Watched())

    run(main())
    assert len(made) > 30
    assert all(np.diff(made) > 10)


@pytest.mark.parametrize(
    "pipeline",
    [
        "CLOCK ! vp8enc deadline=1 ! rtpvp8pay name=pay0",
        "CLOCK ! jpegenc ! rtpjpegpay name=pay0",
        "CLOCK ! x265enc tune=zerolatency speed-preset=ultrafast ! rtph265pay name=pay0",
        "CLOCK ! x264enc tune=zerolatency speed-preset=ultrafast ! mpegtsmux ! rtpmp2tpay name=pay0",
        f"audiotestsrc is-live=true ! opusenc ! rtpopuspay name=pay1 CLOCK ! {H264}",
    ],
    ids=["vp8", "mjpeg", "h265", "mpegts", "with_sound"],
)
def test_whatever_ffmpeg_decodes_is_read(rtsp_server: Serve, pipeline: str) -> None:
    """The codec is no matter, nor is a track of sound."""
    assert read(connect(rtsp_server({"live": pipeline}).url("live")), 10).n_pictures >= 10


def test_a_call_is_read_at_the_rate_of_analysis(rtsp_server: Serve, short_call: Any, tmp_path: Path) -> None:  # noqa: ANN401 (of conftest.py)
    """A recorder's gallery comes as five moments per second, all with a picture, none of them skipped."""
    server = rtsp_server({"live": looped(tmp_path, short_call.path)})

    async def main() -> tuple[list[Moment], int]:
        moments: list[Moment] = []
        async with asyncio.timeout(20), LiveSource(connect(server.url("live")), rate_hz=5, give_up_s=5) as source:
            async for item in source.items():
                if isinstance(item, Moment) and (item.frames or moments):
                    moments.append(item)
                if len(moments) == 20:
                    return moments, source.n_undecoded
        raise AssertionError

    moments, n_undecoded = run(main())
    assert n_undecoded == 0
    assert np.allclose(np.diff([moment.time_s for moment in moments]), 0.2)
    assert {frame.image.shape for moment in moments for frame in moment.frames} == {
        (short_call.script.size[1], short_call.script.size[0], 3)
    }
    assert all(moment.feeds == ("gallery",) and len(moment.frames) == 1 for moment in moments)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_password_is_sent_and_never_shown(
    rtsp_server: Serve, auth: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Right from the settings or the URL it lets us in; wrong or missing it does not; it is in no output."""
    caplog.set_level(logging.DEBUG)
    server = rtsp_server({"live": CLOCK}, "--auth", auth, "--user", "anna", "--password", SECRET)
    assert read(connect(server.url("live"), username="anna", password=SECRET), 3).n_pictures >= 3
    quoted = "p%2Fw%235%40%3F%25%3A%C3%A9"
    assert read(connect(server.url("live").replace("//", f"//anna:{quoted}@")), 3).n_pictures >= 3

    wrong = outcome(connect(server.url("live"), username="anna", password=SECRET + "x"))
    assert isinstance(wrong, SourceError)
    assert str(wrong) == (f"{server.url('live')}: wrong user or password; set source.username and source.password")
    assert wrong.__context__ is None
    none = outcome(connect(server.url("live")))
    assert isinstance(none, SourceError)
    assert "asks for user and password" in str(none)
    said = "".join(capfd.readouterr()) + caplog.text
    assert not any(secret in said for secret in (SECRET, quoted, "anna"))


def test_what_is_wrong_is_said_in_one_line(rtsp_server: Serve) -> None:
    """No such path, no video, a codec that FFmpeg lacks, the wrong transport, nobody there, no such host."""
    server = rtsp_server(
        {
            "sound": "audiotestsrc is-live=true ! opusenc ! rtpopuspay name=pay0",
            "jpeg2000": "CLOCK ! openjpegenc ! rtpj2kpay name=pay0",
            "broken": "no_such_element name=pay0",
            "live": CLOCK,
        },
        "--transport",
        "tcp",
    )

    missing = outcome(connect(server.url("nothing")))
    assert isinstance(missing, LostError)
    assert missing.final_at_first
    assert "has no such stream; check the path" in str(missing)

    sound = outcome(connect(server.url("sound")))
    assert isinstance(sound, SourceError)
    assert "has no video track" in str(sound)

    codec = outcome(connect(server.url("jpeg2000")))
    assert isinstance(codec, SourceError)
    assert str(codec) == f"{server.url('jpeg2000')}: its codec JPEG2000 cannot be read; choose H.264"

    broken = outcome(connect(server.url("broken")))
    assert isinstance(broken, LostError)
    assert "the server cannot give the stream" in str(broken)

    udp = outcome(connect(server.url("live"), transport="udp"))
    assert isinstance(udp, SourceError)
    assert "cannot be had over udp; set source.transport to tcp" in str(udp)

    server.stop()
    refused = outcome(connect(server.url("live")))
    assert isinstance(refused, LostError)
    assert "cannot be reached (connection refused)" in str(refused)
    assert not refused.final_at_first

    unknown = outcome(connect("rtsp://nobody.invalid/live"))
    assert isinstance(unknown, LostError)
    assert "the host is unknown" in str(unknown)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (b"", "no answer within 1 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as an RTSP server does"),
    ],
)
def test_other_servers_are_told_from_rtsp(says: bytes, expected: str) -> None:
    """One that keeps silent is given up in time, one that speaks something else at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(says)
        if says:
            writer.close()
        else:
            await reader.read()
            writer.close()

    async def main() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises(LostError) as raised:
                await connect(f"rtsp://127.0.0.1:{port}/x", open_timeout_s=1.0).run(Feeds())
        return str(raised.value)

    began_s = time.monotonic()
    assert expected in run(main())
    assert time.monotonic() - began_s < 4


def test_a_killed_server_is_found_again(rtsp_server: Serve) -> None:
    """States are told once each, and pictures of another size and codec come within 10 s of the restart."""
    server = rtsp_server({"live": CLOCK})

    async def main() -> tuple[list[SourceState], float, tuple[int, ...]]:
        told: list[SourceState] = []
        back_s = 0.0
        connection = connect(server.url("live"))
        async with asyncio.timeout(50), LiveSource(connection, rate_hz=5, give_up_s=None) as source:
            async for item in source.items():
                if isinstance(item, SourceState):
                    if told or item.state != "waiting":  # a slow machine waits for the first picture
                        told.append(item)
                elif isinstance(item, Moment) and item.frames and [s.state for s in told] == ["live"]:
                    server.stop()
                    server.paths = {"live": "videotestsrc is-live=true ! vp8enc deadline=1 ! rtpvp8pay name=pay0"}
                elif told and told[-1].state == "live" and len(told) > 1:
                    return told, time.monotonic() - back_s, item.frames[0].image.shape
                if told and told[-1].state == "reconnecting" and not back_s:
                    await asyncio.sleep(1)
                    await asyncio.to_thread(server.start)
                    back_s = time.monotonic()
        raise AssertionError

    told, took_s, shape = run(main())
    assert [state.state for state in told] == ["live", "reconnecting", "live"]
    assert str(told[1].reason).startswith(server.url("live"))
    assert took_s < 10
    assert shape == (240, 320, 3)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_frozen_server_is_a_loss_unless_it_thaws_in_time(
    rtsp_server: Serve, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a slice of nothing is waited for, but not more than the time-out."""
    monkeypatch.setattr(rtsp, "SLICE_S", 0.5)
    server = rtsp_server({"live": CLOCK})
    connection = connect(server.url("live"), transport=transport, read_timeout_s=2.0)

    def freeze() -> None:
        server.freeze()
        time.sleep(1.2)
        server.thaw()

    assert read(connection, 20, freeze).n_pictures >= 40

    async def main() -> str:
        feeds = Feeds()
        job = asyncio.create_task(connection.run(feeds))
        while not feeds.n_pictures:
            await asyncio.sleep(0.02)
        server.freeze()
        with pytest.raises(LostError) as raised:
            await job
        return str(raised.value)

    began_s = time.monotonic()
    assert run(main()).endswith("no picture came for 2 s")
    assert time.monotonic() - began_s < 6


def test_a_recorder_that_ends_its_stream_is_lost(rtsp_server: Serve) -> None:
    """The end of a stream is no end of the call: the recorder may go on."""
    server = rtsp_server({"live": f"videotestsrc is-live=true num-buffers=60 ! {H264}"})
    lost = outcome(connect(server.url("live")))
    assert isinstance(lost, LostError)
    assert str(lost) == f"{server.url('live')}: the stream ended"


def test_a_resolution_that_changes_goes_on(rtsp_server: Serve, tmp_path: Path) -> None:
    """New parameter sets in the same stream need no new connection."""
    small = write_video(tmp_path / "small.mp4", range(50), size=(320, 240), codec="libx264")
    large = write_video(tmp_path / "large.mp4", range(50), size=(640, 360), codec="libx264")
    server = rtsp_server({"live": looped(tmp_path, small, large)})
    sizes: list[tuple[int, int]] = []

    class Watched(Feeds):
        def put(self, feed: str, picture: Any) -> None:  # noqa: ANN401
            if not sizes or sizes[-1] != (picture.width, picture.height):
                sizes.append((picture.width, picture.height))
            super().put(feed, picture)

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(9):
                await connect(server.url("live")).run(Watched())

    run(main())
    assert sizes[:3] in ([(320, 240), (640, 360), (320, 240)], [(640, 360), (320, 240), (640, 360)])


def test_a_slow_decoder_does_not_fall_behind(rtsp_server: Serve) -> None:
    """Where decoding takes twice the time there is, pictures are skipped, counted, and no older than 2.5 s."""
    # B-frames, which no other picture needs, are skipped first.
    encoder = "x264enc bframes=3 b-adapt=false rc-lookahead=5 sync-lookahead=0 speed-preset=veryfast key-int-max=50"
    server = rtsp_server({"live": f"CLOCK ! {encoder} ! rtph264pay name=pay0"})
    ages: list[int] = []

    class Slow(Feeds):
        def put(self, feed: str, picture: Any) -> None:  # noqa: ANN401
            ages.append(age_ms(picture.to_ndarray(format="rgb24")))
            time.sleep(0.08)
            super().put(feed, picture)

    async def main() -> Slow:
        feeds = Slow()
        with suppress(TimeoutError):
            async with asyncio.timeout(8):
                await connect(server.url("live")).run(feeds)
        return feeds

    feeds = run(main())
    assert max(ages) < 2500
    assert feeds.n_undecoded > 30
    assert feeds.n_undecoded + len(ages) > 150


def test_cancelling_leaves_nothing_behind(rtsp_server: Serve) -> None:
    """Threads end within the slice, also when the server keeps silent, and the server sees us go."""
    server = rtsp_server({"live": CLOCK})
    began_s = time.monotonic()

    async def main() -> None:
        job = asyncio.create_task(connect(server.url("live")).run(feeds := Feeds()))
        while not feeds.n_pictures:
            await asyncio.sleep(0.02)
        server.freeze()
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job

    run(main())
    assert time.monotonic() - began_s < 3 + rtsp.SLICE_S
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_rtsps_is_verified(rtsp_server: Serve, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown certificate is refused, by FFmpeg too, unless its authority is given or nothing is checked."""
    server = rtsp_server({"live": CLOCK}, "--tls", *map(str, certificate))
    url = server.url("live", "rtsps")
    refused = outcome(connect(url))
    assert isinstance(refused, SourceError)
    assert "its certificate is not trusted (self-signed certificate); set source.ca_file" in str(refused)
    assert read(connect(url, ca_file=certificate[0]), 3).n_pictures >= 3
    assert read(connect(url, verify=False), 3).n_pictures >= 3
    elsewhere = outcome(connect(url.replace("127.0.0.1", "localhost"), ca_file=certificate[0]))
    assert isinstance(elsewhere, SourceError)
    assert "not trusted" in str(elsewhere)

    async def nothing(_: RtspConnection) -> None:
        pass

    monkeypatch.setattr(RtspConnection, "_knock", nothing)
    assert isinstance(outcome(connect(url)), LostError)
    assert isinstance(outcome(connect(url.replace("127.0.0.1", "localhost"), ca_file=certificate[0])), LostError)
