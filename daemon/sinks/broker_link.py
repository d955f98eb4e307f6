"""How the broker is reached: MQTT 5 where it has that, 3.1.1 where not, over TLS where it is set."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import structlog
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from config.sections import LOOPBACK
from daemon.errors import UnusableInputError

log = structlog.get_logger()

REFUSED = frozenset({4, 5, 134, 135, 138, 140})
"""CONNACK codes that no waiting will cure: bad credentials, not authorised, banned (MQTT 3.1.1 and 5)."""
WRONG_VERSION = frozenset({1, 132})
HANDSHAKE_S = 3.0
ANSWER_S = 10.0
GOODBYE_S = 0.5
INCOMING_MAX = 1000
JSON, PLAIN = "application/json", "text/plain"


def tls_context(
    *, ca_file: Path | None, cert_file: Path | None, key_file: Path | None, verify_host: bool
) -> ssl.SSLContext:
    """What the broker's certificate is checked with, and ours shown with.

    Args:
        ca_file: Certificates in PEM that the broker's must come from; None: the system's.
        cert_file: Our own certificate, with its chain; None: we have none.
        key_file: Its key, without a password; None: it is in `cert_file`.
        verify_host: Whether the certificate must be for the name that we connect to.

    Raises:
        UnusableInputError: A file cannot be read, or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # SSLError is one
        msg = f"mqtt.ca_file {ca_file}: cannot be used ({error}); it holds certificates in PEM"
        raise UnusableInputError(msg) from error
    context.check_hostname = verify_host
    if cert_file is not None:
        try:
            # Without a password given, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            msg = (
                f"mqtt.cert_file {cert_file} with mqtt.key_file {key_file}: cannot be used ({error}); give a certificate "
                f"and its key in PEM, the key without a password"
            )
            raise UnusableInputError(msg) from error
    return context


class Link:
    """One connection; messages are dressed with what its protocol has."""

    def __init__(self, client: aiomqtt.Client, protocol: ProtocolVersion) -> None:
        self.client = client
        self.expires = protocol is ProtocolVersion.V5
        """Whether the broker drops messages by itself when their time is over."""

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        content: str = JSON,
    ) -> None:
        """Publishes, and returns when the broker has it (QoS 1) or it is on its way (QoS 0).

        Raises:
            aiomqtt.MqttError: The connection is lost.
        """
        properties = None
        if self.expires and payload:
            properties = _dressed(PacketTypes.PUBLISH, content)
            if expiry_s is not None:
                properties.MessageExpiryInterval = expiry_s
        await self.client.publish(topic, payload, qos=qos, retain=retain, properties=properties)


@dataclass(slots=True)
class Dialler:
    """Opens connections to one broker, and finds out which protocol it speaks.

    tls: None is no TLS; identifier: the client's, ours alone; will: topic that says `offline` when we are gone.
    """

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    keepalive_s: int
    identifier: str
    will: str
    protocol: ProtocolVersion

    def __post_init__(self) -> None:
        if self.password is not None and self.tls is None and self.host not in LOOPBACK:
            log.warning("mqtt.password goes to the broker in the clear; set mqtt.tls", host=self.host)

    @property
    def where(self) -> str:
        """Address for messages."""
        return f"{self.host}:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Link]:
        """A connection while the context lasts.

        Raises:
            aiomqtt.MqttError: There is none, or it was lost.
        """
        is_5 = self.protocol is ProtocolVersion.V5
        will = aiomqtt.Will(
            self.will,
            b"offline",
            qos=1,
            retain=True,
            properties=_dressed(PacketTypes.WILLMESSAGE, PLAIN) if is_5 else None,
        )
        client = aiomqtt.Client(
            self.host,
            self.port,
            # A password alone goes with an empty name: MQTT 3.1.1 has none without one.
            username="" if self.username is None and self.password is not None else self.username,
            password=self.password,
            identifier=self.identifier,
            protocol=self.protocol,
            will=will,
            keepalive=self.keepalive_s,
            tls_context=self.tls,
            # A broker without MQTT 5 may leave us without an answer; that must not take long.
            timeout=HANDSHAKE_S if is_5 else ANSWER_S,
            max_queued_incoming_messages=INCOMING_MAX,
        )
        try:
            async with client:
                client.timeout = ANSWER_S
                try:
                    yield Link(client, self.protocol)
                finally:
                    # A broker that does not answer is not waited for when we go.
                    client.timeout = GOODBYE_S
        finally:
            # Cut off while it connects, aiomqtt leaves the reason in a future that nobody asks, and asyncio complains.
            why = client._disconnected  # noqa: SLF001
            if why.done() and not why.cancelled():
                why.exception()

    def adapt(self, error: aiomqtt.MqttError, *, ever: bool) -> bool:
        """Goes over to the other protocol where this one seems not to be spoken; whether to try it at once.

        Args:
            error: Why there is no connection.
            ever: Whether there was one before; silence is then an outage and no answer.
        """
        if code_of(error) not in WRONG_VERSION and (ever or str(error) != "Operation timed out"):
            return False
        was_5 = self.protocol is ProtocolVersion.V5
        self.protocol = ProtocolVersion.V311 if was_5 else ProtocolVersion.V5
        return was_5

    def incurable(self, error: aiomqtt.MqttError) -> str | None:
        """What to do about a refusal that does not pass, in one line; None for what may."""
        if code_of(error) in REFUSED:
            return f"broker {self.where} refuses: {said(error)}; check mqtt.username and mqtt.password"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"broker {self.where} is not trusted: {said(error)}; check mqtt.ca_file and mqtt.host"
        return None


def code_of(error: aiomqtt.MqttError) -> int | None:
    """The reason code of a refused connection."""
    if not isinstance(error, aiomqtt.MqttCodeError) or error.rc is None:
        return None
    return error.rc if isinstance(error.rc, int) else int(error.rc.value)


def said(error: aiomqtt.MqttError) -> str:
    """What the broker or the system said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _dressed(kind: int, content: str) -> Properties:
    """MQTT 5 properties that say what a payload is: text, of this content type."""
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    properties.ContentType = content
    properties.PayloadFormatIndicator = 1
    return properties
