"""The live page: what it is told, whom it tells, and what stands in its files."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import unused_port
from builders import fused, p
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from videos import run

from daemon.http import make_app, serve
from daemon.page import live
from daemon.page.files import FOLDER, PLOTLY_PATH
from daemon.page.live import QUEUE_MAX, RIBBON_S, SESSIONS_MAX, STREAM, Client, LivePage, outlines
from daemon.report.timeline import PALETTE
from daemon.session import SessionInfo
from pipeline.emotions import EMOTIONS, F32
from pipeline.types import CallSecond, Event, GroupReading
from pipeline.wire import EVENT_KINDS, Stamp, Versions

WORD = "s3cret"
MAUD, INES = "p-00000001", "p-00000002"
Scene = Callable[[ClientSession, LivePage], Awaitable[None]]


def info(session: str = "monday", minimum: int = 2) -> SessionInfo:
    """Who a session is."""
    return SessionInfo(Stamp(session, "b" * 16), "seed", "research", Versions("pixel-1", "landmark-1"), minimum)


def meshes(n: int = 1, seed: int = 0) -> F32:
    """Shapes that are no faces, which makes no difference here."""
    return np.random.default_rng(seed).normal(size=(n, 468, 3)).astype(np.float32)


def second(number: int, *events: Event) -> CallSecond:
    """Maud is happy, and Ines is not seen."""
    happy = p(happiness=0.8)
    group = GroupReading(number, (MAUD, INES), (MAUD,), {INES: "no_face"}, happy, ("happiness",), {MAUD: 0.0})
    return CallSecond(number, (fused(MAUD, number, happy), fused(INES, number, None)), group, events, ())


def act(scene: Scene, *, token: str | None = None, clients: int = 3, beat_s: float = 0.05) -> None:
    """Runs a scene against a server."""

    async def main() -> None:
        page = LivePage(clients=clients, beat_s=beat_s)
        app = make_app(CollectorRegistry(), list, routes=page.routes(), free=page.free, token=token)
        port = unused_port()
        # Our own server: the one for tests ends a handler whose caller left, which ours does not.
        async with serve(app, "127.0.0.1", port), ClientSession(f"http://127.0.0.1:{port}/") as client:
            try:
                await scene(client, page)
            finally:
                page.close()

    run(main())


async def hear(response: ClientResponse, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    async with asyncio.timeout(5):
        while True:
            name = (await response.content.readline()).decode().removeprefix("event: ").strip()
            data = (await response.content.readline()).decode().removeprefix("data: ")
            assert await response.content.readline() == b"\n"
            if name == kind:
                return dict(json.loads(data))


async def until(is_so: Callable[[], bool]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.01)


@given(st.floats(0.5, 500), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_an_outline_does_not_tell_where_and_how_large_a_face_is(scale: float, x: float, y: float) -> None:
    """Moved and scaled, the 136 integers are the same, up to one that rounding moves."""
    mesh = meshes()
    (before,) = outlines(mesh)
    (after,) = outlines((mesh * scale + np.array([x, y, 0.0])).astype(np.float32))
    assert len(before) == 136
    assert np.abs(np.subtract(before, after)).max() <= 1


def test_an_outline_is_in_hundredths_of_its_size() -> None:
    """The mean of the points is 0, and their root mean square distance from there is 100."""
    points = np.array(outlines(meshes(2))).reshape(2, 68, 2)
    assert np.abs(points.mean(axis=1)).max() < 0.5
    assert np.sqrt((points**2).sum(axis=2).mean(axis=1)) == pytest.approx([100, 100], abs=0.5)


def test_a_slow_page_loses_the_oldest_and_is_told_how_many() -> None:
    """Of messages the newest `QUEUE_MAX` stay, of a session's faces only the newest."""

    async def main() -> None:
        client = Client()
        for number in range(QUEUE_MAX + 3):
            client.put(b"%d " % number)
        for number in range(3):
            client.put_faces("monday", b"face%d " % number)
        client.put_faces("tuesday", b"other")
        data = await client.get()
        assert data is not None
        assert data.split()[0] == b"3"
        assert data.split()[-3:] == [b"%d" % (QUEUE_MAX + 2), b"face2", b"other"]
        assert client.n_dropped == 3 + 2
        client.close()
        assert await client.get() is None

    run(main())


def test_a_page_is_told_everything_so_far_and_then_what_comes() -> None:
    """The snapshot holds the state, the ribbon and the events; then come seconds, events and states, as they happen."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        await page.events(info(), [Event("session_started", 0.0, (), {"purpose": "research", "consent": "declared"})])
        await page.status(info(), "live", 0.0, None)
        await page.second(info(), second(0))
        stream = await client.get(STREAM)
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        assert stream.headers["Cache-Control"] == "no-store"
        (shown,) = (await hear(stream, "snapshot"))["sessions"]
        assert (shown["session"], shown["state"], shown["purpose"]) == ("monday", "live", "research")
        assert [event["kind"] for event in shown["events"]] == ["session_started"]
        assert shown["ribbon"][0]["probabilities"]["happiness"] == 0.8
        await page.second(info(), second(1, Event("participant_joined", 1.0, (INES,))))
        told = await hear(stream, "second")
        maud, ines = told["readings"]
        assert (told["at"], told["members"], told["excluded"]) == (1.0, [MAUD, INES], {INES: "no_face"})
        assert (maud["top"], maud["confidence"], maud["abstain"]) == ("happiness", 0.8, False)
        assert maud["weights"] == {"pixel": 0.5, "landmark": 0.5}
        assert maud["heads"] == {"pixel": "generic", "landmark": "generic"}
        assert ines["probabilities"] is None
        assert told["group"]["dominant"] == ["happiness"]
        joined = await hear(stream, "event")
        assert (joined["kind"], joined["participants"]) == ("participant_joined", [INES])
        await page.status(info(), "ended", 2.0, "over")
        assert (await hear(stream, "status"))["reason"] == "over"
        assert await hear(stream, "beat") == {"dropped": 0}
        stream.close()

    act(scene)


def test_a_group_that_is_too_small_is_not_shown() -> None:
    """Below the session's minimum there is no group, neither now nor on the ribbon."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        await page.second(info(minimum=3), second(0))
        stream = await client.get(STREAM)
        (shown,) = (await hear(stream, "snapshot"))["sessions"]
        assert (shown["second"]["group"], shown["ribbon"]) == (None, [])
        stream.close()

    act(scene)


def test_faces_are_shown_five_times_a_second_at_most() -> None:
    """Of 25 pictures a second every fifth is shown; of a session that nobody knows, none."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        await page.status(info(), "live", 0.0, None)
        stream = await client.get(STREAM)
        await hear(stream, "snapshot")
        page.watch("unknown", 0.0, [MAUD], meshes())
        times = []
        for frame in range(25):
            page.watch("monday", frame / 25, [MAUD, INES], meshes(2, seed=frame))
            if await _next_faces(stream, page):
                times.append(frame)
        assert times == [0, 5, 10, 15, 20]
        stream.close()

    act(scene, beat_s=5)


async def _next_faces(stream: ClientResponse, page: LivePage) -> bool:
    """Whether faces wait to be sent; they are sent then."""
    waits = any(client._faces for client in page._clients)
    if waits:
        assert list((await hear(stream, "faces"))["faces"]) == [MAUD, INES]
    return waits


def test_nothing_is_drawn_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a page the meshes are not even looked at."""

    def never(_: F32) -> list[list[int]]:
        pytest.fail("nobody looks")

    async def main() -> None:
        page = LivePage()
        await page.status(info(), "live", 0.0, None)
        page.watch("monday", 0.0, [MAUD], meshes())

    monkeypatch.setattr(live, "outlines", never)
    run(main())


def test_there_is_a_limit_of_pages_and_one_that_closes_makes_room() -> None:
    """The page too many gets 503 and a reason; the place of a page that went is free within a few beats."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        streams = [await client.get(STREAM) for _ in range(2)]
        refused = await client.get(STREAM)
        assert (refused.status, (await refused.json())["error"]) == (503, "2 pages are open; close one")
        streams[0].close()
        await until(lambda: page.n_clients == 1)
        again = await client.get(STREAM)
        assert again.status == 200
        again.close()
        streams[1].close()

    act(scene, clients=2)


def test_a_page_that_is_loaded_again_and_again_finds_its_place() -> None:
    """A page that left counts no longer, and nothing of it stays, even if nothing is written for a long time."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        handlers = len(asyncio.all_tasks())
        for _ in range(10):
            stream = await client.get(STREAM)
            assert stream.status == 200
            await hear(stream, "snapshot")
            stream.close()
            await until(lambda: page.n_clients == 0)
        # The server's own task of the last connection and the one of the connection before, at most.
        await until(lambda: len(asyncio.all_tasks()) <= handlers + 2)

    act(scene, clients=1, beat_s=60)


def test_when_attuned_stops_all_pages_are_let_go() -> None:
    """Streams end at once, and none begins any more."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        stream = await client.get(STREAM)
        await hear(stream, "snapshot")
        page.close()
        async with asyncio.timeout(2):
            await stream.read()
        assert page.n_clients == 0
        assert (await client.get(STREAM)).status == 503

    act(scene, beat_s=60)


def test_a_page_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the stream and never reads does not keep a place for ever."""
    monkeypatch.setattr(live, "WRITE_S", 0.2)

    async def scene(client: ClientSession, page: LivePage) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", client._base_url.port, limit=1024)
        writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await until(lambda: page.n_clients == 1)
        for _ in range(400):
            for one in page._clients:
                one.put(live.message("event", {"text": "x" * 100_000}))
            await asyncio.sleep(0.005)
            if page.n_clients == 0:
                break
        await until(lambda: page.n_clients == 0)
        writer.close()

    act(scene)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "elsewhere.example"}, 421),
    ],
)
def test_pages_of_others_do_not_get_the_stream(headers: dict[str, str], status: int) -> None:
    """Neither by asking across origins nor by giving their own name our address."""

    async def scene(client: ClientSession, _: LivePage) -> None:
        response = await client.get(STREAM, headers=headers)
        assert response.status == status
        response.close()

    act(scene)


def test_where_a_token_is_asked_for_only_the_files_are_free() -> None:
    """The page itself can be had, to ask for the token; the stream needs it, and no cookie is set."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        for path in page.free:
            async with client.get(path) as file:
                assert file.status == 200, path
                await file.read()
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await client.get(STREAM, headers=headers)).status == 401
        stream = await client.get(STREAM, headers={"Authorization": f"Bearer {WORD}"})
        assert (stream.status, "Set-Cookie" in stream.headers) == (200, False)
        stream.close()
        assert STREAM not in page.free

    act(scene, token=WORD)


def test_browsers_keep_files_and_run_nothing_else() -> None:
    """Own files are asked for again and answered with 304, plotly.js is kept for good; the policy allows only these."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        for path in sorted(page.free):
            file = await client.get(path)
            policy = file.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; script-src 'self'; style-src 'self'")
            assert ("unsafe" in policy, file.headers["X-Content-Type-Options"]) == (False, "nosniff")
            await file.read()
        page_file = await client.get("/")
        assert (page_file.content_type, page_file.headers["Cache-Control"]) == ("text/html", "no-cache")
        again = await client.get("/", headers={"If-None-Match": page_file.headers["ETag"]})
        assert (again.status, await again.read()) == (304, b"")
        plotly = await client.get(PLOTLY_PATH)
        assert plotly.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert plotly.content_type == "text/javascript"
        assert b"plotly.js" in (await plotly.read())[:200]
        assert PLOTLY_PATH in await page_file.text()

    act(scene)


def test_the_files_load_nothing_from_elsewhere_and_hold_no_inline_script() -> None:
    """What the policy forbids is not there: every address begins with /, every script has one."""
    for file in FOLDER.iterdir():
        text = file.read_text()
        others = [url for url in re.findall(r"https?://[^\s\"']+", text) if url != "http://www.w3.org/2000/svg"]
        assert others == [], file.name
    html = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script[^>]*>([^<]*)</script>", html) == [""]
    assert re.findall(r"\s(on\w+|style)=", html) == []


def test_the_page_has_the_colours_of_the_report_and_the_words_of_the_contract() -> None:
    """The seven classes come in the one order in the one set of colours, and every kind of event has a sentence."""
    colours = dict(re.findall(r"--(\w+): (#[0-9A-F]{6});", (FOLDER / "style.css").read_text()))
    assert {name: colours[name] for name in EMOTIONS} == dict(PALETTE)
    words = (FOLDER / "words.js").read_text()
    assert f"EMOTIONS = {json.dumps(list(EMOTIONS))}" in words
    told = words[words.index("const SAY") : words.index("export function sentence")]
    assert set(re.findall(r"^  (\w+):", told, re.MULTILINE)) == EVENT_KINDS


def test_what_is_kept_is_bounded() -> None:
    """Five minutes of a group, the newest sessions, and nothing of an earlier session of the same name."""

    async def scene(client: ClientSession, page: LivePage) -> None:
        for number in range(RIBBON_S + 10):
            await page.second(info("first"), second(number, Event("camera_on", float(number), (MAUD,))))
        stream = await client.get(STREAM)
        (first,) = (await hear(stream, "snapshot"))["sessions"]
        assert (len(first["ribbon"]), first["ribbon"][0]["at"], len(first["events"])) == (RIBBON_S, 10.0, 100)
        await page.events(info("first"), [Event("session_started", 0.0)])
        for number in range(SESSIONS_MAX):
            await page.status(info(f"s-{number}"), "live", 0.0, None)
        assert await hear(stream, "gone") == {"session": "first"}
        stream.close()
        late = await client.get(STREAM)
        kept = (await hear(late, "snapshot"))["sessions"]
        assert [shown["session"] for shown in kept] == [f"s-{number}" for number in range(SESSIONS_MAX)]
        late.close()

    act(scene)


def test_the_package_holds_the_files() -> None:
    """What is served lies beside the code, small enough to be read."""
    names = {file.name for file in FOLDER.iterdir()}
    assert {"index.html", "style.css", "app.js"} <= names
    assert sum(Path(file).stat().st_size for file in FOLDER.iterdir()) < 60_000
