"""Readings through a real mosquitto."""

import asyncio
import gc
import json
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiomqtt import ProtocolVersion
from contract import Contract
from prometheus_client import CollectorRegistry
from videos import run

from daemon.broker import free_port
from daemon.errors import PublishError
from daemon.session import SessionInfo
from daemon.sinks.broker_link import tls_context
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from daemon.sources.file import probe
from pipeline.emotions import EMOTIONS
from pipeline.seating import pseudonym
from pipeline.types import Event
from pipeline.wire import Stamp, Topics, Versions

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
    contract = Contract()
    assert [complaint for topic, payload, _ in heard for complaint in contract.complaints(topic, payload)] == []


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
            # What was under way when the broker died may still be there for a moment.
            while "change" not in {row["kind"] for row in await asyncio.to_thread(stored, tmp_path)}:
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
    # What waited says so; what was told while the broker was there does not.
    assert {row.get("replayed", False) for row in events[:5]} == {False}
    assert events[5]["replayed"]
    assert "replayed" not in events[-1]


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


# Without a whole daemon: a sink, a file, a real broker

SESSION = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)
STATUS = "attuned/lab/session/s/status"
MODEL = "attuned/lab/session/s/participant/p-00000001/model"


def make(port: int, outbox: Outbox, **options: Any) -> MqttSink:  # noqa: ANN401 (of the sink)
    """A sink for a broker on that port."""

    async def ignore(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001
        """Nobody is asked here."""

    metrics = Metrics(registry=CollectorRegistry(), version="1", models={})
    defaults = {"host": "127.0.0.1", "port": port, "topics": Topics("lab"), "on_consent": ignore}
    return MqttSink(outbox=outbox, metrics=metrics, **(defaults | options))


async def ended(sink: MqttSink, task: asyncio.Task[None]) -> None:
    """Everything is sent."""
    sink.close()
    async with asyncio.timeout(20):
        await task


async def retained(port: int) -> dict[str, bytes]:
    """What a newcomer finds."""
    found = {}
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("attuned/#")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                async for message in client.messages:
                    if message.payload:
                        found[str(message.topic)] = message.payload
    return found


def test_messages_of_mqtt_5_say_what_they_are(mosquitto, tmp_path) -> None:  # noqa: ANN001
    """Content type and format on all, a time after which they expire on readings alone, a will that does so too."""
    broker = mosquitto(OPEN)

    async def main() -> dict[str, Any]:
        async with (
            Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
            aiomqtt.Client("127.0.0.1", broker.port, protocol=ProtocolVersion.V5) as listener,
        ):
            await listener.subscribe("attuned/#", qos=1)
            sink = make(broker.port, outbox, expiry_s=7)
            task = asyncio.create_task(sink.run())
            await sink.connected.wait()
            await sink.status(SESSION, "live", 0.0, None)
            await sink._readings([("attuned/lab/session/s/group/emotion", b"{}")])
            await sink.events(SESSION, [Event("session_started", 0.0)])
            heard: dict[str, Any] = {}
            async with asyncio.timeout(10):
                async for message in listener.messages:
                    heard[str(message.topic).rpartition("/")[2]] = message.properties.json()
                    if len(heard) == 4:
                        break
            await ended(sink, task)
            return heard

    heard = run(main())
    assert {name: row["ContentType"] for name, row in heard.items()} == {
        "availability": "text/plain",
        "status": "application/json",
        "emotion": "application/json",
        "event": "application/json",
    }
    assert {row["PayloadFormatIndicator"] for row in heard.values()} == {1}
    assert {name for name, row in heard.items() if "MessageExpiryInterval" in row} == {"emotion"}
    assert heard["emotion"]["MessageExpiryInterval"] <= 7


@asynccontextmanager
async def without_5(port: int, answer: bytes | None) -> AsyncIterator[int]:
    """Stands before a broker and lets only MQTT 3.1.1 through; to 5 it answers so, or not at all."""
    told_off: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        # CONNECT: the level of the protocol comes after its name.
        if hello[hello.index(b"MQTT") + 4] == 5:
            told_off.append(writer)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
                writer.close()
            return
        ahead_reader, ahead_writer = await asyncio.open_connection("127.0.0.1", port)
        ahead_writer.write(hello)
        await asyncio.gather(pipe(reader, ahead_writer), pipe(ahead_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        assert told_off
        for writer in told_off:
            writer.close()
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "answer",
    [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", None],
    ids=["refused as 3.1.1 does", "refused as 5 does", "silent"],
)
def test_a_broker_without_mqtt_5_is_spoken_to_in_its_own_way(mosquitto, tmp_path, answer) -> None:  # noqa: ANN001
    """Begun with 5, it is connected with 3.1.1 within seconds."""
    broker = mosquitto(OPEN)

    async def main() -> str:
        async with (
            without_5(broker.port, answer) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
        ):
            sink = make(port, outbox)
            task = asyncio.create_task(sink.run())
            async with asyncio.timeout(10):
                await sink.connected.wait()
            await ended(sink, task)
            return sink._dialler.protocol.name

    assert run(main()) == "V311"


@pytest.mark.parametrize("protocol", [ProtocolVersion.V5, ProtocolVersion.V311], ids=["5", "3.1.1"])
def test_what_a_killed_process_left_is_set_right(mosquitto, tmp_path, protocol) -> None:  # noqa: ANN001
    """A session that was live has failed, with a reason; models and sessions that had ended are gone from the broker."""
    broker = mosquitto(OPEN)
    other = SessionInfo(Stamp("over", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)

    async def main() -> tuple[dict[str, bytes], dict[str, bytes], list[tuple[str, bytes]]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(broker.port, outbox, protocol=protocol)
            task = asyncio.create_task(sink.run())
            await sink.connected.wait()
            for state in ("connecting", "live"):
                await sink.status(SESSION, state, 0.0, None)
            await sink.status(other, "ended", 0.0, None)
            await sink._retain(MODEL, b'{"participant":"p-00000001"}')
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.wait([task])
        left = await retained(broker.port)
        heard: list[tuple[str, bytes]] = []
        async with (
            Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
            aiomqtt.Client("127.0.0.1", broker.port) as listener,
        ):
            await listener.subscribe("attuned/#", options=None, qos=1)
            sink = make(broker.port, outbox, protocol=protocol)
            task = asyncio.create_task(sink.run())
            async with asyncio.timeout(10):
                async for message in listener.messages:
                    if not message.retain:
                        heard.append((str(message.topic), message.payload))
                    if message.payload == b"online":
                        break
            await asyncio.sleep(1.5)
            found = await retained(broker.port)
            await ended(sink, task)
        return left, found, heard

    left, found, heard = run(main())
    assert set(left) == {"attuned/lab/availability", STATUS, MODEL, STATUS.replace("/s/", "/over/")}
    assert set(found) == {"attuned/lab/availability", STATUS}
    status = json.loads(found[STATUS])
    assert (status["state"], status["seq"], status["boot"]) == ("failed", 2, "b")
    assert "without a goodbye" in status["reason"]
    # Who listened heard it before `online`, in JSON wherever the broker can let a message expire.
    assert heard[-1] == ("attuned/lab/availability", b"online")
    last = dict(heard)[MODEL]
    assert last == (b"" if protocol is ProtocolVersion.V311 else b'{"participant":"p-00000001","cleared":true}')


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "dropped"])
def test_readings_wait_where_they_are_to(mosquitto, tmp_path, keep) -> None:  # noqa: ANN001
    """Over an outage: kept, all arrive in order and those that waited say so; dropped, those of the outage are gone."""
    broker = mosquitto(OPEN)
    topic = "attuned/lab/session/s/group/emotion"

    async def main() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []

        async def follow() -> None:
            while True:
                with suppress(aiomqtt.MqttError):
                    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                        await client.subscribe(topic, qos=1)
                        async for message in client.messages:
                            heard.append(json.loads(message.payload))  # noqa: PERF401
                await asyncio.sleep(0.05)

        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(broker.port, outbox, keep_readings=keep)
            task = asyncio.create_task(sink.run())
            following = asyncio.create_task(follow())
            await sink.connected.wait()
            await asyncio.sleep(0.3)

            async def read(*seqs: int) -> None:
                for seq in seqs:
                    await sink._readings([(topic, json.dumps({"seq": seq}).encode())])
                    await asyncio.sleep(0.02)

            await read(0, 1)
            await asyncio.sleep(0.3)
            broker.stop()
            while sink.connected.is_set():
                await asyncio.sleep(0.05)
            await read(2, 3, 4)
            broker.start()
            await asyncio.sleep(0.3)
            async with asyncio.timeout(20):
                await sink.connected.wait()
            await read(5, 6)
            await asyncio.sleep(0.5)
            await ended(sink, task)
            following.cancel()
            await asyncio.wait([following])
            return heard

    heard = run(main())
    late = [{"seq": seq, "replayed": True} for seq in (2, 3, 4)] if keep else []
    assert [row["seq"] for row in heard] == [0, 1, *[row["seq"] for row in late], 5, 6]
    assert [row for row in heard if row["seq"] in {2, 3, 4}] == late


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, a broker's certificate for localhost, and a client's."""
    folder = tmp_path / "tls"
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "2")
    for name, extension in (("broker", "subjectAltName=DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / f"{name}.ext").write_text(extension)
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt", "-extfile", f"{name}.ext")
    for file in folder.iterdir():
        file.chmod(0o644)
    open_to_brokers(folder)
    return folder


def open_to_brokers(folder: Path) -> None:
    """Mosquitto is somebody else once it has started as root: the way to its files must be open."""
    for place in (folder, *folder.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(0o755)


def context(certificates: Path, *, ours: bool = True, ca: bool = True, verify_host: bool = True) -> ssl.SSLContext:
    """TLS with or without our certificate, the right authority, the check of the host."""
    return tls_context(
        ca_file=certificates / "ca.crt" if ca else None,
        cert_file=certificates / "client.crt" if ours else None,
        key_file=certificates / "client.key" if ours else None,
        verify_host=verify_host,
    )


def tls_settings(certificates: Path) -> str:
    """A broker that asks for a certificate."""
    return (
        f"{OPEN}\ncafile {certificates}/ca.crt\ncertfile {certificates}/broker.crt\nkeyfile {certificates}/broker.key\n"
        "require_certificate true"
    )


async def connects(path: Path, port: int, host: str, tls: ssl.SSLContext) -> bool:
    """Whether there is a connection."""
    async with Outbox(path, max_messages=9) as outbox:
        sink = make(port, outbox, host=host, tls=tls)
        task = asyncio.create_task(sink.run(give_up_s=0.5))
        waiting = asyncio.create_task(sink.connected.wait())
        await asyncio.wait([task, waiting], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        there = sink.connected.is_set()
        await ended(sink, task)
        return there


def test_tls_with_a_client_certificate(mosquitto, certificates, tmp_path) -> None:  # noqa: ANN001
    """Connected where the authority, the name and our certificate are right; or the name, where it is not checked."""
    broker = mosquitto(tls_settings(certificates))
    path = tmp_path / "o.sqlite"
    assert run(connects(path, broker.port, "localhost", context(certificates)))
    assert run(connects(path, broker.port, "127.0.0.1", context(certificates, verify_host=False)))


# paho leaves the socket of a TLS handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("host", "wrong", "message"),
    [
        ("127.0.0.1", {}, r"is not trusted: .*check mqtt\.ca_file and mqtt\.host"),
        ("localhost", {"ca": False}, r"is not trusted: .*check mqtt\.ca_file and mqtt\.host"),
        ("localhost", {"ours": False}, "no broker at localhost"),
    ],
    ids=["host", "authority", "no certificate of ours"],
)
def test_tls_that_is_wrong_is_told_in_one_line(mosquitto, certificates, tmp_path, host, wrong, message) -> None:  # noqa: ANN001
    """And nothing is sent."""
    broker = mosquitto(tls_settings(certificates))
    with pytest.raises(PublishError, match=message):
        run(connects(tmp_path / "o.sqlite", broker.port, host, context(certificates, **wrong)))
    gc.collect()


def test_a_user_with_a_password(mosquitto, tmp_path) -> None:  # noqa: ANN001
    """With the right one connected, with a wrong one told in one line."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed; apt-get install mosquitto")
    users = tmp_path / "users"
    subprocess.run([program, "-b", "-c", users, "anna", "secret"], check=True, capture_output=True)
    open_to_brokers(tmp_path)
    users.chmod(0o644)
    broker = mosquitto(f"{CLOSED}\npassword_file {users}")

    async def connect(password: str) -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
            sink = make(broker.port, outbox, username="anna", password=password)
            sink.close()
            async with asyncio.timeout(20):
                await sink.run()

    run(connect("secret"))
    with pytest.raises(PublishError, match=r"refuses: .*check mqtt\.username"):
        run(connect("wrong"))


def test_nothing_is_lost_when_the_broker_stops_and_the_daemon_is_killed(mosquitto) -> None:  # noqa: ANN001
    """The benchmark in short: two outages of 5 s, a kill -9 in the middle of the replay."""
    mosquitto(OPEN).stop()  # skips or fails where there is none
    program = Path(__file__).parents[2] / "benchmarks" / "delivery.py"
    done = subprocess.run(
        [sys.executable, program, "--short"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert figures["published"] > 300
    assert figures["replayed"] > 0


def test_a_correction_is_kept_and_erased(mosquitto, start_attuned, environment, demo_call, tmp_path) -> None:  # noqa: ANN001
    """What somebody says by MQTT or API becomes samples on disk; a DELETE leaves nothing, and more is refused."""
    broker = mosquitto(OPEN)
    root = f"http://127.0.0.1:{environment['ATTUNED_HTTP__PORT']}/api/v1/sessions/t/participants"

    def ask(method: str, address: str, body: dict[str, object] | None = None) -> tuple[int, dict[str, object]]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{root}/{address}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def files(who: str) -> list[Path]:
        return list((tmp_path / "state" / "attuned" / "personal" / ".passing").glob(f"{who}-*/*"))

    async def main() -> None:
        start_attuned("join", demo_call.path, "--name", "t", **broker.variables())
        rows = await listen(broker.port, lambda topic, said: topic.endswith("/emotion") and b'"top":"' in said)
        who = next(topic.split("/")[5] for topic, said, _ in reversed(rows) if b'"top":"' in said and "/p-" in topic)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish(f"attuned/local/session/t/participant/{who}/label/set", b"anger", qos=1)
            async with asyncio.timeout(5):
                while not files(who):
                    await asyncio.sleep(0.05)
        status, told = await asyncio.to_thread(ask, "POST", f"{who}/labels", {"emotion": "fear", "from": 0, "to": 0})
        assert (status, told["seconds"]) == (200, 1)
        status, told = await asyncio.to_thread(ask, "DELETE", f"{who}/data")
        assert (status, told["id"], told["erased"], told["failed"]) == (200, who, True, [])
        assert told["removed"]["heads and samples"] == 1
        assert files(who) == []
        status, told = await asyncio.to_thread(ask, "POST", f"{who}/labels", {"emotion": "fear"})
        assert (status, "nothing is kept" in str(told["error"])) == (400, True)

    run(main())
