"""The Janus client against a scripted server; rooms of a real one are in tests/integration/test_janus.py."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from videos import run

from daemon.errors import LostError, SourceError
from daemon.secret import RoomPseudonyms
from daemon.sources import janus_api
from daemon.sources.janus import JanusConnection
from daemon.sources.janus_api import JanusSession, plugin_data
from daemon.sources.janus_room import Address, Camera, camera_of, is_person
from daemon.sources.live import Feeds
from daemon.sources.webrtc import IceSettings

ICE = IceSettings(addresses=("127.0.0.1",))
JOINED = {"videoroom": "joined", "id": 7, "private_id": 9, "publishers": []}
Answer = Callable[[dict[str, Any]], dict[str, Any]]
WORDS = st.sampled_from(
    ["streams", "type", "mid", "codec", "disabled", "description", "video_codec", "plugindata", "data"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=4),
    max_leaves=12,
)


class Scripted:
    """Answers requests as it is told, and gives out events by poll."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self.events: asyncio.Queue[object] = asyncio.Queue()
        self.url = ""
        self._answer = answer

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A request; what the plugin says comes by an event, as in Janus."""
        message = await request.json()
        self.asked.append(message | {"path": request.path})
        transaction = {"transaction": message["transaction"]}
        if message["janus"] == "message":
            said = self._answer(message["body"])
            if said:
                data = {"plugindata": {"data": said}}
                self.events.put_nowait([{"janus": "event", "sender": 2} | transaction | data])
            return web.json_response({"janus": "ack"} | transaction)
        said = self._answer({"request": message["janus"]})
        return web.json_response({"janus": "success", "data": {"id": 2}} | transaction | said)

    async def poll(self, request: web.Request) -> web.StreamResponse:
        """The next events, or a keep-alive."""
        try:
            async with asyncio.timeout(5):
                return web.json_response(await self.events.get())
        except TimeoutError:
            return web.json_response([{"janus": "keepalive"}])


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[Scripted]:
    """A server on loopback."""
    server = Scripted(answer)
    app = web.Application()
    app.router.add_post("/{tail:.*}", server.post)
    app.router.add_get("/{tail:.*}", server.poll)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/janus"
        yield server
    finally:
        await runner.cleanup()


def room(answer: dict[str, Any] | None = None) -> Answer:
    """Lets everybody in."""
    said = {"join": answer or JOINED, "list": {"videoroom": "success", "list": []}}
    return lambda asked: said.get(asked["request"], {})


def connection(server: Scripted, query: str = "?room=1234", **settings: Any) -> JanusConnection:  # noqa: ANN401
    """A bot for its room."""
    return JanusConnection(f"janus+{server.url}{query}", ice=ICE, pseudonym=RoomPseudonyms(b"k", "r", {}), **settings)


def fails(answer: Answer, events: object = None, query: str = "?room=1234", **settings: Any) -> Exception:  # noqa: ANN401
    """How the bot's stay ends."""

    async def main() -> Exception:
        async with scripted(answer) as server:
            if events is not None:
                server.events.put_nowait(events)
            with pytest.raises((LostError, SourceError)) as caught:
                async with asyncio.timeout(8):
                    await connection(server, query, **settings).run(Feeds())
            return caught.value

    return run(main())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("janus+http://h:8088/janus?room=1234", Address("http://h:8088/janus", "1234", None, None, None, None)),
        ("janus+https://h?room=a%20b&pin=1", Address("https://h/janus", "a b", "1", None, None, None)),
        ("janus+ws://h:8188/?room=1&token=t&apisecret=s", Address("ws://h:8188", "1", None, "t", "s", None)),
    ],
)
def test_an_address_names_server_and_room(url: str, address: Address) -> None:
    """The path is /janus where none is given; secrets leave the part that is shown."""
    assert Address.parse(url) == address


def test_an_address_without_a_room_is_refused() -> None:
    """And what stands before the host is not shown."""
    with pytest.raises(SourceError, match=r"^janus\+http://h/janus: names no room; add \?room=1234$"):
        Address.parse("janus+http://me:hush@h/janus?pin=1")
    assert Address.parse("janus+http://me:hu%40sh@h?room=1").login == "Basic bWU6aHVAc2g="


VIDEO = {"type": "video", "mid": "1", "codec": "VP8"}
CAMERA = Camera("1", "vp8", is_simulcast=False)


@pytest.mark.parametrize(
    ("publisher", "camera", "person"),
    [
        ({"streams": [{"type": "audio", "mid": "0"}, VIDEO]}, CAMERA, True),
        ({"streams": [VIDEO, {"type": "video", "mid": "2", "codec": "vp8"}]}, CAMERA, True),
        ({"streams": [{"type": "video", "mid": "0", "description": "Screen 1"}, VIDEO]}, CAMERA, True),
        ({"streams": [VIDEO | {"simulcast": True}]}, Camera("1", "vp8", is_simulcast=True), True),
        ({"streams": [VIDEO | {"disabled": True}]}, None, True),
        ({"streams": [VIDEO | {"description": "my screen"}]}, None, False),
        ({"streams": [VIDEO | {"description": "my screen"}, {"type": "audio"}]}, None, True),
        ({"streams": []}, None, True),
        ({"streams": [VIDEO], "dummy": True}, CAMERA, False),
        ({"video_codec": "h264", "audio_codec": "opus"}, Camera(None, "h264", is_simulcast=False), True),
        ({"audio_codec": "opus"}, None, True),
    ],
)
def test_the_first_video_that_is_no_screen_is_the_camera(
    publisher: dict[str, Any],
    camera: Camera | None,
    person: bool,  # noqa: FBT001
) -> None:
    """As the VideoRoom of Janus 1.x and 0.x describes publishers."""
    assert camera_of(publisher) == camera
    assert is_person(publisher) is person


@given(st.dictionaries(WORDS, JSON, max_size=4))
def test_whatever_a_server_says_is_read(message: dict[str, Any]) -> None:
    """JSON of any shape is no error of ours."""
    camera_of(message)
    is_person(message)
    assert isinstance(plugin_data(message), dict)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"error_code": 426, "error": "No such room (1234)"}, "there is no room 1234"),
        ({"error_code": 433, "error": "Unauthorized (wrong pin)"}, "wrong pin; set source.pin"),
        ({"error_code": 433, "error": "Unauthorized (not in the allowed list)"}, "wrong token; set source.token"),
        ({"error_code": 499, "error": "over\nfull"}, "room 1234 does not let us in: over full"),
        (
            JOINED | {"publishers": [{"id": 1, "streams": [VIDEO | {"codec": "av1"}]}]},
            "the room's video is AV1, and attuned reads VP8",
        ),
    ],
)
def test_who_is_not_let_in_is_told_what_to_set(said: dict[str, Any], problem: str) -> None:
    """One line, without what is secret."""
    error = fails(room(said), query="?room=1234&pin=hush&token=hush")
    assert problem in str(error)
    assert "hush" not in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, LostError) == (said.get("error_code") == 426)


@pytest.mark.parametrize(
    ("asked", "code", "problem"),
    [
        ("create", 403, "asks for a token or another one; set source.token"),
        ("create", 499, "this is no Janus server's API"),
        ("attach", 460, "the server has no VideoRoom"),
        ("attach", 405, "the token is not for VideoRoom"),
        ("attach", 499, "the server refuses: so it is"),
    ],
)
def test_a_server_that_refuses_is_the_end(asked: str, code: int, problem: str) -> None:
    """Each refusal says what to do."""
    refused = {"janus": "error", "error": {"code": code, "reason": "so it is"}}
    error = fails(lambda message: refused if message["request"] == asked else {})
    assert isinstance(error, SourceError)
    assert problem in str(error)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([{"janus": "timeout"}], "the server has forgotten the session"),
        (
            {"janus": "error", "error": {"code": 458, "reason": "No such session"}},
            "the server has forgotten the session",
        ),
        ("text", "not an object"),
    ],
)
def test_a_session_that_is_gone_is_lost(events: object, problem: str) -> None:
    """One tries again."""
    error = fails(room(), events)
    assert isinstance(error, LostError)
    assert problem in str(error)


def test_events_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many wait the room is entered anew."""
    monkeypatch.setattr(janus_api, "N_EVENTS", 2)
    error = fails(lambda _: {}, [{"janus": "event", "sender": 5}] * 3)
    assert isinstance(error, LostError)
    assert "this machine is too slow" in str(error)


def test_a_server_that_does_not_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(janus_api, "ANSWER_S", 0.2)
    error = fails(lambda _: {})
    assert isinstance(error, LostError)
    assert "does not answer" in str(error)


def test_what_is_no_janus_says_so() -> None:
    """A page of something else, and a port that nobody listens on."""

    async def main() -> None:
        async def page(_: web.Request) -> web.Response:
            return web.Response(text="<html>" + "x" * 10)

        app = web.Application()
        app.router.add_post("/janus", page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(SourceError, match="no Janus server's API; the path is usually /janus"):
            await JanusSession(f"{url}/janus").__aenter__()
        with pytest.raises(SourceError, match="no Janus WebSocket answers here"):
            await JanusSession(f"ws{url.removeprefix('http')}/janus").__aenter__()
        with pytest.raises(LostError, match="TLS could not be agreed on"):
            await JanusSession(f"https{url.removeprefix('http')}/janus").__aenter__()
        await runner.cleanup()
        for scheme in ("http", "ws"):
            with pytest.raises(
                LostError, match=r"cannot be reached \(Connection refused\); check that the server runs"
            ):
                await JanusSession(f"{scheme}{url.removeprefix('http')}/janus").__aenter__()

    run(main())


def test_a_session_is_kept_alive_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the stay is cancelled; nothing is left."""
    monkeypatch.setattr(janus_api, "KEEP_ALIVE_S", 0.05)

    async def main() -> list[str]:
        async with scripted(room()) as server:
            feeds = Feeds()
            task = asyncio.create_task(connection(server).run(feeds))
            while not task.done() and (
                not feeds.is_connected or [m["janus"] for m in server.asked].count("keepalive") < 2
            ):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            return [message["janus"] for message in server.asked]

    asked = run(main())
    assert asked[:3] == ["create", "attach", "message"]
    assert asked[-1] == "destroy"


def test_a_room_of_an_older_server_is_subscribed_its_way() -> None:
    """Janus 0.x has one video per publisher and names no m-lines; simulcast is asked for by its place in 1.x."""
    old = {"id": 5, "display": "ann", "video_codec": "vp8"}
    new = {"id": 6, "streams": [VIDEO | {"simulcast": True}]}

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("ptype") == "publisher":
            return JOINED | {"publishers": [old, new, {"id": 8, "streams": [VIDEO | {"codec": "vp9"}]}]}
        return {"error_code": 428, "error": "No such feed"} if asked["request"] == "join" else {}

    async def main() -> list[dict[str, Any]]:
        async with scripted(answer) as server:
            feeds, bot = Feeds(), connection(server, substream=0, pin="1")
            task = asyncio.create_task(bot.run(feeds))
            while [m["janus"] for m in server.asked].count("detach") < 2:
                await asyncio.sleep(0.01)
            assert len(feeds.open_feeds) == 3
            assert bot.n_unreadable == 1
            left = [{"janus": "event", "sender": 2, "plugindata": {"data": {"videoroom": "event", "leaving": 5}}}]
            server.events.put_nowait(left)
            while len(feeds.open_feeds) == 3:
                await asyncio.sleep(0.01)
            server.events.put_nowait([{"janus": "detached", "sender": 2}])
            assert await task == "removed from the room"
            bodies = [json.loads(json.dumps(m["body"])) for m in server.asked if m["janus"] == "message"]
            return [body for body in bodies if body.get("ptype") == "subscriber"]

    common = {"request": "join", "ptype": "subscriber", "room": 1234, "autoupdate": False, "private_id": 9, "pin": "1"}
    assert run(main()) == [
        common | {"feed": 5, "offer_audio": False, "offer_data": False},
        common | {"streams": [{"feed": 6, "mid": "1", "substream": 0}]},
    ]


def test_rooms_named_by_strings_are_tried() -> None:
    """A server whose rooms have names refuses a number."""

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if isinstance(asked.get("room"), int):
            return {"error_code": 430, "error": "Invalid element type (room should be a string)"}
        return {"videoroom": "destroyed"} if asked["request"] == "list" else JOINED

    async def main() -> str:
        async with scripted(answer) as server:
            task = asyncio.create_task(connection(server).run(Feeds()))
            while not any(m.get("body", {}).get("request") == "list" for m in server.asked):
                await asyncio.sleep(0.01)
            closed = {"plugindata": {"data": {"videoroom": "destroyed"}}}
            server.events.put_nowait([{"janus": "event", "sender": 2} | closed])
            return await task

    assert run(main()) == "the room was closed"


@pytest.mark.parametrize("last", ['{"janus": "timeout"}', "[]", None])
def test_over_websockets_all_comes_by_one_connection(monkeypatch: pytest.MonkeyPatch, last: str | None) -> None:
    """Requests, keep-alives and events; a server that closes it, or talks nonsense, is lost."""
    monkeypatch.setattr(janus_api, "KEEP_ALIVE_S", 0.02)
    asked: list[str] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("janus-protocol",))
        await socket.prepare(request)
        async for message in socket:
            said = json.loads(message.data)
            asked.append(said["janus"])
            answer = {"transaction": said["transaction"], "sender": 2}
            if said["janus"] in {"keepalive", "message"}:
                await socket.send_json(answer | {"janus": "ack"})
            if said["janus"] == "message":
                data = JOINED if said["body"]["request"] == "join" else {"videoroom": "success", "list": []}
                await socket.send_json(answer | {"janus": "event", "plugindata": {"data": data}})
            elif said["janus"] in {"create", "attach"}:
                await socket.send_json(answer | {"janus": "success", "data": {"id": 2}})
            if asked.count("keepalive") == 3:
                await (socket.send_str(last) if last else socket.close())
        return socket

    async def main() -> str:
        app = web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"janus+ws://127.0.0.1:{runner.addresses[0][1]}?room=1"
        bot = JanusConnection(url, ice=ICE, pseudonym=RoomPseudonyms(b"k", "r", {}))
        with pytest.raises(LostError) as caught:
            await bot.run(Feeds())
        await runner.cleanup()
        return str(caught.value)

    reason = run(main())
    assert reason.endswith(
        {None: "closed the connection", "[]": "broke off (not an object)"}.get(last, "forgotten the session")
    )
    assert asked[:4] == ["create", "attach", "message", "message"]


def test_the_scheme_may_be_in_upper_case() -> None:
    """It is the same address."""
    bot = JanusConnection("JANUS+HTTP://H/janus?room=A", ice=ICE, pseudonym=RoomPseudonyms(b"k", "r", {}))
    assert bot._address == Address("http://H/janus", "A", None, None, None, None)


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_that_can_be_no_name_is_refused(scheme: str, host: str) -> None:
    """Python cannot even ask for it; that says nothing of the API."""

    async def main() -> None:
        with pytest.raises(SourceError, match=r"the host can be no name, .* check the address$"):
            await JanusSession(f"{scheme}://{host}/janus").__aenter__()

    run(main())


@asynccontextmanager
async def behind_a_proxy(*answers: object) -> AsyncIterator[str]:
    """The API of a server that gives these answers, the last for ever; a number is a proxy's page instead."""
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, int):
            return web.Response(status=said, text="<html><h1>oh</h1></html>", content_type="text/html")
        return web.Response(text=json.dumps(said), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/janus"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_proxy_without_its_server_is_in_trouble(scheme: str, status: int) -> None:
    """While Janus starts again, nginx answers for it; that is tried again."""

    async def main() -> None:
        async with behind_a_proxy(status) as url:
            with pytest.raises(LostError, match=rf"the server is in trouble \({status}\)$"):
                await JanusSession(url.replace("http", scheme, 1)).__aenter__()

    run(main())


MADE = {"janus": "success", "data": {"id": 2}}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (502, r"the server is in trouble \(502\)"),
        (404, r"broke off \(not JSON\)"),
        ("text", r"broke off \(not an object\)"),
    ],
)
def test_nonsense_in_a_session_is_a_loss(answer: object, message: str) -> None:
    """It was a Janus server a moment ago; the goodbyes, which get the same answer, raise nothing."""

    async def main() -> None:
        async with behind_a_proxy(MADE, answer) as url, JanusSession(url) as session:
            with pytest.raises(LostError, match=message):
                await session.attach()
            with pytest.raises(LostError, match=message):
                await session.listen()
            await session.detach(2)

    run(main())


@pytest.mark.parametrize("data", [None, {}, {"id": "x"}, {"id": float("inf")}])
def test_a_server_that_names_no_id_is_told_so(data: object) -> None:
    """At first it is none of Janus's, later it is lost."""
    said = {"janus": "success", "data": data}

    async def main() -> None:
        async with behind_a_proxy(said) as url:
            with pytest.raises(SourceError, match="this is no Janus server's API"):
                await JanusSession(url).__aenter__()

    run(main())
    error = fails(lambda message: said if message["request"] == "attach" else {})
    assert isinstance(error, LostError)
    assert str(error).endswith("broke off (no id)")


def test_json_without_end_is_no_janus() -> None:
    """Python gives up reading what is nested too deep."""
    with pytest.raises(janus_api._NonsenseError, match="not JSON"):
        janus_api._read("[" * 100_000)
