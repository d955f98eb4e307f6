"""The MQTT sink against the embedded broker, where a whole process would be too coarse."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest
from amqtt.broker import Broker
from builders import fused, p
from prometheus_client import CollectorRegistry
from remembering import remembered
from replay import until
from videos import run

from daemon.broker import PROTOCOL, embedded_broker, free_port
from daemon.session import SessionInfo
from daemon.sinks import mqtt
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink, _Live
from daemon.sinks.outbox import Outbox
from daemon.sinks.retained import Retained
from pipeline.group import synthesise
from pipeline.types import CallSecond, Event, Heads
from pipeline.wire import Stamp, Topics, Versions

INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)


def make(port: int, outbox: Outbox, registry: CollectorRegistry) -> MqttSink:
    """A sink for a broker on that port."""

    async def ignore(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001
        """Nobody is asked here."""

    return MqttSink(
        host="127.0.0.1",
        port=port,
        topics=Topics("lab"),
        outbox=outbox,
        metrics=Metrics(registry=registry, version="1", models={}),
        on_consent=ignore,
        protocol=PROTOCOL,
    )


async def retained(port: int, topic: str) -> bytes:
    """What a newcomer hears of a topic first."""
    async with asyncio.timeout(10), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic)
        async for message in client.messages:
            return message.payload
    raise AssertionError


def test_what_the_bound_discards_is_counted_and_announced_once(tmp_path: Path) -> None:
    """Five events for an outbox of two, without a broker: the last two arrive, and one event says that three did not."""
    registry = CollectorRegistry()

    async def main() -> list[dict[str, object]]:
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 23000)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox,
            aiomqtt.Client("127.0.0.1", port) as listener,
        ):
            await listener.subscribe("attuned/#", qos=1)
            sink = make(port, outbox, registry)
            for i in range(5):
                await sink.events(INFO, [Event("change", float(i))])
            task = asyncio.create_task(sink.run())
            heard: list[dict[str, object]] = []
            async with asyncio.timeout(10):
                async for message in listener.messages:
                    if str(message.topic).endswith("/event"):
                        heard.append(json.loads(message.payload))
                    if len(heard) == 3:
                        break
            sink.close()
            await task
            return heard

    heard = run(main())
    assert [(row["kind"], row["seq"]) for row in heard] == [("change", 3), ("change", 4), ("outbox_discarded", 5)]
    assert {key: heard[-1][key] for key in ("n", "reason", "first_seq", "last_seq")} == {
        "n": 3,
        "reason": "size",
        "first_seq": 0,
        "last_seq": 2,
    }
    assert [row.get("replayed", False) for row in heard] == [True, True, False]
    assert registry.get_sample_value("attuned_mqtt_published_total", {"result": "discarded"}) == 3.0


def test_whatever_ends_the_connection_says_offline(tmp_path: Path) -> None:
    """Cancelled, as after a bug or a full disk, the node does not stay `online` for ever."""

    async def main() -> tuple[bytes, bytes]:
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 24000)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox,
        ):
            sink = make(port, outbox, CollectorRegistry())
            task = asyncio.create_task(sink.run())
            await sink.connected.wait()
            await asyncio.sleep(0.2)
            before = await retained(port, "attuned/lab/availability")
            task.cancel()
            await asyncio.wait([task])
            return before, await retained(port, "attuned/lab/availability")

    assert run(main()) == (b"online", b"offline")


def test_a_broker_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """When amqtt waits for ever in its shutdown and a task of its swallows a cancel, the context ends all the same."""
    shutdown = Broker.shutdown
    swallowed = []

    async def stubborn() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(True)

    async def wait_for_ever(self: Broker) -> None:
        await shutdown(self)
        await asyncio.Event().wait()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(Broker, "shutdown", wait_for_ever)
        monkeypatch.setattr("daemon.broker._source_of", lambda task: "/amqtt/" if task.get_name() == "mule" else "")
        async with embedded_broker("127.0.0.1", free_port("127.0.0.1", 26000)):
            asyncio.create_task(stubborn(), name="mule")  # noqa: RUF006 (ended by what is tested)
            began = loop.time()
        return loop.time() - began

    assert run(main()) < 5


def test_another_run_of_a_name_counts_from_zero(tmp_path: Path) -> None:
    """With a new boot every topic but the events begins anew; events go on, for they are kept on disk."""

    async def main() -> list[tuple[str, int]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(1, outbox, CollectorRegistry())
            told = []
            for boot in ("one", "two"):
                info = replace(INFO, stamp=Stamp("s", boot))
                await sink.events(info, [Event("session_started", 0.0)])
                for state in ("connecting", "live"):
                    await sink.status(info, state, 0.0, None)
                    payload = json.loads(sink._retained.topics["attuned/lab/session/s/status"])
                    told.append((payload["boot"], payload["seq"]))
            return told

    assert run(main()) == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]


def test_a_damaged_outbox_is_announced_once(tmp_path: Path) -> None:
    """The next event of a session comes after one that says that nobody knows how many are lost."""
    (tmp_path / "o.sqlite").write_bytes(b"no database" * 1000)

    async def main() -> list[dict[str, object]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(1, outbox, CollectorRegistry())
            for time_s in (1.0, 2.0):
                await sink.events(INFO, [Event("source_recovered", time_s)])
            return [json.loads(message.payload) for message in await outbox.oldest(9)]

    rows = run(main())
    assert [row["kind"] for row in rows] == ["outbox_discarded", "source_recovered", "source_recovered"]
    assert (rows[0]["n"], rows[0]["reason"]) == (None, "damaged")


def test_a_session_that_is_forgotten_leaves_nothing_on_the_broker(tmp_path: Path) -> None:
    """Its retained topics are cleared and no longer remembered."""

    async def main() -> tuple[dict[str, bytes], dict[str, bytes], bytes]:
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 26100)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
        ):
            sink = make(port, outbox, CollectorRegistry())
            task = asyncio.create_task(sink.run())
            await sink.connected.wait()
            await sink.status(INFO, "ended", 0.0, None)
            before = await outbox.remembered()
            async with aiomqtt.Client("127.0.0.1", port) as listener:
                await listener.subscribe("attuned/lab/session/s/status", qos=1)
                sink.forget("s")
                async with asyncio.timeout(10):
                    async for message in listener.messages:
                        if not message.payload:
                            last = message.payload
                            break
            await asyncio.sleep(0.2)
            after = await outbox.remembered()
            sink.close()
            await task
            return before, after, last

    before, after, last = run(main())
    assert set(before) - set(after) == {"attuned/lab/session/s/status"}
    assert last == b""


def test_however_many_topics_must_go_few_are_in_memory_and_all_go(tmp_path: Path) -> None:
    """Those beyond the bound wait on disk, those of somebody who is erased as well; the broker is told of every one."""
    ann = "p-00000001"
    sessions = [SessionInfo(Stamp(f"s{i}", "b" * 16), "seed", "research", INFO.versions, 2) for i in range(12)]
    reading = fused(ann, 0, p(happiness=1.0))

    async def main() -> tuple[int, int, set[str], set[str]]:
        port = free_port("127.0.0.1", 26300)
        async with Outbox(tmp_path / "o.sqlite", max_messages=99) as outbox:
            sink = make(port, outbox, CollectorRegistry())
            sink._retained = Retained(outbox, Topics("lab"), limit=4)
            running = asyncio.create_task(sink.run())
            await until(lambda: sink._retained._ours != ())
            for info in sessions:
                await sink.status(info, "live", 0.0, None)
            await sink.second(INFO, CallSecond(0, (reading,), synthesise(0, (reading,)), (), ()))
            sink.forget("s")
            for info in sessions:
                sink.forget(info.id)
            in_memory = len(sink._retained.state())
            # By now the person's topic is known to the outbox alone.
            missing = await sink.erase(ann)
            before = set(await outbox.remembered())
            async with embedded_broker("127.0.0.1", port):
                await sink.connected.wait()
                after = set(await outbox.remembered())
                sink.close()
                await running
            return in_memory, missing, before, after

    in_memory, missing, before, after = run(main())
    assert (in_memory, missing) == (4, 1)
    assert len(before - after) == 13
    assert after == {"attuned/lab/availability", "attuned/lab/info"}


def test_topics_of_who_left_stay_for_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes back goes on counting; of those who left the earliest gives way: nothing of theirs is on the broker."""
    monkeypatch.setattr(mqtt, "LEFT_MAX", 1)
    ann, ben = "p-00000001", "p-00000002"

    def second(n: int, *there: str, joined: str = "", left: str = "") -> CallSecond:
        readings = tuple(fused(who, n, p(happiness=1.0)) for who in there)
        named = (("participant_joined", joined), ("participant_left", left))
        events = tuple(Event(kind, float(n), (who,)) for kind, who in named if who)
        return CallSecond(n, readings, synthesise(n, readings), events, ())

    async def main() -> tuple[list[tuple[str, int]], set[str], set[str]]:
        heard: list[tuple[str, int]] = []
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 26200)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=99) as outbox,
            aiomqtt.Client("127.0.0.1", port) as client,
        ):
            sink = make(port, outbox, CollectorRegistry())
            running = asyncio.create_task(sink.run())
            await sink.connected.wait()
            await client.subscribe("attuned/lab/session/s/participant/+/emotion")
            await sink.second(INFO, second(0, ann, ben, joined=ann))
            await sink.second(INFO, second(1, ben, left=ann))
            await sink.second(INFO, second(2, ann, ben, joined=ann))
            await sink.second(INFO, second(3, ben, left=ann))
            before = {topic for topic in await outbox.remembered() if "/participant/" in topic}
            await sink.second(INFO, second(4, left=ben))
            await sink.second(INFO, second(5, ann, joined=ann))
            async with asyncio.timeout(10):
                async for message in client.messages:
                    heard.append((json.loads(message.payload)["participant"], json.loads(message.payload)["seq"]))
                    if len(heard) == 7:
                        break
            await sink.second(INFO, second(6, left=ann))
            await asyncio.sleep(0.3)
            after = {topic for topic in await outbox.remembered() if "/participant/" in topic}
            await sink.erase(ann)
            assert remembered([sink._left, sink._seq, sink._heads]) == set()
            sink.close()
            await running
        return heard, before, after

    heard, before, after = run(main())
    assert [seq for who, seq in heard if who == ben] == [0, 1, 2, 3]
    # Ben left, and there is room for one: Ann, who had left before, begins anew.
    assert [seq for who, seq in heard if who == ann] == [0, 1, 0]
    assert before == {f"attuned/lab/session/s/participant/{who}/model" for who in (ann, ben)}
    assert after == {f"attuned/lab/session/s/participant/{ann}/model"}


def test_where_too_many_wait_the_oldest_reading_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State stays; what goes is counted."""
    monkeypatch.setattr("daemon.sinks.mqtt.LIVE_MAX", 3)
    registry = CollectorRegistry()

    async def main() -> list[str]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(1, outbox, registry)
            sink.connected.set()
            await sink.status(INFO, "live", 0.0, None)
            await sink._readings([(str(i), b"{}") for i in range(4)])
            return [message.topic for message in sink._live]

    assert run(main()) == ["attuned/lab/session/s/status", "2", "3"]
    assert registry.get_sample_value("attuned_mqtt_published_total", {"result": "dropped"}) == 2.0


def test_heads_that_change_are_told_and_corrections_are_heard(tmp_path: Path) -> None:
    """The retained `model` follows the heads that read, not an absence; what comes on `label/set` is passed on."""
    registry = CollectorRegistry()
    heard: list[tuple[str, str, str]] = []
    arrived = asyncio.Event()

    async def ignore(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001
        """Nobody is asked here."""

    async def hear(session: str, participant: str, text: str) -> None:
        heard.append((session, participant, text))
        arrived.set()

    def second(n: int, heads: Heads, *, absent: bool = False) -> CallSecond:
        row = None if absent else p(happiness=1.0)
        reading = fused("p-00000001", n, row)
        reading = replace(reading, arms=replace(reading.arms, heads=heads))
        return CallSecond(n, (reading,), synthesise(n, (reading,)), (), ())

    async def main() -> list[dict[str, str]]:
        told = []
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 23000)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox,
            aiomqtt.Client("127.0.0.1", port) as client,
        ):
            sink = MqttSink(
                host="127.0.0.1",
                port=port,
                topics=Topics("lab"),
                outbox=outbox,
                metrics=Metrics(registry=registry, version="1", models={}),
                on_consent=ignore,
                on_label=hear,
                protocol=PROTOCOL,
            )
            running = asyncio.create_task(sink.run())
            await sink.connected.wait()
            topic = "attuned/lab/session/s/participant/p-00000001"
            await client.subscribe(f"{topic}/model")
            mine = Heads("personal-1", "personal-1")
            await sink.second(INFO, second(0, Heads()))
            await sink.second(INFO, second(1, mine))
            await sink.second(INFO, second(2, Heads(), absent=True))
            await sink.second(INFO, second(3, mine))
            await sink.second(INFO, second(4, Heads()))
            async with asyncio.timeout(10):
                async for message in client.messages:
                    told.append(json.loads(message.payload)["heads"]["pixel"])
                    if len(told) == 3:
                        break
                await client.publish(f"{topic}/label/set", b"x" * 2000, qos=1)
                await client.publish("attuned/lab/session/s/participant/Anna Mueller/label/set", b"anger", qos=1)
                await client.publish(f"{topic}/label/set", b"anger", qos=1)
                await arrived.wait()
            sink.close()
            await running
        return told

    assert run(main()) == ["generic", "personal-1", "generic"]
    assert heard == [("s", "p-00000001", "anger")]


def test_readings_that_waited_too_long_are_dropped_and_counted(tmp_path: Path) -> None:
    """A machine that cannot send all of them goes on with the present; retained state is sent whenever it can be."""
    registry = CollectorRegistry()
    sent: list[str] = []

    class Wire:
        async def publish(self, topic: str, payload: bytes, **how: object) -> None:
            sent.append(topic)

    async def main() -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            sink = make(1, outbox, registry)
            now_s = time.monotonic()
            for topic, retain, put_s in (("old", False, now_s - 11), ("kept", True, now_s - 11), ("new", False, now_s)):
                sink._live.append(_Live(topic, b"{}", retain, put_s))
            await sink._send_live(Wire())

    run(main())
    assert sent == ["kept", "new"]
    assert registry.get_sample_value("attuned_mqtt_published_total", {"result": "dropped"}) == 1.0
