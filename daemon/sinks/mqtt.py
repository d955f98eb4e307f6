"""Readings and events to an MQTT broker, through aiomqtt.

Events go through the outbox, at least once and in order. Readings are live: sent once; while there is no broker they
are dropped and counted, or kept in the outbox. Retained state is sent again on every connect, and then `online`; what
an earlier process left on the broker is set right first.
"""

import asyncio
import json
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiomqtt
import structlog
from aiomqtt import ProtocolVersion

from daemon.errors import PublishError
from daemon.session import SessionInfo
from daemon.sinks.broker_link import GOODBYE_S, PLAIN, Dialler, Link, said
from daemon.sinks.home_assistant import HomeAssistant
from daemon.sinks.incoming import ConsentHandler, Incoming, LabelHandler
from daemon.sinks.metrics import Metrics
from daemon.sinks.outbox import Discarded, Outbox, Waiting
from daemon.sinks.retained import GONE, Retained
from daemon.sources.source import State
from daemon.supervise import FIRST_S, waits
from pipeline import wire
from pipeline.types import CallSecond, Event, Heads

log = structlog.get_logger()

LIVE_MAX = 2000
"""Messages that wait for a broker that is there at most; the oldest reading goes first."""
BATCH = 8
"""Events on their way at once; some brokers take no more than ten (MQTT 5, Receive Maximum)."""
RETRY_S = 1.0
"""While the disk refuses what is to be sent, it is asked again so often."""
ERASE_S = 2.0
"""How long whoever erases somebody waits for the broker to forget them."""
LEFT_MAX = 128
"""People who have left and whose topics stay, with their numbers, for when they come back; the earliest give way."""


class _Live(NamedTuple):
    """A message for a broker that is there."""

    topic: str
    payload: bytes
    retain: bool
    put_s: float


class MqttSink:
    """Publishes what sessions give out; `run` keeps the connection, `close` ends it when all is sent.

    Args:
        host: Name or address of the broker.
        port: TCP port of the broker.
        topics: Names of the topics.
        outbox: Where events wait; already entered.
        metrics: Counts what was published and what was not.
        on_consent: Is told what arrives on `consent/set`: session, participant, granted.
        on_label: Is told what arrives on `label/set`: session, participant, what stands there; None: nobody listens.
        username: For brokers that ask.
        password: Goes with it.
        tls: How the broker's certificate is checked; None: no TLS.
        keepalive_s: MQTT keep-alive.
        expiry_s: How long a broker of MQTT 5 keeps a reading for somebody who is away.
        keep_readings: Whether readings wait for the broker in the outbox, too.
        home_assistant: What Home Assistant is told; None: nothing.
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
        on_label: LabelHandler | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        keepalive_s: int = 30,
        expiry_s: int = 10,
        keep_readings: bool = False,
        home_assistant: HomeAssistant | None = None,
        protocol: ProtocolVersion = ProtocolVersion.V5,
    ) -> None:
        self._topics = topics
        self._outbox = outbox
        self._metrics = metrics
        self._heads: dict[str, Heads] = {}
        self._expiry_s = expiry_s
        self._keep = keep_readings
        self._home = home_assistant
        self._incoming = Incoming(topics, on_consent, on_label, home_assistant, self._introduce)
        self._boot = secrets.token_hex(8)
        self._dialler = Dialler(
            host=host,
            port=port,
            username=username,
            password=password,
            tls=tls,
            keepalive_s=keepalive_s,
            identifier=f"attuned-{topics.node}-{self._boot}",
            will=topics.availability,
            protocol=protocol,
        )
        self._seq: dict[str, int] = {}
        self._left: dict[str, None] = {}
        self._retained = Retained(outbox, topics)
        self._live: deque[_Live] = deque()
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._untold = True
        """Whether the outbox may have discarded what nobody has been told of."""
        self._n_damaged = 0
        self.connected = asyncio.Event()

    def describe(self, node: Mapping[str, Any]) -> None:
        """Sets the node's retained `info`."""
        topic = self._topics.info
        self._show(topic, wire.encode(wire.node_info(datetime.now(UTC), self._boot, self._next(topic), node)))

    def forget(self, session: str) -> None:
        """A session that is over is told of no more; its events keep their numbers on disk."""
        self._clear(self._topics.status(session).removesuffix("status"))

    async def erase(self, participant: str) -> int:
        """Takes a participant from the broker and from what waits for it; how many retained topics could not go yet.

        Those go as soon as the broker is there; a broker that keeps what it is told to forget is beyond us.
        """
        name, part = f'"{participant}"'.encode(), f"/participant/{participant}/"
        self._drop(lambda topic: part in topic)
        waiting = [m for m in self._live if name in m.payload or participant in m.topic]
        self._live = deque(message for message in self._live if message not in waiting)
        self._metrics.mqtt_published("dropped", sum(not message.retain for message in waiting))
        topics = await self._retained.erase(participant)
        if self.connected.is_set():
            for topic in topics:
                self._put(_Live(topic, GONE, retain=True, put_s=time.monotonic()))
        with suppress(TimeoutError):
            async with asyncio.timeout(ERASE_S if self.connected.is_set() else 0):
                await self._retained.until_gone(topics)
        return self._retained.still_there(topics)

    # What sessions call

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Retained state of the session."""
        topic = self._topics.status(info.id)
        seq = self._next(topic)
        why = {"purpose": info.purpose, "basis": info.basis}
        status = wire.session_status(info.stamp, time_s, seq, state=state, reason=reason, **why)
        await self._retain(topic, wire.encode(status))

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Readings of everybody, the group's where there are enough, and what happened."""
        readings: list[tuple[str, bytes]] = []
        for reading in second.readings:
            model = self._topics.participant_model(info.id, reading.participant)
            # Without a face no head reads, and the one that did goes on serving.
            heads = self._heads.get(model) if reading.probabilities is None else reading.arms.heads
            if model not in self._retained.topics or heads != self._heads.get(model):
                self._heads[model] = heads or reading.arms.heads
                told = wire.participant_model(
                    reading.participant,
                    info.versions,
                    info.stamp,
                    second.second,
                    self._next(model),
                    heads=self._heads[model],
                )
                await self._retain(model, wire.encode(told))
            topic = self._topics.participant_emotion(info.id, reading.participant)
            emotion = wire.participant_emotion(reading, info.versions, info.stamp, self._next(topic))
            readings.append((topic, wire.encode(emotion)))
        if len(second.group.members) >= info.minimum:
            topic = self._topics.group_emotion(info.id)
            readings.append((topic, wire.encode(wire.group_emotion(second.group, info.stamp, self._next(topic)))))
        await self._readings(readings)
        await self.events(info, second.events)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Commits events to the outbox."""
        if any(event.kind == "session_started" for event in events):
            # Another run of a name counts from 0 again, with another boot, and with other people.
            self._clear(f"{self._topics.status(info.id).removesuffix('status')}participant/")
            self._seq.pop(self._topics.status(info.id), None)
            self._seq.pop(self._topics.group_emotion(info.id), None)
        if self._outbox.n_damaged > self._n_damaged:
            self._n_damaged = self._outbox.n_damaged
            self._metrics.outbox_damaged()
            time_s = events[0].time_s if events else 0.0
            lost = {"n": None, "reason": "damaged", "first_seq": None, "last_seq": None}
            events = [Event("outbox_discarded", time_s, (), lost), *events]
        if events:
            builds = [_builder(event, info) for event in events]
            self._discarded(await self._outbox.put(self._topics.event(info.id), *builds))
            self._work.set()
        for event in events:
            for participant in event.participants:
                self._come_or_gone(event.kind, self._topics.participant(info.id, participant))

    async def _readings(self, readings: Sequence[tuple[str, bytes]]) -> None:
        """Sends them now; without a broker keeps them, or drops and counts them."""
        if self.connected.is_set() and not self._outbox.n_readings:
            for topic, payload in readings:
                self._put(_Live(topic, payload, retain=False, put_s=time.monotonic()))
        elif self._keep or self.connected.is_set():
            # While others of their topic wait they wait too: nothing overtakes.
            self._discarded(await self._outbox.put_readings(readings))
            self._work.set()
        else:
            self._metrics.mqtt_published("dropped", len(readings))

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
        await self._recall()
        while True:
            try:
                await self._connection()
            except aiomqtt.MqttError as error:
                if self.connected.is_set():
                    await self._lost()
                    pauses, lost, ever = waits(), False, True
                elif self._dialler.adapt(error, ever=ever):
                    continue
                elif not ever:
                    late = give_up_s is not None and loop.time() - began >= give_up_s
                    where = f"{self._dialler.where}: {said(error)}"
                    hopeless = f"no broker at {where}; start it, or set mqtt.host and mqtt.port" if late else None
                    if msg := self._dialler.incurable(error) or hopeless:
                        raise PublishError(msg) from error
                if not lost:
                    lost = True
                    log.warning("broker lost", broker=self._dialler.where, error=said(error))
            else:
                return
            self._discarded(await self._outbox.expire())
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_S if self._closing.is_set() else next(pauses)):
                    await (asyncio.sleep(FIRST_S) if self._closing.is_set() else self._closing.wait())

    def close(self) -> None:
        """Lets `run` end as soon as everything is sent."""
        self._closing.set()
        self._work.set()

    async def _recall(self) -> None:
        """Finds out what an earlier process left on the broker."""
        ours = {self._topics.info: GONE, self._topics.availability: GONE}
        if self._home is not None:
            ours[self._home.topic] = self._home.payload()
        self._introduce()
        await self._retained.recall(ours)

    async def _lost(self) -> None:
        """What was on its way when the connection was lost."""
        self.connected.clear()
        self._metrics.reconnect("mqtt")
        readings = [(message.topic, message.payload) for message in self._live if not message.retain]
        self._live.clear()
        if self._keep:
            self._discarded(await self._outbox.put_readings(readings))
        else:
            self._metrics.mqtt_published("dropped", len(readings))

    async def _connection(self) -> None:
        """One connection, from connect to loss or to the end."""
        async with self._dialler.open() as link:
            try:
                async with asyncio.TaskGroup() as tasks:
                    receiving = tasks.create_task(self._incoming.receive(link), name="mqtt receive")
                    try:
                        await self._send(link)
                    except aiomqtt.MqttError:
                        raise
                    except BaseException:
                        # The goodbye of an orderly disconnect makes the broker forget the last will.
                        with suppress(aiomqtt.MqttError, TimeoutError):
                            async with asyncio.timeout(GOODBYE_S):
                                await link.publish(self._topics.availability, b"offline", retain=True, content=PLAIN)
                        raise
                    receiving.cancel()
            except ExceptionGroup as group:
                lost, rest = group.split(aiomqtt.MqttError)
                if lost is None or rest is not None:
                    raise
                error = lost.exceptions[0]
                raise error from group

    async def _send(self, link: Link) -> None:
        """State first, then `online`, then whatever comes, until `close`."""
        sent: dict[str, bytes] = {}
        while open_ones := [(t, p) for t, p in self._retained.state().items() if sent.get(t) != p]:
            for topic, payload in open_ones:
                await self._retained.send(link, topic, payload)
                sent[topic] = payload
            await self._retained.take_up()
        replay = await self._outbox.newest()
        self.connected.set()
        await link.publish(self._topics.availability, b"online", retain=True, content=PLAIN)
        log.info("broker connected", broker=self._dialler.where, protocol=self._dialler.protocol.name)
        self._discarded(await self._outbox.expire())
        while True:
            self._work.clear()
            await self._send_live(link)
            if self._untold:
                # Told once the broker is there again: before, it would only have pushed out more.
                self._untold = False
                await self._outbox.announce(_announcement)
                self._untold = self._untold or self._outbox.is_refused
            waiting = await self._outbox.oldest(limit=BATCH)
            await self._send_waiting(link, waiting, replay)
            self._metrics.outbox(self._outbox.n_waiting)
            if waiting or self._live or (self._untold and not self._outbox.is_refused):
                continue
            if self._closing.is_set():
                if self._home is not None and self._home.remove_on_exit:
                    await link.publish(self._home.topic, GONE, retain=True)
                    await self._outbox.forget(self._home.topic)
                await link.publish(self._topics.availability, b"offline", retain=True, content=PLAIN)
                return
            if not self._outbox.is_refused:
                await self._work.wait()
                continue
            # Nobody says when the disk takes it again.
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._work.wait()
            self._discarded(await self._outbox.retry())

    async def _send_live(self, link: Link) -> None:
        """What is worth something now: once, or not at all."""
        while self._live:
            message = self._live.popleft()
            if not (message.retain or self._keep) and time.monotonic() - message.put_s > self._expiry_s:
                # A machine that is too slow to send all goes on with the present.
                self._metrics.mqtt_published("dropped")
                continue
            try:
                if message.retain:
                    await self._retained.send(link, message.topic, message.payload)
                else:
                    qos = 1 if self._keep else 0
                    await link.publish(message.topic, message.payload, qos=qos, expiry_s=self._expiry_s)
            except BaseException:  # also cancelled, because the other task heard of the loss first
                self._live.appendleft(message)
                raise
            self._metrics.mqtt_published("sent")

    async def _send_waiting(self, link: Link, waiting: Sequence[Waiting], replay: int) -> None:
        """Messages of the outbox, all at once and in order; those that the broker has are deleted.

        What was there before this connection, up to the id `replay`, says that it is late; so do readings, which are
        there only where they could not be sent at once.
        """
        taken: list[Waiting] = []

        async def send(message: Waiting) -> None:
            late = message.id <= replay or message.seq is None
            await link.publish(message.topic, wire.replayed(message.payload) if late else message.payload)
            taken.append(message)

        try:
            answers = await asyncio.gather(*map(send, waiting), return_exceptions=True)
        finally:
            # Also when cancelled, because the other task heard of the loss first: what was acknowledged is not sent again.
            await self._outbox.delete(taken)
            self._metrics.mqtt_published("sent", len(taken))
        for answer in answers:
            if answer is not None:
                raise answer

    # Details

    def _next(self, topic: str) -> int:
        """Sequence number of the next message of a topic in this run."""
        seq = self._seq.get(topic, 0)
        self._seq[topic] = seq + 1
        return seq

    def _discarded(self, n: int) -> None:
        """So many messages were discarded by the outbox's bounds."""
        self._metrics.mqtt_published("discarded", n)
        self._metrics.outbox(self._outbox.n_waiting)
        self._untold = self._untold or n > 0

    def _introduce(self) -> None:
        """Tells Home Assistant what there is, where it is to know."""
        if self._home is not None:
            self._show(self._home.topic, self._home.payload())

    async def _retain(self, topic: str, payload: bytes) -> None:
        """State that every later connection sends again, and that a later process knows of."""
        await self._retained.keep(topic, payload)
        self._show(topic, payload)

    def _show(self, topic: str, payload: bytes) -> None:
        """Retained state, for now and for every later connection."""
        self._retained.topics[topic] = payload
        if self.connected.is_set():
            self._put(_Live(topic, payload, retain=True, put_s=time.monotonic()))

    def _drop(self, is_over: Callable[[str], bool]) -> None:
        """Forgets what is remembered of such topics."""
        known: tuple[dict[str, Any], ...] = (self._seq, self._heads, self._left)
        for topics in known:
            for topic in [topic for topic in topics if is_over(topic)]:
                del topics[topic]

    def _come_or_gone(self, kind: str, prefix: str) -> None:
        """Lets the topics of who left long ago end, for in a call that goes on for days ever more people were there."""
        if kind == "participant_joined":
            self._left.pop(prefix, None)
        elif kind == "participant_left":
            self._left[prefix] = None
            if len(self._left) > LEFT_MAX:
                self._clear(next(iter(self._left)))

    def _clear(self, prefix: str) -> None:
        """Takes the retained state of these topics from the broker; they count from 0 again."""
        self._drop(lambda topic: topic.startswith(prefix))
        for topic in self._retained.clear(prefix):
            if self.connected.is_set():
                self._put(_Live(topic, GONE, retain=True, put_s=time.monotonic()))

    def _put(self, message: _Live) -> None:
        """A message for a broker that is there; where too many wait, the oldest reading is dropped and counted."""
        if len(self._live) >= LIVE_MAX:
            oldest = next((i for i, waiting in enumerate(self._live) if not waiting.retain), 0)
            del self._live[oldest]
            self._metrics.mqtt_published("dropped")
        self._live.append(message)
        self._work.set()


def _builder(event: Event, info: SessionInfo) -> Callable[[int], bytes]:
    """Makes the payload of an event once its `seq` is known."""
    return lambda seq: wire.encode(wire.event(event, info.stamp, seq))


def _announcement(what: Discarded, seq: int) -> bytes:
    """Makes the payload of the event that says what was discarded."""
    last = json.loads(what.example)
    return wire.encode(wire.outbox_discarded(last, what.reason, what.n, (what.first, what.last), seq))
