"""The daemon and live sources: sessions by API, peers that are killed and come back, pictures that are pushed."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
import replay
import rtsp_server
from videos import run

pytestmark = pytest.mark.timeout(240)
ROOT = "/api/v1/sessions"


@pytest.fixture
def rtsp() -> Iterator[Callable[..., rtsp_server.RtspServer]]:
    """Makes RTSP servers."""
    with rtsp_server.rtsp_servers() as make:
        yield make


class Api:
    """The API of a daemon, from outside."""

    def __init__(self, port: str, token: str | None = None) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers | ({} if data is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(self.base + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def begin(self, url: str, name: str, **more: str) -> None:
        """A session of everybody who agreed beforehand."""
        body = {"url": url, "name": name, "purpose": "research", "consent": "declared", **more}
        status, answer = self.ask("POST", ROOT, body)
        assert status == 201, answer

    def until(self, name: str, states: set[str], *, within_s: float) -> tuple[float, dict[str, Any]]:
        """Seconds until a session is in one of these states, and what it says then."""
        began = time.monotonic()
        while True:
            _, shown = self.ask("GET", f"{ROOT}/{name}")
            if shown["state"] in states:
                return time.monotonic() - began, shown
            assert time.monotonic() - began < within_s, shown
            time.sleep(0.1)


@pytest.fixture
def daemon(start_attuned, environment) -> Callable[..., tuple[Api, Any]]:  # noqa: ANN001
    """Starts `attuned run` and returns its API and process, once it answers."""

    def start(token: str | None = None, **variables: str) -> tuple[Api, Any]:
        if token is not None:
            variables["ATTUNED_HTTP__TOKEN"] = token
        process = start_attuned("run", **variables)
        api = Api(environment["ATTUNED_HTTP__PORT"], token)
        began = time.monotonic()
        while True:
            try:
                status, _ = api.ask("GET", ROOT)
            except OSError:
                status = 0
            if status == 200:
                return api, process
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - began < 30
            time.sleep(0.1)

    return start


async def _hear(port: int, topic: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Messages of a topic, across losses of the broker, until there are enough."""
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", port, identifier="listener", clean_session=False) as client:
                    await client.subscribe(topic, qos=1)
                    async for message in client.messages:
                        heard.append(json.loads(message.payload))
                        if enough(heard):
                            return heard
            except aiomqtt.MqttError:
                await asyncio.sleep(0.2)


def hear(port: int, topic: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The same from a test."""
    return run(_hear(port, topic, enough))


def n_threads(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_peers_that_are_killed_come_back(daemon, rtsp, mosquitto, demo_call, tmp_path) -> None:  # noqa: ANN001
    """The RTSP server and the broker are killed in turn: live again within 10 s of their return, and nothing is lost."""
    broker = mosquitto("allow_anonymous true")
    server = rtsp({"call": rtsp_server.looped(tmp_path, demo_call.path)})
    api, process = daemon(**broker.variables())
    api.begin(server.url("call"), "call")
    api.until("call", {"live"}, within_s=20)
    emotion = "attuned/local/session/call/group/emotion"
    hear(broker.port, emotion, lambda heard: len(heard) >= 3)
    threads, memory = n_threads(process.pid), memory_mb(process.pid)
    for _ in range(2):
        server.stop()
        _, lost = api.until("call", {"reconnecting"}, within_s=15)
        assert "rtsp://127.0.0.1" in lost["reason"]
        time.sleep(3)
        server.start()
        took_s, _ = api.until("call", {"live"}, within_s=10)
        assert took_s <= 10
    broker.stop()
    time.sleep(3)
    assert api.ask("GET", f"{ROOT}/call")[1]["state"] == "live"
    broker.start()
    began = time.monotonic()
    hear(broker.port, emotion, lambda heard: len(heard) >= 2)
    assert time.monotonic() - began <= 10
    assert n_threads(process.pid) <= threads + 2
    assert memory_mb(process.pid) <= 1.1 * memory + 20
    assert api.ask("DELETE", f"{ROOT}/call")[1]["state"] == "ended"
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert log.count("source lost") == log.count("source recovered") == 2
    assert "Traceback" not in log


def test_a_session_tells_what_became_of_its_source(daemon, rtsp, mosquitto, demo_call, tmp_path) -> None:  # noqa: ANN001
    """Lost and recovered are events, in order and without a gap, and everybody is found again with their id."""
    broker = mosquitto("allow_anonymous true")
    server = rtsp({"call": rtsp_server.looped(tmp_path, demo_call.path)})
    api, _ = daemon(**broker.variables())

    async def main() -> list[dict[str, Any]]:
        topic = "attuned/local/session/call/event"
        listening = asyncio.create_task(_hear(broker.port, topic, lambda heard: heard[-1]["kind"] == "session_ended"))
        await asyncio.to_thread(api.begin, server.url("call"), "call")
        await asyncio.to_thread(api.until, "call", {"live"}, within_s=20)
        await asyncio.sleep(4)
        people = (await asyncio.to_thread(api.ask, "GET", f"{ROOT}/call/participants"))[1]["participants"]
        assert len(people) == 4
        server.stop()
        await asyncio.to_thread(api.until, "call", {"reconnecting"}, within_s=15)
        server.start()
        await asyncio.to_thread(api.until, "call", {"live"}, within_s=10)
        await asyncio.sleep(3)
        assert (await asyncio.to_thread(api.ask, "GET", f"{ROOT}/call/participants"))[1]["participants"] == people
        await asyncio.to_thread(api.ask, "DELETE", f"{ROOT}/call")
        return await listening

    heard = run(main())
    assert [event["seq"] for event in heard] == list(range(len(heard)))
    kinds = [event["kind"] for event in heard]
    assert kinds.count("participant_joined") == 4
    assert "participant_left" not in kinds
    story = [kind for kind in kinds if kind.startswith(("session", "source"))]
    assert story == ["session_started", "source_lost", "source_recovered", "session_ended"]


def test_consent_is_asked_for_on_live_calls(daemon, rtsp, mosquitto, demo_call, tmp_path) -> None:  # noqa: ANN001
    """Nobody is read at first; who agrees is read within a second, alone."""
    broker = mosquitto("allow_anonymous true")
    server = rtsp({"call": rtsp_server.looped(tmp_path, demo_call.path)})
    api, _ = daemon(**broker.variables())
    status, _ = api.ask("POST", ROOT, {"url": server.url("call"), "name": "call", "purpose": "research"})
    assert status == 201
    api.until("call", {"live"}, within_s=20)
    time.sleep(3)
    people = [person["id"] for person in api.ask("GET", f"{ROOT}/call/participants")[1]["participants"]]
    everybody = "attuned/local/session/call/participant/+/emotion"
    before = hear(broker.port, everybody, lambda heard: len(heard) >= 8)
    assert {reading["coverage"] for reading in before} == {0.0}
    assert api.ask("PUT", f"{ROOT}/call/participants/{people[1]}/consent", {"state": "granted"})[0] == 200
    time.sleep(1.5)
    after = hear(broker.port, everybody, lambda heard: len(heard) >= 8)
    assert {reading["participant"] for reading in after if reading["coverage"] > 0} == {people[1]}


def test_what_cannot_work_is_said_in_one_line(daemon, rtsp) -> None:  # noqa: ANN001
    """Wrong path, no video, nothing there, no such file: `failed`, each with one line that has no secret in it."""
    sound = "audiotestsrc is-live=true ! opusenc ! rtpopuspay name=pay0"
    server = rtsp({"sound": sound})
    api, _ = daemon(ATTUNED_SOURCE__GIVE_UP_S="2", ATTUNED_WEBRTC__ADDRESSES='["127.0.0.1"]')
    wrong = {
        "path": (server.url("nothing").replace("rtsp://", "rtsp://maud:hidden@"), "no such stream"),
        "sound": (server.url("sound"), "no video"),
        "nobody": ("rtsp://127.0.0.1:9/x", "cannot be reached"),
        "whep": ("whep+http://127.0.0.1:9/x", "cannot be reached"),
        "janus": ("janus+http://127.0.0.1:9/janus?room=1&pin=hidden", "127.0.0.1:9"),
        "file": ("nothing.mp4", "No such file"),
    }
    for name, (url, _) in wrong.items():
        api.begin(url, name)
    for name, (_, part) in wrong.items():
        _, shown = api.until(name, {"failed"}, within_s=30)
        assert part in shown["reason"], shown
        assert "\n" not in shown["reason"]
        assert "hidden" not in json.dumps(shown)


def test_pictures_are_pushed(daemon, mosquitto, demo_call, tmp_path) -> None:  # noqa: ANN001
    """An encoder pushes a call by WHIP: it is split and read; it goes, comes back, and a stranger is turned away."""
    broker = mosquitto("allow_anonymous true")
    clip = replay.read(demo_call.path)
    word = "s3cret"
    api, process = daemon(token=word, ATTUNED_WEBRTC__ADDRESSES='["127.0.0.1"]', **broker.variables())
    api.begin("whip://", "studio")
    api.until("studio", {"waiting"}, within_s=10)
    where = f"{api.base}/whip/studio"

    async def push(client: aiohttp.ClientSession, *, seconds: float) -> None:
        async with replay.Publisher(clip) as publisher:
            headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {word}"}
            async with client.post(where, data=await publisher.offer(), headers=headers) as answer:
                assert answer.status == 201, await answer.text()
                resource = f"{api.base}{answer.headers['Location']}"
                await publisher.accept(await answer.text())
            await asyncio.to_thread(api.until, "studio", {"live"}, within_s=15)
            await asyncio.sleep(seconds)
            async with client.delete(resource, headers={"Authorization": f"Bearer {word}"}) as answer:
                assert answer.status == 200
        # Who has gone has gone, and so have the people that were shown.
        await asyncio.to_thread(api.until, "studio", {"waiting"}, within_s=10)
        await asyncio.sleep(1.5)
        assert (await asyncio.to_thread(api.ask, "GET", f"{ROOT}/studio/participants"))[1]["participants"] == []

    async def main() -> list[dict[str, Any]]:
        topic = "attuned/local/session/studio/group/emotion"
        async with aiohttp.ClientSession() as client:
            async with client.post(where, data="v=0", headers={"Content-Type": "application/sdp"}) as refused:
                assert refused.status == 401
            listening = asyncio.create_task(_hear(broker.port, topic, lambda heard: len(heard) >= 5))
            await push(client, seconds=6)
            await push(client, seconds=1)
            return await listening

    heard = replay.run(main())
    assert {len(group["members"]) for group in heard[2:]} == {4}
    assert api.ask("DELETE", f"{ROOT}/studio")[1]["state"] == "ended"
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert word not in log
