"""Readings through a real mosquitto."""

import asyncio
import json
import signal
import sqlite3
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from videos import run

from daemon.broker import free_port
from daemon.sources.file import probe
from pipeline.emotions import EMOTIONS
from pipeline.identity import pseudonym

pytestmark = pytest.mark.timeout(240)
OPEN = "allow_anonymous true"
CLOSED = "allow_anonymous false"


async def listen(port: int, until: Callable[[str, bytes], bool]) -> list[tuple[str, bytes, bool]]:
    """Every message of attuned, in order, until one says stop; (topic, payload, retained)."""
    heard = []
    async with asyncio.timeout(120), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("attuned/#", qos=1)
        async for message in client.messages:
            heard.append((str(message.topic), message.payload, message.retain))
            if until(str(message.topic), message.payload):
                return heard
    return heard


def is_offline(topic: str, payload: bytes) -> bool:
    """The node's goodbye."""
    return topic.endswith("/availability") and payload == b"offline"


def by_topic(heard: list[tuple[str, bytes, bool]]) -> dict[str, list[dict[str, Any]]]:
    """JSON payloads of each topic."""
    payloads = defaultdict(list)
    for topic, payload, _ in heard:
        if not topic.endswith("/availability"):
            payloads[topic].append(json.loads(payload))
    return payloads


def test_a_subscriber_gets_everything_without_a_gap(mosquitto, start_attuned, short_call) -> None:  # noqa: ANN001
    """Every topic counts from 0 without a gap; readings of four people and of the group for every second."""
    broker = mosquitto(OPEN)

    async def main() -> list[tuple[str, bytes, bool]]:
        listening = asyncio.create_task(listen(broker.port, is_offline))
        await asyncio.sleep(0.3)
        start_attuned("join", short_call.path, "--name", "t", **broker.variables())
        return await listening

    heard = run(main())
    availability = [payload for topic, payload, _ in heard if topic.endswith("/availability")]
    assert availability == [b"online", b"offline"]
    payloads = by_topic(heard)
    for topic, rows in payloads.items():
        assert list(range(len(rows))) == [row["seq"] for row in rows], topic
    emotion = [topic for topic in payloads if topic.endswith("/emotion")]
    assert len(emotion) == 5
    for topic in emotion:
        assert list(range(8)) == [row["second"] for row in payloads[topic]], topic
        for row in payloads[topic]:
            assert list(EMOTIONS) == list(row["probabilities"])
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    events = [row["kind"] for row in payloads["attuned/local/session/t/event"]]
    assert (events[0], events[-1]) == ("session_started", "session_ended")
    assert events.count("participant_joined") == 4
    states = [row["state"] for row in payloads["attuned/local/session/t/status"]]
    assert states == ["connecting", "live", "ended"]
    assert len([topic for topic in payloads if topic.endswith("/model")]) == 4


def stored(tmp_path: Path) -> list[dict[str, Any]]:
    """Events that wait in the outbox."""
    path = tmp_path / "state" / "attuned" / "outbox.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [json.loads(row[0]) for row in db.execute("SELECT payload FROM messages ORDER BY id")]


@pytest.mark.parametrize("killed", [False, True], ids=["until the end", "killed"])
def test_events_survive_without_a_broker(mosquitto, start_attuned, demo_call, short_call, tmp_path, killed) -> None:  # noqa: ANN001
    """The broker dies, events happen, attuned ends or is killed: the next run delivers all, once more from no gap."""
    broker = mosquitto(OPEN)

    def all_joined(topic: str, payload: bytes) -> bool:
        # session_started and four joins; nothing is on its way when the broker dies.
        return topic.endswith("/event") and json.loads(payload)["seq"] == 4

    async def main() -> list[tuple[str, bytes, bool]]:
        first = asyncio.create_task(listen(broker.port, all_joined))
        await asyncio.sleep(0.3)
        call = demo_call if killed else short_call
        process = start_attuned("join", call.path, "--name", "t", **broker.variables())
        before = await first
        broker.stop()
        if killed:
            while not await asyncio.to_thread(stored, tmp_path):
                await asyncio.sleep(0.1)
            process.kill()
        code = await asyncio.to_thread(process.wait, 60)
        assert code == (-signal.SIGKILL if killed else 1)
        waiting = stored(tmp_path)
        assert ("change" if killed else "session_ended") in {row["kind"] for row in waiting}
        broker.start()
        listening = asyncio.create_task(listen(broker.port, is_offline))
        await asyncio.sleep(0.3)
        start_attuned("join", short_call.path, "--name", "t", **broker.variables())
        return before + await listening

    events = by_topic(run(main()))["attuned/local/session/t/event"]
    assert [row["seq"] for row in events] == list(range(len(events)))
    assert events[-1]["kind"] == "session_ended"
    assert stored(tmp_path) == []


def test_the_embedded_broker_serves_to_the_end(start_attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """A subscriber of QoS 1 hears everything, the goodbye too, and the process ends."""
    port = free_port("127.0.0.1", 22000)

    async def main() -> tuple[list[tuple[str, bytes, bool]], int]:
        process = start_attuned("join", short_call.path, "--name", "t", ATTUNED_MQTT__PORT=str(port))
        while True:
            try:
                heard = await listen(port, is_offline)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.2)
                continue
            return heard, await asyncio.to_thread(process.wait, 30)

    heard, code = run(main())
    assert code == 0
    events = by_topic(heard)["attuned/local/session/t/event"]
    assert events[-1]["kind"] == "session_ended"


@pytest.mark.parametrize(
    ("settings", "message"),
    [(CLOSED, "refuses: "), (None, "no broker at 127.0.0.1:")],
    ids=["refuses", "is not there"],
)
def test_a_broker_that_cannot_be_used_is_told_in_one_line(mosquitto, attuned, short_call, settings, message) -> None:  # noqa: ANN001
    """Exit code 2 and what to do; no traceback."""
    broker = mosquitto(settings or OPEN)
    if settings is None:
        broker.stop()
    done = attuned("join", short_call.path, **broker.variables())
    told = [line for line in done.stderr.splitlines() if line.startswith("attuned: ")]
    assert (done.returncode, len(told)) == (2, 1), done.stderr
    assert message in told[0]
    assert "Traceback" not in done.stderr


def test_consent_arrives_by_topic(mosquitto, start_attuned, short_call) -> None:  # noqa: ANN001
    """With consent required nobody is read until a `granted` comes for them, and only they are."""
    broker = mosquitto(OPEN)
    granted: list[str] = []

    async def main() -> list[tuple[str, bytes, bool]]:
        listening = asyncio.create_task(listen(broker.port, is_offline))
        await asyncio.sleep(0.3)
        start_attuned("join", short_call.path, "--name", "t", "--consent", "required", **broker.variables())
        first = await listen(broker.port, lambda topic, _: topic.endswith("/emotion") and "participant" in topic)
        who = first[-1][0].split("/")[5]
        granted.append(who)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish(f"attuned/local/session/t/participant/{who}/consent/set", b"maybe", qos=1)
            await client.publish("attuned/local/session/t/participant/Anna Mueller/consent/set", b"granted", qos=1)
            await client.publish(f"attuned/local/session/t/participant/{who}/consent/set", b"granted", qos=1)
        return await listening

    heard = [row for row in run(main()) if not row[0].endswith("/set")]
    read = {row["participant"] for rows in by_topic(heard).values() for row in rows if row.get("n_frames")}
    assert set(granted) == read


def test_consent_denied_beforehand_holds(mosquitto, start_attuned, short_call) -> None:  # noqa: ANN001
    """A retained `denied` that was there before the session began keeps that person unread from the first frame."""
    broker = mosquitto(OPEN)
    who = pseudonym(probe(short_call.path).fingerprint, 1)

    async def main() -> list[tuple[str, bytes, bool]]:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish(
                f"attuned/local/session/t/participant/{who}/consent/set", b"denied", qos=1, retain=True
            )
        listening = asyncio.create_task(listen(broker.port, is_offline))
        await asyncio.sleep(0.3)
        start_attuned("join", short_call.path, "--name", "t", **broker.variables())
        return await listening

    heard = [row for row in run(main()) if not row[0].endswith("/set")]
    rows = [row for rows in by_topic(heard).values() for row in rows if "n_frames" in row]
    assert {row["n_frames"] for row in rows if row["participant"] == who} == {0}
    assert {row["participant"] for row in rows if row["n_frames"]} == {row["participant"] for row in rows} - {who}


def test_ctrl_c_ends_a_session_and_says_goodbye(mosquitto, start_attuned, environment, short_call) -> None:  # noqa: ANN001
    """Exit code 0, `ended` and `offline` are published, health and metrics answer until then."""
    broker = mosquitto(OPEN)

    def look() -> dict[str, str]:
        pages = {}
        for page in ("livez", "readyz", "metrics"):
            url = f"http://127.0.0.1:{environment['ATTUNED_HTTP__PORT']}/{page}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                pages[page] = answer.read().decode()
        return pages

    async def main() -> tuple[list[tuple[str, bytes, bool]], dict[str, str], int]:
        listening = asyncio.create_task(listen(broker.port, is_offline))
        await asyncio.sleep(0.3)
        process = start_attuned("join", short_call.path, "--name", "t", **broker.variables())
        await listen(broker.port, lambda topic, _: topic.endswith("/group/emotion"))
        answers = await asyncio.to_thread(look)
        process.send_signal(signal.SIGINT)
        return await listening, answers, await asyncio.to_thread(process.wait, 20)

    heard, answers, code = run(main())
    assert code == 0
    assert by_topic(heard)["attuned/local/session/t/status"][-1]["state"] == "ended"
    assert '"status": "ok"' in answers["readyz"]
    assert "attuned_frames_received_total" in answers["metrics"]
    assert 'attuned_group_emotion_ratio{emotion="happiness",session="t"}' in answers["metrics"]
