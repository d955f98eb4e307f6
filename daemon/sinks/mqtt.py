"""Readings and events to an MQTT broker, through aiomqtt.

Events go through the outbox, at least once and in order. Readings are live: sent once, dropped and counted
while there is no broker. Retained state is sent again on every connect, and then `online`.
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import structlog
from aiomqtt import ProtocolVersion

from daemon.errors import PublishError
from daemon.session import SessionInfo
from daemon.sinks.metrics import Metrics
from daemon.sinks.outbox import Outbox
from daemon.sources.source import State
from daemon.supervise import FIRST_S, waits
from pipeline import wire
from pipeline.types import CallSecond, Event

log = structlog.get_logger()

PSEUDONYM = re.compile(r"p-[0-9a-f]{8}")
LIVE_MAX = 2000
"""Readings that wait for the broker at most; the oldest goes first."""
REFUSED = frozenset({4, 5, 134, 135, 138, 140})
"""CONNACK codes that no waiting will cure: bad credentials, not authorised, banned (MQTT 3.1.1 and 5)."""
HANDSHAKE_S = 3.0
GOODBYE_S = 1.0
WRONG_VERSION = frozenset({1, 132})

ConsentHandler = Callable[[str, str, bool], Awaitable[None]]


class MqttSink:
    """Publishes what sessions give out; `run` keeps the connection, `close` ends it when all is sent.

    Args:
        host: Name or address of the broker.
        port: TCP port of the broker.
        topics: Names of the topics.
        outbox: Where events wait; already entered.
        metrics: Counts what was published and what was not.
        on_consent: Is told what arrives on `consent/set`: session, participant, granted.
        username: For brokers that ask.
        password: Goes with it.
        keepalive_s: MQTT keep-alive.
        protocol: To begin with; from 5 it falls back to 3.1.1 where the broker has no 5.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        topics: wire.Topics,
        outbox: Outbox,
        metrics: Metrics,
        on_consent: ConsentHandler,
        username: str | None = None,
        password: str | None = None,
        keepalive_s: int = 30,
        protocol: ProtocolVersion = ProtocolVersion.V5,
    ) -> None:
        self._host, self._port = host, port
        self._topics = topics
        self._outbox = outbox
        self._metrics = metrics
        self._on_consent = on_consent
        self._username, self._password = username, password
        self._keepalive_s = keepalive_s
        self._boot = secrets.token_hex(8)
        self._protocol = protocol
        self._seq: dict[str, int] = {}
        self._retained: dict[str, bytes] = {}
        self._live: deque[tuple[str, bytes, bool]] = deque()
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._discarded: dict[str, tuple[int, Callable[[int], bytes]]] = {}
        self.connected = asyncio.Event()

    def describe(self, node: Mapping[str, Any]) -> None:
        """Sets the node's retained `info`."""
        topic = self._topics.info
        head = {"schema": wire.NODE_INFO, "ts": wire.rfc3339(datetime.now(UTC)), "boot": self._boot}
        self._retain(topic, head | {"seq": self._next(topic)} | dict(node))

    def forget(self, session: str) -> None:
        """A session that is over is told of no more; its events keep their numbers on disk."""
        start = self._topics.status(session).removesuffix("status")
        for known in (self._retained, self._seq):
            for topic in [topic for topic in known if topic.startswith(start)]:
                del known[topic]

    # What sessions call

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Retained state of the session."""
        topic = self._topics.status(info.id)
        head = info.stamp.head(wire.SESSION_STATUS, time_s, self._next(topic))
        self._retain(topic, head | {"state": state, "reason": reason, "purpose": info.purpose})

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Readings of everybody, the group's where there are enough, and what happened."""
        for reading in second.readings:
            model = self._topics.participant_model(info.id, reading.participant)
            if model not in self._retained:
                seq = self._next(model)
                self._retain(
                    model,
                    wire.participant_model(reading.participant, info.versions, info.stamp, second.second, seq),
                )
            topic = self._topics.participant_emotion(info.id, reading.participant)
            self._put(topic, wire.participant_emotion(reading, info.versions, info.stamp, self._next(topic)))
        if len(second.group.members) >= info.minimum:
            topic = self._topics.group_emotion(info.id)
            self._put(topic, wire.group_emotion(second.group, info.stamp, self._next(topic)))
        await self.events(info, second.events)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Commits events to the outbox."""
        topic = self._topics.event(info.id)
        if any(event.kind == "session_started" for event in events):
            # Another run of a name counts from 0 again, with another boot.
            self.forget(info.id)
        for event in events:
            discarded = await self._outbox.put(topic, _builder(event, info))
            if discarded:
                self._metrics.mqtt_published("discarded", discarded)
                n, _ = self._discarded.get(topic, (0, _builder(event, info)))
                told = Event("outbox_discarded", event.time_s, (), {"n": n + discarded})
                self._discarded[topic] = (n + discarded, _builder(told, info))
        self._metrics.outbox(self._outbox.n_waiting)
        self._work.set()

    # The connection

    async def run(self, *, give_up_s: float | None = None) -> None:
        """Connects, and again whenever the connection is lost, until `close` and all is sent.

        Args:
            give_up_s: No connection at all for so long after the start is an error.

        Raises:
            PublishError: The broker refuses for a reason that does not pass, or was never there.
        """
        loop = asyncio.get_running_loop()
        began, pauses, lost, ever = loop.time(), waits(), False, False
        while True:
            try:
                await self._connection()
            except aiomqtt.MqttError as error:
                where, said, code = f"{self._host}:{self._port}", _said(error), _code(error)
                if self.connected.is_set():
                    self.connected.clear()
                    self._metrics.mqtt_published("dropped", len(self._live))
                    self._live.clear()
                    pauses, lost, ever = waits(), False, True
                    self._metrics.reconnect("mqtt")
                elif not ever and self._protocol is ProtocolVersion.V5 and _speaks_311_only(error):
                    self._protocol = ProtocolVersion.V311
                    continue
                elif not ever and code in REFUSED:
                    msg = f"broker {where} refuses: {said}; check mqtt.username and mqtt.password"
                    raise PublishError(msg) from error
                elif not ever and give_up_s is not None and loop.time() - began >= give_up_s:
                    msg = f"no broker at {where}: {said}; start it, or set mqtt.host and mqtt.port"
                    raise PublishError(msg) from error
                if not lost:
                    lost = True
                    log.warning("broker lost", host=self._host, port=self._port, error=said)
            else:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_S if self._closing.is_set() else next(pauses)):
                    await (asyncio.sleep(FIRST_S) if self._closing.is_set() else self._closing.wait())

    def close(self) -> None:
        """Lets `run` end as soon as everything is sent."""
        self._closing.set()
        self._work.set()

    async def _connection(self) -> None:
        """One connection, from connect to loss or to the end."""
        will = aiomqtt.Will(self._topics.availability, b"offline", qos=1, retain=True)
        async with aiomqtt.Client(
            self._host,
            self._port,
            username=self._username,
            password=self._password,
            identifier=f"attuned-{self._topics.node}-{self._boot}",
            protocol=self._protocol,
            will=will,
            keepalive=self._keepalive_s,
            timeout=HANDSHAKE_S if self._protocol is ProtocolVersion.V5 else None,
            max_queued_incoming_messages=1000,
        ) as client:
            try:
                async with asyncio.TaskGroup() as tasks:
                    receiving = tasks.create_task(self._receive(client), name="mqtt receive")
                    try:
                        await self._send(client)
                    except aiomqtt.MqttError:
                        raise
                    except BaseException:
                        # The goodbye of an orderly disconnect makes the broker forget the last will.
                        with suppress(aiomqtt.MqttError, TimeoutError):
                            async with asyncio.timeout(GOODBYE_S):
                                await client.publish(self._topics.availability, b"offline", qos=1, retain=True)
                        raise
                    receiving.cancel()
            except ExceptionGroup as group:
                lost, rest = group.split(aiomqtt.MqttError)
                if lost is None or rest is not None:
                    raise
                error = lost.exceptions[0]
                raise error from group

    async def _send(self, client: aiomqtt.Client) -> None:
        """State first, then `online`, then whatever comes, until `close`."""
        sent: dict[str, bytes] = {}
        while any(sent.get(topic) != payload for topic, payload in self._retained.items()):
            for topic, payload in list(self._retained.items()):
                if sent.get(topic) != payload:
                    await client.publish(topic, payload, qos=1, retain=True)
                    sent[topic] = payload
        self.connected.set()
        await client.publish(self._topics.availability, b"online", qos=1, retain=True)
        log.info("broker connected", host=self._host, port=self._port, protocol=self._protocol.name)
        for topic, (_, build) in list(self._discarded.items()):
            # Told once the broker is there again: before, it would only have pushed out more.
            del self._discarded[topic]
            await self._outbox.put(topic, build)
        while True:
            self._work.clear()
            await self._send_live(client)
            waiting = await self._outbox.oldest(limit=20)
            for message in waiting:
                await client.publish(message.topic, message.payload, qos=1)
                await self._outbox.delete(message)
                self._metrics.mqtt_published("sent")
            self._metrics.outbox(self._outbox.n_waiting)
            if waiting or self._live:
                continue
            if self._closing.is_set():
                await client.publish(self._topics.availability, b"offline", qos=1, retain=True)
                return
            await self._work.wait()

    async def _send_live(self, client: aiomqtt.Client) -> None:
        """What is worth something now: once, or not at all."""
        while self._live:
            topic, payload, retain = self._live.popleft()
            try:
                await client.publish(topic, payload, qos=1 if retain else 0, retain=retain)
            except aiomqtt.MqttError:
                self._metrics.mqtt_published("dropped")
                raise
            self._metrics.mqtt_published("sent")

    async def _receive(self, client: aiomqtt.Client) -> None:
        """Consent from whoever may publish it."""
        await client.subscribe(self._topics.consent_filter(), qos=1)
        async for message in client.messages:
            known = self._topics.parse_consent(str(message.topic))
            answer = message.payload.decode(errors="replace")
            if known is None or not PSEUDONYM.fullmatch(known[1]) or answer not in {"granted", "denied"}:
                log.warning("consent message refused", expected="granted | denied")
                continue
            await self._on_consent(*known, answer == "granted")

    # Details

    def _next(self, topic: str) -> int:
        """Sequence number of the next message of a topic in this run."""
        seq = self._seq.get(topic, 0)
        self._seq[topic] = seq + 1
        return seq

    def _retain(self, topic: str, payload: wire.Payload) -> None:
        """State that every later connection sends again."""
        self._retained[topic] = wire.encode(payload)
        if self.connected.is_set():
            self._put(topic, payload, retain=True)

    def _put(self, topic: str, payload: wire.Payload, *, retain: bool = False) -> None:
        """A live message: sent once, or dropped and counted while there is no broker or too many wait."""
        if not self.connected.is_set():
            self._metrics.mqtt_published("dropped")
            return
        if len(self._live) >= LIVE_MAX:
            self._live.popleft()
            self._metrics.mqtt_published("dropped")
        self._live.append((topic, wire.encode(payload), retain))
        self._work.set()


def _builder(event: Event, info: SessionInfo) -> Callable[[int], bytes]:
    """Makes the payload of an event once its `seq` is known."""
    return lambda seq: wire.encode(wire.event(event, info.stamp, seq))


def _code(error: aiomqtt.MqttError) -> int | None:
    """The reason code of a refused connection."""
    if not isinstance(error, aiomqtt.MqttCodeError) or error.rc is None:
        return None
    return error.rc if isinstance(error.rc, int) else int(error.rc.value)


def _speaks_311_only(error: aiomqtt.MqttError) -> bool:
    """Whether a broker of the old protocol would have answered so: with a code, or not at all."""
    return _code(error) in WRONG_VERSION or "timed out" in str(error)


def _said(error: aiomqtt.MqttError) -> str:
    """What the broker or the system said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
