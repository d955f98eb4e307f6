"""Where the API may lead, and how often it may be asked."""

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from videos import run

from config.privacy import ApiSection
from daemon.errors import LostError, SourceError
from daemon.security import CALLERS_MAX, ForbiddenAddressError, Guard, RateLimit, is_forbidden
from daemon.sources.janus_api import JanusSession
from daemon.sources.live import Feeds
from daemon.sources.rtsp import RtspConnection, parse_address
from daemon.sources.webrtc import IceSettings, Peer
from daemon.sources.whep import WhepConnection

EXPOSED = Guard.of(ApiSection(), "0.0.0.0")  # noqa: S104 (what is not asked for here is what is tested)
HERE = Guard.of(ApiSection(), "127.0.0.1")
LAN = Guard.of(ApiSection(networks=["192.168.1.0/24", "2001:db8::/64"], schemes=["rtsp"]), "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.16689662",
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "240.0.0.1",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
    ],
)
@pytest.mark.parametrize("url", ["whep+http://{}/w", "rtsp://user:word@{}:554/x", "janus+ws://{}:8188?room=1"])
def test_addresses_where_no_camera_is_are_refused(host: str, url: str) -> None:
    """Credentials of clouds, multicast, everything reserved; however they are written; whoever may reach the API."""
    for guard in (HERE, EXPOSED, LAN):
        with pytest.raises(SourceError) as refused:
            guard.check_url(url.format(host))
        assert "word" not in str(refused.value)


def test_loopback_is_for_an_api_on_loopback() -> None:
    """So are files: whoever can only reach the API over the network gets neither."""
    for url in ("rtsp://127.0.0.1/x", "whep+http://[::1]/x", "janus+http://127.1:8088?room=1", "rtsp://2130706433/x"):
        HERE.check_url(url)
        with pytest.raises(SourceError, match=r"api\.networks"):
            EXPOSED.check_url(url)
    for url in ("meeting.mp4", "/etc/passwd", "file:///etc/passwd"):
        HERE.check_url(url)
        with pytest.raises(SourceError, match=r"api\.schemes"):
            EXPOSED.check_url(url)
    EXPOSED.check_url("rtsp://192.168.1.7/x")
    EXPOSED.check_url("whip://")


def test_what_is_configured_is_all_that_is_allowed() -> None:
    """Only these schemes, only these networks."""
    LAN.check_url("rtsp://192.168.1.7/x")
    LAN.check_url("RTSP://[2001:db8::5]/x")
    for url in (
        "rtsp://192.168.2.7/x",
        "rtsp://127.0.0.1/x",
        "rtsps://192.168.1.7/x",
        "whep+https://192.168.1.7/x",
        "a.mp4",
    ):
        with pytest.raises(SourceError):
            LAN.check_url(url)


@given(st.ip_addresses())
def test_no_address_of_a_bad_network_is_allowed(address: Any) -> None:  # noqa: ANN401 (either kind)
    """Whatever the address: link-local, multicast and unspecified ones never, in their mapped form neither."""
    bad = address.is_link_local or address.is_multicast or address.is_unspecified
    assert not (bad and HERE.allows(address))
    if address.version == 4:
        assert HERE.allows(ipaddress.ip_address(f"::ffff:{address}")) == HERE.allows(address)


@asynccontextmanager
async def serving(handler: Any, host: str = "127.0.0.1") -> AsyncIterator[int]:  # noqa: ANN401
    """A server on loopback; its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def test_a_name_is_judged_by_what_it_means_when_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that meant a good address at first and loopback then (DNS rebinding) does not lead there."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    def resolve(host: str, port: object, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(str(port or 0))))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def main() -> None:
        async with serving(handler) as port:
            EXPOSED.check_url(f"whep+http://rebound.example:{port}/x")
            whep = WhepConnection(f"whep+http://rebound.example:{port}/x", ice=IceSettings(), token=None, guard=EXPOSED)
            with pytest.raises(SourceError, match=r"api\.networks") as refused:
                await whep.run(Feeds())
            assert "127.0.0.1" not in str(refused.value)
            for url in (f"http://rebound.example:{port}/janus", f"ws://rebound.example:{port}"):
                with pytest.raises(SourceError, match=r"api\.networks"):
                    async with JanusSession(url, guard=EXPOSED):
                        pass
            rtsp = RtspConnection(f"rtsp://rebound.example:{port}/x", guard=EXPOSED)
            with pytest.raises(SourceError, match=r"api\.networks"):
                await rtsp.run(Feeds())

    run(main())
    assert asked == []


def test_a_redirect_leads_nowhere_that_is_forbidden() -> None:
    """A WHEP server that may be asked for sends us to an address that may not: nothing arrives there."""
    asked: list[str] = []

    async def main() -> None:
        async def inside(request: web.Request) -> web.Response:
            asked.append(request.path)
            return web.Response()

        async with serving(inside, "127.0.0.2") as port:

            async def outside(_: web.Request) -> web.Response:
                return web.Response(status=307, headers={"Location": f"http://127.0.0.2:{port}/secret"})

            async with serving(outside) as first:
                only = Guard.of(ApiSection(networks=["127.0.0.1/32"]), "127.0.0.1")
                whep = WhepConnection(f"whep+http://127.0.0.1:{first}/x", ice=IceSettings(), token=None, guard=only)
                with pytest.raises(SourceError, match=r"api\.networks"):
                    await whep.run(Feeds())
                assert asked == []
                free = WhepConnection(f"whep+http://127.0.0.1:{first}/x", ice=IceSettings(), token=None)
                with pytest.raises((SourceError, LostError)):
                    await free.run(Feeds())

    run(main())
    assert asked == ["/secret"], "without a guard it would have arrived"


def test_a_host_is_pinned_to_the_address_that_was_found_good() -> None:
    """FFmpeg is given the address and not the name, also where user and password look like the place; TLS keeps it."""
    pinned = parse_address("rtsp://camera:554@camera:554/camera:554").at("192.0.2.7")
    assert pinned.dialled == "rtsp://camera:554@192.0.2.7:554/camera:554"
    assert pinned.asked == "rtsp://192.0.2.7:554/camera:554"
    assert pinned.host == "192.0.2.7"
    assert parse_address("rtsp://camera/x").at("2001:db8::1").dialled == "rtsp://[2001:db8::1]:554/x"
    secure = parse_address("rtsps://camera/x")
    assert secure.at("192.0.2.7") == secure


def test_candidates_that_may_not_be_sent_to_are_left_out() -> None:
    """The peer's SDP cannot make us knock at addresses of its choice; names of hosts are none that we may try."""

    async def main() -> None:
        settings = IceSettings(allows=EXPOSED.allows_text)
        async with Peer(settings, lambda *_: None, lambda _: None) as peer:
            lines = [
                f"a=candidate:1 1 udp 1 {address} 9 typ host"
                for address in ("192.168.1.7", "127.0.0.1", "169.254.169.254", "host.local", "fe80::1")
            ]
            kept = peer._allowed("\r\n".join(["v=0", *lines, "a=mid:0", ""]))
            assert kept == f"v=0\r\n{lines[0]}\r\na=mid:0\r\n"
            assert not peer._may_try("1 1 udp")

    run(main())


def test_a_forbidden_address_is_known_through_what_libraries_make_of_it() -> None:
    """Aiohttp wraps what its socket factory raises, and keeps the number."""

    async def main() -> BaseException:
        async with aiohttp.ClientSession(connector=EXPOSED.connector()) as http:
            with pytest.raises(aiohttp.ClientError) as raised:
                await http.get("http://127.0.0.1:9/")
            return raised.value

    assert is_forbidden(run(main()))
    assert is_forbidden(ForbiddenAddressError())
    assert not is_forbidden(OSError(errno.ECONNREFUSED, "refused"))
    assert not is_forbidden(ValueError())


class Clock:
    """A time that is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def test_who_asks_too_often_waits_and_the_others_do_not() -> None:
    """Three at once, then one a second; what is refused costs nothing; others are counted on their own."""
    clock = Clock()
    limit = RateLimit(rate_per_s=1.0, burst=3, now=clock)
    assert [limit.takes("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit.takes("b")
    clock.now_s = 1.5
    assert [limit.takes("a"), limit.takes("a")] == [True, False]
    clock.now_s = 100.0
    assert [limit.takes("a", 2.0), limit.takes("a", 2.0), limit.takes("a")] == [True, False, True]
    assert limit.n_refused == 4


def test_callers_are_forgotten() -> None:
    """However many addresses ask, so many are remembered."""
    limit = RateLimit(rate_per_s=1.0, burst=1, now=Clock())
    for number in range(CALLERS_MAX + 10):
        limit.takes(str(number))
    assert len(limit._left) == CALLERS_MAX
