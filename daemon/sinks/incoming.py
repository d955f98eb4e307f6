"""What others publish for attuned: consent, corrections, and the birth of Home Assistant."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiomqtt
import structlog

from config.sections import PSEUDONYM
from daemon.sinks.broker_link import Link
from daemon.sinks.home_assistant import HomeAssistant
from pipeline import wire

log = structlog.get_logger()

LABEL_MAX = 1024
"""Bytes of a correction."""

ConsentHandler = Callable[[str, str, bool], Awaitable[None]]
LabelHandler = Callable[[str, str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Incoming:
    """Hears what is for us, and nothing else: some brokers send more than was asked for.

    Args:
        topics: Names of the topics.
        on_consent: Is told what arrives on `consent/set`: session, participant, granted.
        on_label: Is told what arrives on `label/set`: session, participant, what stands there; None: nobody listens.
        home: Whose birth is waited for; None: nobody's.
        on_birth: Is called when Home Assistant came online.
    """

    topics: wire.Topics
    on_consent: ConsentHandler
    on_label: LabelHandler | None
    home: HomeAssistant | None
    on_birth: Callable[[], None]

    async def receive(self, link: Link) -> None:
        """Until the connection is lost."""
        filters = [self.topics.consent_filter()]
        if self.on_label is not None:
            filters.append(self.topics.label_filter())
        if self.home is not None:
            filters.append(self.home.birth)
        for wanted in filters:
            await link.client.subscribe(wanted, qos=1)
        async for message in link.client.messages:
            await self._take(message)

    async def _take(self, message: aiomqtt.Message) -> None:
        topic, payload = str(message.topic), message.payload
        if self.home is not None and topic == self.home.birth:
            if payload == b"online" and not message.retain:
                self.on_birth()
        elif self.on_label is not None and topic.endswith("/label/set"):
            named = self.topics.parse_label(topic)
            # A retained one would be said again at every connection, of another second.
            fits = len(payload) <= LABEL_MAX and not message.retain
            if named is None or not re.fullmatch(PSEUDONYM, named[1]) or not fits:
                log.warning("label message refused", expected="label/set of a participant, not retained")
                return
            await self.on_label(*named, payload.decode(errors="replace"))
        elif topic.endswith("/consent/set"):
            known = self.topics.parse_consent(topic)
            answer = payload.decode(errors="replace")
            if known is None or not re.fullmatch(PSEUDONYM, known[1]) or answer not in {"granted", "denied"}:
                log.warning("consent message refused", expected="granted | denied")
                return
            await self.on_consent(*known, answer == "granted")
