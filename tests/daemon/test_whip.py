"""The WHIP endpoint, mounted as the daemon mounts it, with aiortc publishers."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiortc import AudioStreamTrack
from prometheus_client import CollectorRegistry
from replay import LOOPBACK, Clip, Publisher, flat, run, until

from daemon.errors import LostError
from daemon.http import make_app
from daemon.sources import whip
from daemon.sources.live import Feeds
from daemon.sources.webrtc import IceSettings
from daemon.sources.whip import WhipConnection, WhipEndpoint

ICE = IceSettings(addresses=LOOPBACK)
TOKEN = "s3cret"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two seconds of VP8."""
    return flat([40, 80, 120, 160, 200] * 10)


@dataclass(frozen=True)
class Said:
    """An answer of the endpoint."""

    status: int
    headers: Any
    text: str


@dataclass(eq=False)
class Daemon:
    """The endpoint with its sessions, and somebody who asks it."""

    endpoint: WhipEndpoint
    http: aiohttp.ClientSession
    connections: dict[str, WhipConnection] = field(default_factory=dict)
    feeds: dict[str, Feeds] = field(default_factory=dict)
    runs: dict[str, asyncio.Task[str]] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Said:
        """One request; underscores in names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, path, data=body, headers=named) as response:
            return Said(response.status, response.headers, await response.text())

    async def push(self, publisher: Publisher, session: str = "one", **headers: str) -> str:
        """Publishes; returns the resource."""
        said = await self.ask("POST", f"/whip/{session}", await publisher.offer(), **SDP, **headers)
        assert said.status == 201, said.text
        await publisher.accept(said.text)
        return str(said.headers["Location"])


@asynccontextmanager
async def daemon(
    *sessions: str,
    token: str | None = None,
    limit: int = 8,
    stall_s: float = 5,
    ice: IceSettings = ICE,
    origins: Sequence[str] = (),
) -> AsyncIterator[Daemon]:
    """Serves on a free port, each session running."""
    endpoint = WhipEndpoint(token=token, limit=limit, ice=ice, origins=origins)
    app = make_app(CollectorRegistry(), list, routes=endpoint.routes(), token=token)
    runner = web.AppRunner(app, access_log=None, lingering_time=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        serving = Daemon(endpoint, await stack.enter_async_context(aiohttp.ClientSession(base)))
        for session in sessions:
            connection, feeds = WhipConnection(ice=ice, stall_s=stall_s), Feeds()
            serving.connections[session], serving.feeds[session] = connection, feeds
            endpoint.register(session, connection)
            serving.runs[session] = asyncio.create_task(connection.run(feeds))
        await asyncio.sleep(0)
        yield serving
        for task in serving.runs.values():
            task.cancel()
        await asyncio.wait(serving.runs.values()) if serving.runs else None


def test_a_publisher_is_shown_and_leaves_and_another_comes(clip: Clip) -> None:
    """The session waits before, between and after."""

    async def main() -> None:
        async with daemon("one") as serving:
            feeds = serving.feeds["one"]
            assert (feeds.is_connected, feeds.open_feeds) == (True, ())
            for _ in range(2):
                async with Publisher(clip) as publisher:
                    resource = await serving.push(publisher)
                    n = feeds.n_pictures
                    await until(lambda n=n: feeds.n_pictures > n + 5)
                    assert feeds.open_feeds == ("gallery",)
                    assert (await serving.ask("DELETE", resource)).status == 200
                    await until(lambda: feeds.open_feeds == ())
                    assert (await serving.ask("DELETE", resource)).status == 404
            assert not serving.runs["one"].done()

    run(main())


def test_a_publisher_that_hangs_up_without_delete_has_gone_too(clip: Clip) -> None:
    """DTLS says so."""

    async def main() -> None:
        async with daemon("one") as serving:
            async with Publisher(clip) as publisher:
                await serving.push(publisher)
                await until(lambda: serving.feeds["one"].n_pictures > 5)
            await until(lambda: serving.feeds["one"].open_feeds == ())
            assert not serving.runs["one"].done()

    run(main())


def test_a_publisher_that_is_killed_is_lost_and_another_may_push(clip: Clip) -> None:
    """The loss is told; who runs the connection again takes the next, even if it has pushed already."""

    async def main() -> None:
        async with daemon("one", stall_s=0.5) as serving:
            async with Publisher(clip) as publisher:
                await serving.push(publisher)
                await until(lambda: serving.feeds["one"].n_pictures > 5)
                publisher.kill()
                with pytest.raises(LostError, match="the publisher was lost: no picture came"):
                    await serving.runs["one"]
            feeds = Feeds()
            async with Publisher(clip) as publisher:
                pushing = asyncio.create_task(serving.push(publisher))
                await asyncio.sleep(0.3)
                serving.runs["one"] = asyncio.create_task(serving.connections["one"].run(feeds))
                await pushing
                await until(lambda: feeds.n_pictures > 5)

    run(main())


def test_the_answer_says_where_the_publication_is(clip: Clip) -> None:
    """Location, ETag, Accept-Patch, and the servers that help to reach us."""
    ice = IceSettings(LOOPBACK, "stun:127.0.0.1:9", "turn:127.0.0.1:9", 'u"ser', "p\\w")

    async def main() -> None:
        async with Publisher(clip) as publisher:
            endpoint = WhipEndpoint(token=None, limit=1, ice=ice)
            async with daemon("one") as serving:
                serving.endpoint._links = endpoint._links
                said = await serving.ask("POST", "/whip/one", await publisher.offer(), **SDP)
            assert said.status == 201
            assert said.headers["Content-Type"].startswith("application/sdp")
            assert re.fullmatch(r"/whip/one/[A-Za-z0-9_-]{22}", said.headers["Location"])
            assert re.fullmatch(r'"[0-9a-f]{16}"', said.headers["ETag"])
            assert said.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
            assert said.headers.getall("Link") == [
                '<stun:127.0.0.1:9>; rel="ice-server"',
                '<turn:127.0.0.1:9>; rel="ice-server"; username="u\\"ser"; credential="p\\\\w"; credential-type="password"',
            ]
            assert "a=recvonly" in said.text

    run(main())


def test_browsers_may_ask_what_is_allowed() -> None:
    """OPTIONS needs no token; to pages of allowed origins every answer carries the CORS headers, also errors."""

    async def main() -> None:
        async with daemon("one", token=TOKEN, origins=["https://x"]) as serving:
            said = await serving.ask("OPTIONS", "/whip/one", Origin="https://x", Access_Control_Request_Method="POST")
            assert said.status == 200
            assert said.headers["Accept-Post"] == "application/sdp"
            assert said.headers["Access-Control-Allow-Origin"] == "https://x"
            assert {"POST", "PATCH", "DELETE"} <= set(said.headers["Access-Control-Allow-Methods"].split(", "))
            allowed = set(said.headers["Access-Control-Allow-Headers"].split(", "))
            assert {"Authorization", "Content-Type", "If-Match"} <= allowed
            assert (await serving.ask("OPTIONS", "/whip/one/x")).headers["Accept-Patch"] == FRAGMENT["Content-Type"]
            refused = await serving.ask("POST", "/whip/one", "v=0", Origin="https://x", **SDP)
            assert refused.headers["Access-Control-Allow-Origin"] == "https://x"
            exposed = set(refused.headers["Access-Control-Expose-Headers"].split(", "))
            assert {"Location", "ETag", "Link"} <= exposed
            for origin in ("https://y", "null", "https://x.evil"):
                said = await serving.ask("OPTIONS", "/whip/one", Origin=origin)
                assert not any(name.startswith("Access-Control") for name in said.headers)

    run(main())


def test_pages_of_others_may_not_push_unless_that_is_set() -> None:
    """Without `http.origins` no answer has a CORS header."""

    async def main() -> None:
        async with daemon("one") as serving:
            for method in ("OPTIONS", "GET", "POST"):
                said = await serving.ask(method, "/whip/one", Origin="https://x")
                assert not any(name.startswith("Access-Control") for name in said.headers)

    run(main())


@pytest.mark.parametrize("path", ["/whip/one", "/whip/one/x"])
def test_other_methods(path: str) -> None:
    """GET has nothing to show, which is no error; the rest is not allowed, and what is allowed is said."""

    async def main() -> None:
        async with daemon("one") as serving:
            for method in ("GET", "HEAD"):
                assert (await serving.ask(method, path)).status == 204
            said = await serving.ask("PUT", path, "x")
            assert said.status == 405
            assert "OPTIONS" in said.headers["Allow"]
            assert said.headers["Content-Type"].startswith("application/json")
            other = "POST" if path.endswith("/x") else "DELETE"
            assert (await serving.ask(other, path)).status == 405

    run(main())


def test_without_the_token_nothing_is_done(clip: Clip) -> None:
    """Not pushed, not changed, not ended; the right one works."""

    async def main() -> None:
        async with daemon("one", token=TOKEN) as serving, Publisher(clip) as publisher:
            offer = await publisher.offer()
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                said = await serving.ask("POST", "/whip/one", offer, **SDP, **headers)
                assert (said.status, said.headers["WWW-Authenticate"]) == (401, "Bearer")
            resource = await serving.push(publisher, **BEARER)
            for method in ("PATCH", "DELETE"):
                assert (await serving.ask(method, resource)).status == 401
            await until(lambda: serving.feeds["one"].n_pictures > 5)
            assert (await serving.ask("DELETE", resource, **BEARER)).status == 200

    run(main())


def broken(clip: Clip, was: str, now: str) -> str:
    """What a publisher offers, with something changed."""

    async def offered() -> str:
        async with Publisher(clip) as publisher:
            return await publisher.offer()

    return run(offered()).replace(was, now)


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "message"),
    [
        ("/whip/two", "v=0", "application/sdp", 404, "no session waits"),
        ("/whip/one", "v=0", "application/json", 415, "send the offer as application/sdp"),
        ("/whip/one", "hello", "application/sdp", 400, "SDP cannot be read"),
        ("/whip/one", "v=0\r\nm=\xff", "application/sdp", 400, "SDP"),
        ("/whip/one", "v" * 70_000, "application/sdp", 413, "at most 65536 bytes"),
    ],
)
def test_what_is_no_offer_is_refused(path: str, body: str, content_type: str, status: int, message: str) -> None:
    """With a line of JSON that says why; the session goes on waiting."""

    async def main() -> None:
        async with daemon("one") as serving:
            said = await serving.ask("POST", path, body.encode("latin-1"), Content_Type=content_type)
            assert (said.status, said.headers["Content-Type"]) == (status, "application/json; charset=utf-8")
            assert message in said.text
            assert not serving.runs["one"].done()

    run(main())


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("VP8/90000", "AV1/90000", "comes as AV1, and attuned reads VP8 and H.264"),
        ("m=video", "m=audio", "no video track"),
        ("a=sendonly", "a=recvonly", "no video track"),
        ("a=ice-ufrag", "a=x-ufrag", "has no ice-ufrag; check that it is a WebRTC offer"),
    ],
)
def test_an_offer_that_cannot_be_read_is_refused(clip: Clip, was: str, now: str, message: str) -> None:
    """And the next one, that can, is taken."""
    offer = broken(clip, was, now)

    async def main() -> None:
        async with daemon("one") as serving, Publisher(clip) as publisher:
            said = await serving.ask("POST", "/whip/one", offer, **SDP)
            assert (said.status, message in said.text) == (400, True), said.text
            await serving.push(publisher)
            await until(lambda: serving.feeds["one"].n_pictures > 5)

    run(main())


def test_one_publisher_at_a_time(clip: Clip) -> None:
    """The second is told when to come again; over all sessions there is a limit."""

    async def main() -> None:
        async with daemon("one", "two", limit=1) as serving, Publisher(clip) as first, Publisher(clip) as second:
            await serving.push(first)
            offer = await second.offer()
            for session, status in (("one", 409), ("two", 503)):
                said = await serving.ask("POST", f"/whip/{session}", offer, **SDP)
                assert (said.status, said.headers["Retry-After"]) == (status, "5")

    run(main())


def test_candidates_trickle_in(clip: Clip) -> None:
    """The offer names none; they follow by PATCH, with the ETag of the publication."""

    async def main() -> None:
        async with daemon("one") as serving, Publisher(clip) as publisher:
            lines = (await publisher.offer()).splitlines()
            candidates = [line for line in lines if line.startswith("a=candidate")]
            ice = [line for line in lines if line.startswith(("a=ice-ufrag", "a=ice-pwd"))]
            bare = [line for line in lines if not line.startswith(("a=candidate", "a=end-of"))]
            said = await serving.ask("POST", "/whip/one", "\r\n".join(bare) + "\r\n", **SDP)
            hidden = [line for line in said.text.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
            await publisher.accept("\r\n".join(hidden) + "\r\n")
            resource, etag = said.headers["Location"], said.headers["ETag"]
            fragment = "\r\n".join(["a=group:BUNDLE 0", "m=video 9 UDP/TLS/RTP/SAVPF 97", "a=mid:0", *ice, *candidates])

            async def patch(body: str = fragment, **headers: str) -> int:
                return (await serving.ask("PATCH", resource, body, **{**FRAGMENT, **headers})).status

            assert await patch() == 428
            assert await patch(If_Match='"other"') == 412
            assert await patch(If_Match=etag, **{"Content-Type": "application/sdp"}) == 415
            assert await patch("hello", If_Match=etag) == 400
            assert await patch("a=ice-ufrag:new1\r\na=ice-pwd:abcdefghijklmnopqrstuvwx", If_Match="*") == 422
            assert (await serving.ask("PATCH", "/whip/one/none", fragment, **FRAGMENT, If_Match=etag)).status == 404
            assert serving.feeds["one"].n_pictures == 0
            assert await patch(If_Match=etag) == 204
            await until(lambda: serving.feeds["one"].n_pictures > 5)
            assert await patch("a=end-of-candidates", If_Match=f'"x", {etag}') == 204

    run(main())


def test_a_session_that_ends_turns_its_publisher_away(clip: Clip) -> None:
    """Whoever waits for an answer gets one; whoever comes later finds nobody."""

    async def main() -> None:
        async with daemon("one") as serving, Publisher(clip) as publisher:
            serving.runs["one"].cancel()
            await asyncio.wait({serving.runs["one"]})
            pushing = asyncio.create_task(serving.ask("POST", "/whip/one", await publisher.offer(), **SDP))
            await asyncio.sleep(0.2)
            serving.endpoint.unregister("one")
            said = await pushing
            assert (said.status, "the session has ended" in said.text) == (503, True)
            assert (await serving.ask("POST", "/whip/one", "v=0", **SDP)).status == 404
            serving.endpoint.unregister("one")

    run(main())


def test_a_session_that_does_not_take_an_offer_is_busy(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while it is waited for; the offer is then forgotten."""
    monkeypatch.setattr(whip, "ANSWER_S", 0.2)

    async def main() -> None:
        async with daemon("one") as serving, Publisher(clip) as publisher:
            serving.runs["one"].cancel()
            await asyncio.wait({serving.runs["one"]})
            said = await serving.ask("POST", "/whip/one", await publisher.offer(), **SDP)
            assert (said.status, "does not take the offer" in said.text) == (503, True)
            feeds = Feeds()
            serving.runs["one"] = asyncio.create_task(serving.connections["one"].run(feeds))
            await serving.push(publisher)
            await until(lambda: feeds.n_pictures > 5)

    run(main())


def test_addresses_that_are_not_there_are_the_daemons_fault(clip: Clip) -> None:
    """The publisher is told so, and may try again."""

    async def main() -> None:
        async with daemon("one", ice=IceSettings(("192.0.2.1",))) as serving, Publisher(clip) as publisher:
            said = await serving.ask("POST", "/whip/one", await publisher.offer(), **SDP)
            assert (said.status, "webrtc.addresses" in said.text) == (503, True)

    run(main())


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow senders hold nothing up."""
    monkeypatch.setattr(whip, "BODY_S", 0.2)

    async def main() -> None:
        answered = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"v=0"
            await answered.wait()

        async with (
            daemon("one") as serving,
            serving.http.post("/whip/one", data=slowly(), headers=SDP) as response,
        ):
            assert response.status == 408
            answered.set()

    run(main())


# What encoders offer, as far as it matters here. H.264 profiles: see test_sdp.
ENCODERS: dict[str, Sequence[str]] = {
    "OBS": ("H264", "baseline"),
    "hardware": ("H264", "high"),
    "GStreamer": ("VP8", ""),
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_sound_and_picture_in_one_bundle(encoder: str) -> None:
    """As encoders push them: sound first, and the transport's attributes with it alone or for the whole session."""
    codec, profile = ENCODERS[encoder]
    clip = flat([40, 80, 120, 160, 200] * 10, codec=codec, profile=profile)

    async def main() -> None:
        async with daemon("one") as serving, Publisher() as publisher:
            publisher.connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
            publisher.add(clip)
            offer = await publisher.offer()
            if encoder == "OBS":
                # libdatachannel says for the session what all m-lines share.
                shared = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
                lines = [line for line in offer.split("\r\n") if line]
                common = list(dict.fromkeys(line for line in lines if line.startswith(shared)))
                rest = [line for line in lines if not line.startswith(shared)]
                at = next(i for i, line in enumerate(rest) if line.startswith("m="))
                offer = "\r\n".join([*rest[:at], *common, *rest[at:]]) + "\r\n"
            if encoder == "hardware":
                offer = offer.replace("profile-level-id=42001f", "profile-level-id=640032").replace("42e01f", "640032")
            said = await serving.ask("POST", "/whip/one", offer, **SDP)
            assert said.status == 201, said.text
            answer = said.text
            if encoder == "hardware":
                assert "profile-level-id=640032" in answer
                answer = answer.replace("640032", "42001f", 1).replace("640032", "42e01f")
            await publisher.accept(answer)
            await until(lambda: serving.feeds["one"].n_pictures > 5)
            assert serving.feeds["one"].open_feeds == ("gallery",)

    run(main())
