"""The WHEP player against a scripted server with a real sender behind it."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from replay import LOOPBACK, Clip, flat, run, until
from whep_server import ETAG, WhepServer, replies, whep_server
from yarl import URL

from daemon.errors import LostError, SourceError
from daemon.sources import whep
from daemon.sources.live import Feeds, LiveSource
from daemon.sources.source import SourceState
from daemon.sources.webrtc import ClosedError, IceSettings
from daemon.sources.whep import RETRY_MAX_S, WhepConnection, retry_after_s, shown

ICE = IceSettings(addresses=LOOPBACK)
TOKEN = "s3cret"  # noqa: S105


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two seconds of VP8."""
    return flat([40, 80, 120, 160, 200] * 10)


def player(server: WhepServer, path: str = "/whep", *, token: str | None = TOKEN, stall_s: float = 5) -> WhepConnection:
    """A connection to it."""
    return WhepConnection(f"whep+{server.url}{path}", ice=ICE, token=token, stall_s=stall_s)


@asynccontextmanager
async def playing(connection: WhepConnection) -> AsyncIterator[Feeds]:
    """Plays, and is cancelled in the end."""
    feeds = Feeds()
    task = asyncio.create_task(connection.run(feeds))
    try:
        await until(lambda: feeds.n_pictures > 3 or task.done())
        if task.done():
            task.result()
        yield feeds
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("is_absolute", [False, True])
def test_an_offer_that_is_accepted_is_played_and_deleted(clip: Clip, is_absolute: bool) -> None:  # noqa: FBT001
    """The token goes along each time; Location may be relative or absolute."""

    async def main() -> None:
        async with whep_server(clip, is_absolute=is_absolute) as server:
            async with playing(player(server)) as feeds:
                assert feeds.is_connected
                assert feeds.open_feeds == ("gallery",)
            bearer = f"Bearer {TOKEN}"
            assert server.requests == [("POST", "/whep", bearer, None), ("DELETE", "/resource/1", bearer, None)]

    run(main())


def test_a_counter_offer_is_answered(clip: Clip) -> None:
    """The answer names the offer's ETag."""

    async def main() -> None:
        async with whep_server(clip, counter_offers=True) as server:
            async with playing(player(server)):
                pass
            assert [(m, p, e) for m, p, _, e in server.requests] == [
                ("POST", "/whep", None),
                ("PATCH", "/resource/1", ETAG),
                ("DELETE", "/resource/1", None),
            ]

    run(main())


def stamp(**shift: float) -> str:
    """An HTTP date."""
    return format_datetime(datetime.now(UTC) + timedelta(**shift), usegmt=True)


def test_a_counter_offer_says_how_long_it_holds(clip: Clip) -> None:
    """One that has run out is not answered; it is deleted, and tried again."""

    async def main() -> None:
        good = f'application/sdp; valid-until="{stamp(minutes=1)}"'
        async with whep_server(clip, counter_offers=True, counter_type=good) as server, playing(player(server)):
            pass
        old = f'application/sdp; valid-until="{stamp(minutes=-1)}"'
        async with whep_server(clip, counter_offers=True, counter_type=old) as server:
            with pytest.raises(LostError, match="its offer ran out"):
                await player(server).run(Feeds())
            assert server.methods == ["POST", "DELETE"]

    run(main())


def test_a_refused_answer_is_told(clip: Clip) -> None:
    """412: the ETag is no longer right."""

    async def main() -> None:
        async with whep_server(clip, counter_offers=True, patch_status=412) as server:
            with pytest.raises(SourceError, match="412"):
                await player(server).run(Feeds())
            assert server.methods == ["POST", "PATCH", "DELETE"]

    run(main())


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_are_followed(clip: Clip, status: int) -> None:
    """On the same origin with the token."""

    async def main() -> None:
        async with whep_server(clip, replies(status, Location="/other?x=1")) as server:
            async with playing(player(server)):
                pass
            assert [(m, p, t) for m, p, t, _ in server.requests] == [
                ("POST", "/whep", f"Bearer {TOKEN}"),
                ("POST", "/other", f"Bearer {TOKEN}"),
                ("DELETE", "/resource/1", f"Bearer {TOKEN}"),
            ]

    run(main())


def test_the_token_stays_at_its_origin(clip: Clip) -> None:
    """Another server, even on the same host, does not get it; neither by the resources that it names."""

    async def main() -> None:
        async with whep_server(clip) as other, whep_server(clip, replies(307, Location=f"{other.url}/x")) as server:
            async with playing(player(server)):
                pass
            assert [token for _, _, token, _ in other.requests] == [None, None]
            assert [token for _, _, token, _ in server.requests] == [f"Bearer {TOKEN}"]

    run(main())


def test_another_origin_that_wants_a_token_is_named(clip: Clip) -> None:
    """Ours is not for it, so that is not called wrong."""

    async def main() -> None:
        async with (
            whep_server(clip, replies(401)) as other,
            whep_server(clip, replies(307, Location=f"{other.url}/x")) as server,
        ):
            with pytest.raises(SourceError, match="it wants a token of its own, being another origin"):
                await player(server).run(Feeds())

    run(main())


def test_redirects_end(clip: Clip) -> None:
    """A loop is an error of the server's."""

    async def main() -> None:
        async with whep_server(clip, *[replies(307, Location="/whep")] * 20) as server:
            with pytest.raises(SourceError, match="redirects again and again"):
                await player(server).run(Feeds())
            assert len(server.requests) == 6

    run(main())


@pytest.mark.parametrize(
    ("status", "headers", "message", "retry_s"),
    [
        (409, {"Retry_After": "7"}, r"nothing to show yet \(409\)", 7),
        (503, {"Retry_After": "3"}, r"nothing to show yet \(503\)", 3),
        (429, {}, r"nothing to show yet \(429\)", 0),
        (503, {"Retry_After": "soon"}, r"\(503\)", 0),
        (503, {"Retry_After": "99999"}, r"\(503\)", RETRY_MAX_S),
        (500, {}, r"in trouble \(500\)", 0),
    ],
)
def test_a_server_that_cannot_now_is_asked_later(
    clip: Clip, status: int, headers: dict[str, str], message: str, retry_s: float
) -> None:
    """As late as it says."""

    async def main() -> None:
        async with whep_server(clip, replies(status, **headers)) as server:
            with pytest.raises(LostError, match=message) as caught:
                await player(server).run(Feeds())
        assert (caught.value.retry_after_s, caught.value.final_at_first) == (retry_s, False)

    run(main())


@pytest.mark.parametrize("status", [404, 410])
def test_a_stream_that_is_not_there_is_final_at_first(clip: Clip, status: int) -> None:
    """Where it has been before, it may come back."""

    async def main() -> None:
        async with whep_server(clip, replies(status)) as server:
            with pytest.raises(LostError, match="no such stream") as caught:
                await player(server).run(Feeds())
        assert caught.value.final_at_first

    run(main())


@pytest.mark.parametrize(
    ("status", "text", "headers", "message"),
    [
        (401, "", {}, r"the token is wrong \(401\); set source.token"),
        (403, "", {}, r"the token is wrong \(403\); set source.token"),
        (400, "", {}, r"refuses what we offer \(400\)"),
        (415, "", {}, r"refuses what we offer \(415\)"),
        (302, "", {"Location": "/login"}, "answers 302"),
        (200, "<html></html>", {"Content_Type": "text/html"}, "answers 200"),
        (201, "<html></html>", {"Content_Type": "text/html", "Location": "/x"}, "answers 201 with text/html"),
        (201, "v=0", {"Content_Type": "application/sdp"}, "names no Location"),
        (201, "v=0", {"Content_Type": "application/sdp", "Location": "ftp://x/"}, "names no Location"),
        (201, "what?", {"Content_Type": "application/sdp", "Location": "/x"}, "SDP cannot be read"),
        (406, "what?", {"Content_Type": "application/sdp", "Location": "/x"}, "SDP cannot be read"),
        (406, "", {"Content_Type": "text/plain"}, "answers 406 with text/plain"),
        (307, "", {}, "names no Location"),
        (201, "v" * 70_000, {"Content_Type": "application/sdp", "Location": "/x"}, "more than 65536 bytes"),
    ],
)
def test_what_no_wait_can_mend_is_said(
    clip: Clip, status: int, text: str, headers: dict[str, str], message: str
) -> None:
    """In one line that does not show the token."""

    async def main() -> None:
        async with whep_server(clip, replies(status, text, **headers)) as server:
            with pytest.raises(SourceError, match=message) as caught:
                await player(server, "/whep?key=hidden").run(Feeds())
        said = str(caught.value)
        assert "\n" not in said
        assert TOKEN not in said
        assert "hidden" not in said

    run(main())


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("a=sendonly", "a=inactive", "no video track"),
        ("m=video", "m=audio", "no video track"),
        ("VP8/90000", "VP9/90000", "comes as VP9, and attuned reads VP8 and H.264"),
    ],
)
@pytest.mark.parametrize("counter_offers", [False, True])
def test_a_stream_that_cannot_be_read_is_said(
    clip: Clip,
    was: str,
    now: str,
    message: str,
    counter_offers: bool,  # noqa: FBT001
) -> None:
    """In the answer or in the server's own offer; what it made is deleted."""

    async def main() -> None:
        async with whep_server(clip, counter_offers=counter_offers) as server:
            show = server._show

            async def changed(offer: str) -> object:
                response = await show(offer)
                body = response.body
                assert isinstance(body, bytes)
                response.body = body.replace(was.encode(), now.encode())
                return response

            server._show = changed  # type: ignore[method-assign, assignment]
            with pytest.raises(SourceError, match=message):
                await player(server).run(Feeds())
            assert server.methods == ["POST", "DELETE"]

    run(main())


def test_the_server_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on this port; nobody has this name."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"whep+http://user:pass@127.0.0.1:{taken.getsockname()[1]}/live?token=x"
            with pytest.raises(LostError, match="cannot be reached") as caught:
                await WhepConnection(url, ice=ICE, token=None).run(Feeds())
        assert "user" not in str(caught.value)
        assert "token" not in str(caught.value)
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(LostError, match="no such host"):
            await WhepConnection("whep+http://nowhere.invalid/", ice=ICE, token=None).run(Feeds())

    run(main())


def test_a_server_that_is_silent_or_rude_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer in time, or not in HTTP, or speaks no TLS."""
    monkeypatch.setattr(whep, "REQUEST_S", 0.3)

    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"SSH-2.0-none\r\n\r\n")
            writer.close()

        for serve, scheme, message in (
            (silent, "http", "does not answer in 0.3 s"),
            (rude, "http", "broke off"),
            (rude, "https", "TLS could not be agreed on"),
        ):
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
                port = listener.sockets[0].getsockname()[1]
                with pytest.raises(LostError, match=message):
                    await WhepConnection(f"whep+{scheme}://127.0.0.1:{port}/", ice=ICE, token=None).run(Feeds())

    run(main())


def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    """As those are that servers make for themselves."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + timedelta(days=36500))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(certificate + private)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "both.pem")

    async def main() -> None:
        async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=tls) as listener:
            port = listener.sockets[0].getsockname()[1]
            with pytest.raises(LostError, match="its certificate is not trusted"):
                await WhepConnection(f"whep+https://127.0.0.1:{port}/", ice=ICE, token=None).run(Feeds())

    run(main())


def test_a_stream_that_stands_still_is_lost_and_deleted(clip: Clip) -> None:
    """The server says nothing of it."""

    async def main() -> None:
        async with whep_server(clip) as server:
            task = asyncio.create_task(player(server, stall_s=0.5).run(Feeds()))
            await until(lambda: bool(server.publishers) and bool(server.publishers[0].tracks[0]._number))
            server.publishers[0].tracks[0].is_paused = True
            with pytest.raises(LostError, match=r"no picture came for 0\.5 s"):
                await task
            assert server.methods == ["POST", "DELETE"]

    run(main())


def test_a_server_that_ends_the_stream_is_lost(clip: Clip) -> None:
    """By DTLS, as when it is stopped."""

    async def main() -> None:
        async with whep_server(clip) as server:
            feeds = Feeds()
            task = asyncio.create_task(player(server).run(feeds))
            await until(lambda: feeds.n_pictures > 3)
            await server.publishers[0].connection.close()
            with pytest.raises(ClosedError):
                await task

    run(main())


def test_a_server_that_is_restarted_is_found_again(clip: Clip) -> None:
    """The session is live again within 10 s, and its states tell the truth."""

    async def main() -> None:
        states: list[str] = []

        async def follow(source: LiveSource) -> None:
            async for item in source.items():
                # A slow machine waits for the first picture.
                if isinstance(item, SourceState) and (states or item.state != "waiting"):
                    states.append(item.state)

        async with AsyncExitStack() as first:
            server = await first.enter_async_context(whep_server(clip))
            connection = player(server, stall_s=1)
            async with LiveSource(connection, rate_hz=5, give_up_s=5) as source:
                task = asyncio.create_task(follow(source))
                await until(lambda: states == ["live"])
                await first.aclose()
                await until(lambda: states == ["live", "reconnecting"])
                async with whep_server(clip, port=server.port):
                    began_s = time.monotonic()
                    await until(lambda: states[-1] == "live")
                    assert time.monotonic() - began_s < 10
                    task.cancel()
                    await asyncio.wait({task})

    run(main())


def test_a_delete_that_is_not_answered_is_bounded(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving takes no longer than it may."""
    monkeypatch.setattr(whep, "DELETE_S", 0.3)

    async def main() -> None:
        async with whep_server(clip) as server:
            handle = server.publishers
            async with playing(player(server)):
                closing = handle[0].connection.close

                async def slow() -> None:
                    await asyncio.sleep(1.5)
                    await closing()

                handle[0].connection.close = slow  # type: ignore[method-assign]
                began_s = time.monotonic()
            assert time.monotonic() - began_s < 1.2
            await asyncio.sleep(1.5)

    run(main())


def test_user_and_password_of_the_address_are_sent(clip: Clip) -> None:
    """As basic authorization, where there is no token."""

    async def main() -> None:
        async with whep_server(clip) as server:
            url = server.url.replace("http://", "whep+http://user:pass@")
            async with playing(WhepConnection(f"{url}/whep", ice=ICE, token=None)):
                pass
            assert server.requests[0][2] == "Basic dXNlcjpwYXNz"

    run(main())


@pytest.mark.parametrize("url", ["whep+ftp://host/", "whep+http://", "whep+http://[::1", "nonsense", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(SourceError, match="is no WHEP address"):
        WhepConnection(url, ice=ICE, token=None)


def test_an_address_is_shown_without_what_is_secret() -> None:
    """User, password, query and fragment may be."""
    assert shown(URL("https://u:p@host:8443/live/room?token=x#y")) == "https://host:8443/live/room"


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "Retry-After": st.text(st.characters(codec="latin-1")) | st.integers().map(str),
            "Date": st.text(st.characters(codec="latin-1")),
        },
    )
)
def test_a_wait_is_bounded_whatever_is_asked_for(headers: dict[str, str]) -> None:
    """Anything can stand in a header."""
    assert 0 <= retry_after_s(headers) <= RETRY_MAX_S


def test_a_date_is_compared_to_the_servers_clock() -> None:
    """It may be years off ours."""
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after_s(headers) == 30
    assert retry_after_s({"Retry-After": stamp(seconds=20)}) == pytest.approx(20, abs=1.5)


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_that_can_be_no_name_is_refused(host: str, token: str | None) -> None:
    """Python cannot even ask for it."""
    with pytest.raises(SourceError, match="the host can be no name") as caught:
        run(WhepConnection(f"whep+http://{host}/x?key=hidden", ice=ICE, token=token).run(Feeds()))
    assert "hidden" not in str(caught.value)


def test_a_token_that_cannot_be_sent_is_refused(clip: Clip) -> None:
    """A line break in it would begin another header; it is not shown."""

    async def main() -> None:
        async with whep_server(clip) as server:
            with pytest.raises(SourceError, match=r"the token has a line break .* set source.token") as caught:
                await player(server, token=f"{TOKEN}\r\nX: y").run(Feeds())
            assert not server.requests
        assert TOKEN not in str(caught.value)
        assert "\n" not in str(caught.value)

    run(main())


def test_a_date_beyond_all_dates_is_none() -> None:
    """Its offset does not fit a C integer, which is an OverflowError of the parser's."""
    assert retry_after_s({"Retry-After": "Mon, 01 Jan 2020 00:00:00 +99999999999999"}) == 0


def test_the_scheme_may_be_in_upper_case(clip: Clip) -> None:
    """It is the same address."""

    async def main() -> None:
        async with whep_server(clip) as server:
            url = server.url.replace("http://", "WHEP+HTTP://")
            async with playing(WhepConnection(f"{url}/whep", ice=ICE, token=None)):
                pass
            assert server.methods == ["POST", "DELETE"]

    run(main())
