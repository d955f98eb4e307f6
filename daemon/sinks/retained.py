"""What stands on the broker until something else does, also after the process that put it there."""

import asyncio
import json
from collections.abc import Collection, Mapping

import structlog

from daemon.sinks.broker_link import Link
from daemon.sinks.outbox import Outbox
from pipeline import wire

log = structlog.get_logger()

GONE = b""
"""An empty retained message takes a retained message away."""
LAST_WORD_S = 1
"""With MQTT 5 it goes by itself instead, after a last message that everybody can read."""
GONE_MAX = 10_000
"""Topics that must go, in memory; the oldest beyond them are known to the outbox alone until others went."""


class Retained:
    """Retained topics of this process, and those that must go.

    Args:
        outbox: Remembers them for the next process.
        topics: Names of the topics.
        limit: So many that must go are in memory.
    """

    def __init__(self, outbox: Outbox, topics: wire.Topics, *, limit: int = GONE_MAX) -> None:
        self._outbox = outbox
        self._limit = limit
        self._root = f"{topics.root}/"
        self.topics: dict[str, bytes] = {}
        """What every connection begins with."""
        self._went = asyncio.Event()
        self._gone: dict[str, bytes] = {}
        """What must be taken from the broker, and what was there; empty where that is no JSON."""
        self._ours: Collection[str] = ()
        self._is_more = False
        """Whether the outbox remembers more that must go."""

    async def recall(self, ours: Mapping[str, bytes]) -> None:
        """Sets right what an earlier process left: what is over must go, a session that was cut off has failed.

        Args:
            ours: Topics that this process has in any case, and what to remember of them.
        """
        self._ours = frozenset(ours)
        for topic, payload in (await self._outbox.remembered()).items():
            if topic in ours or topic in self.topics:
                continue
            cut_off = wire.stopped_status(json.loads(payload)) if topic.endswith("/status") and payload else None
            if cut_off is None:
                self._must_go(topic, payload)
            else:
                self.topics[topic] = wire.encode(cut_off)
                await self.keep(topic, self.topics[topic])
        for topic, payload in ours.items():
            await self._outbox.remember(topic, payload)

    async def keep(self, topic: str, payload: bytes) -> None:
        """Lets a later process know of a topic before it is on the broker."""
        await self._outbox.remember(topic, payload)
        self._gone.pop(topic, None)

    def clear(self, prefix: str) -> list[str]:
        """Topics that begin so must go; those that were there."""
        found = [topic for topic in self.topics if topic.startswith(prefix)]
        for topic in found:
            self._must_go(topic, self.topics.pop(topic))
        return found

    async def erase(self, participant: str) -> list[str]:
        """Topics of a participant must go, also those that an earlier process left, without a last word; those.

        Nothing of a payload is remembered; a topic must be, until it is gone.
        """
        part = f"/participant/{participant}/"
        found = [t for t in {**self.topics, **self._gone, **await self._outbox.remembered()} if part in t]
        for topic in found:
            self.topics.pop(topic, None)
            self._must_go(topic, GONE)
            await self._outbox.remember(topic, GONE)
        return found

    async def take_up(self) -> None:
        """What only the outbox knew of goes as well, as far as there is room."""
        if not self._is_more:
            return
        self._is_more = False
        for topic, payload in (await self._outbox.remembered()).items():
            if topic in self._ours or topic in self.topics or topic in self._gone:
                continue
            if len(self._gone) >= self._limit:
                self._is_more = True
                return
            self._must_go(topic, payload)

    def _must_go(self, topic: str, payload: bytes) -> None:
        """Whatever was there; of what is not ours, such as of Home Assistant, nobody expects a last word."""
        if topic not in self._gone and len(self._gone) >= self._limit:
            if not self._is_more:
                log.warning("the broker is to forget many topics; they wait on disk", limit=self._limit)
            del self._gone[next(iter(self._gone))]
            self._is_more = True
        self._gone[topic] = payload if topic.startswith(self._root) else GONE

    def still_there(self, topics: Collection[str]) -> int:
        """How many of these have not been taken from the broker yet."""
        return sum(topic in self._gone for topic in topics)

    async def until_gone(self, topics: Collection[str]) -> None:
        """Returns when the broker has none of these any more."""
        while self.still_there(topics):
            self._went.clear()
            await self._went.wait()

    def state(self) -> dict[str, bytes]:
        """Everything that a connection begins with, by topic; `GONE` for what must go."""
        return dict.fromkeys(self._gone, GONE) | self.topics

    async def send(self, link: Link, topic: str, payload: bytes) -> None:
        """A retained message, or its end; what is there again meanwhile does not end."""
        if payload != GONE:
            await link.publish(topic, payload, retain=True)
        elif (last := self._gone.get(topic)) is not None:
            if last and link.expires:
                await link.publish(topic, wire.cleared(last), retain=True, expiry_s=LAST_WORD_S)
            else:
                await link.publish(topic, GONE, retain=True)
            if self._gone.pop(topic, None) is not None:
                await self._outbox.forget(topic)
                self._went.set()
