"""Home Assistant's discovery."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from jinja2 import Environment
from jsonschema import Draft7Validator
from prometheus_client import CollectorRegistry
from videos import run

from daemon.broker import PROTOCOL, embedded_broker, free_port
from daemon.sinks.home_assistant import HomeAssistant
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from pipeline import wire

TOPICS = wire.Topics("lab")
TOPIC = "homeassistant/device/attuned_lab/config"
TEXT = {"type": "string", "minLength": 1}
SENSOR = {
    "type": "object",
    "required": ["platform", "unique_id", "name", "state_topic", "value_template", "availability_topic"],
    "properties": {
        "platform": {"const": "sensor"},
        "unique_id": TEXT,
        "name": TEXT,
        "icon": {"type": "string", "pattern": "^mdi:"},
        "state_topic": {"type": "string", "pattern": "^attuned/lab/session/[^/]+/group/emotion$"},
        "value_template": {"type": "string", "pattern": "value_json"},
        "availability_topic": {"const": "attuned/lab/availability"},
        "expire_after": {"type": "integer", "minimum": 2},
        "device_class": {"const": "enum"},
        "options": {"type": "array", "minItems": 2, "items": TEXT},
        "state_class": {"const": "measurement"},
        "unit_of_measurement": {"const": "%"},
        "json_attributes_topic": TEXT,
        "json_attributes_template": TEXT,
    },
    "additionalProperties": False,
    # Home Assistant refuses options without the class, and a class of words that is measured.
    "dependencies": {"options": ["device_class"], "device_class": {"not": {"required": ["state_class"]}}},
}
DISCOVERY = {
    "type": "object",
    "required": ["device", "origin", "components"],
    "properties": {
        "device": {
            "type": "object",
            "required": ["identifiers", "name"],
            "properties": {"identifiers": {"type": "array", "items": TEXT, "minItems": 1}, "name": TEXT},
        },
        "origin": {"type": "object", "required": ["name"]},
        "qos": {"enum": [0, 1, 2]},
        "components": {
            "type": "object",
            "required": ["availability"],
            "properties": {
                "availability": {
                    "type": "object",
                    "required": ["platform", "unique_id", "name", "state_topic", "payload_on", "payload_off"],
                    "properties": {
                        "platform": {"const": "binary_sensor"},
                        "device_class": {"const": "connectivity"},
                        "state_topic": {"const": "attuned/lab/availability"},
                    },
                    "not": {"required": ["availability_topic"]},
                }
            },
            "propertyNames": {"pattern": "^[a-z][A-Za-z0-9_-]*$"},
            "additionalProperties": SENSOR,
        },
    },
    "additionalProperties": False,
}


def message(sessions: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is announced."""
    told: dict[str, Any] = json.loads(HomeAssistant(TOPICS, "0.1.0", sessions=sessions).payload())
    return told


@pytest.mark.parametrize("sessions", [(), ("monday",), ("monday", "a.b-c")])
def test_the_message_is_what_home_assistant_asks_for(sessions: tuple[str, ...]) -> None:
    """Device, origin, a binary sensor, and four sensors for each session, every id once."""
    told = message(sessions)
    errors = [f"{e.json_path}: {e.message}" for e in Draft7Validator(DISCOVERY).iter_errors(told)]
    assert errors == []
    components = told["components"]
    assert len(components) == 1 + 4 * max(1, len(sessions))
    assert len({component["unique_id"] for component in components.values()}) == len(components)
    assert {c["state_topic"] for c in components.values() if c["platform"] == "sensor"} == {
        TOPICS.group_emotion(session) for session in sessions or ("+",)
    }


GROUP = {
    "session": "s",
    "members": ["p-00000001", "p-00000002", "p-00000003"],
    "probabilities": {"anger": 0.05, "happiness": 0.4, "neutral": 0.55},
    "dominant": ["happiness", "neutral"],
    "type": "synchronous",
    "synchrony": 0.256,
}


@pytest.mark.parametrize(
    ("sensor", "changed", "expected"),
    [
        ("group_emotion", {}, "neutral"),
        ("group_emotion", {"dominant": []}, "mixed"),
        ("group_emotion", {"dominant": [], "probabilities": None}, "None"),
        ("group_type", {}, "synchronous"),
        ("group_type", {"type": None}, "None"),
        ("synchrony", {}, "26.0"),
        ("synchrony", {"synchrony": None}, "None"),
        ("participants", {}, "3"),
    ],
)
def test_templates_say_what_a_reading_says(sensor: str, changed: dict[str, Any], expected: str) -> None:
    """Rendered as Home Assistant does; it takes the word None for unknown."""
    template = Environment(autoescape=False).from_string(message()["components"][sensor]["value_template"])  # noqa: S701
    state = template.render(value_json=GROUP | changed)
    assert state == expected
    options = message()["components"][sensor].get("options")
    assert options is None or state == "None" or state in options


def test_attributes_are_json() -> None:
    """The session and the distribution stand beside the state."""
    text = message()["components"]["group_emotion"]["json_attributes_template"]
    environment = Environment(autoescape=False)  # noqa: S701 (no page)
    environment.filters["tojson"] = json.dumps  # Home Assistant's own is plain JSON too
    attributes = json.loads(environment.from_string(text).render(value_json=GROUP))
    assert attributes == {key: GROUP[key] for key in ("session", "dominant", "probabilities")}


def make(port: int, outbox: Outbox, home: HomeAssistant | None) -> MqttSink:
    """A sink for a broker on that port."""

    async def ignore(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001
        """Nobody is asked here."""

    return MqttSink(
        host="127.0.0.1",
        port=port,
        topics=TOPICS,
        outbox=outbox,
        metrics=Metrics(registry=CollectorRegistry(), version="1", models={}),
        on_consent=ignore,
        home_assistant=home,
        protocol=PROTOCOL,
    )


async def retained(port: int) -> list[bytes]:
    """What Home Assistant finds when it starts."""
    found = {}
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("homeassistant/#")
        try:
            async with asyncio.timeout(0.5):
                async for message in client.messages:
                    # The embedded broker sends newcomers every retained message there is, some of them twice.
                    if str(message.topic).startswith("homeassistant/"):
                        found[str(message.topic)] = message.payload
        except TimeoutError:
            return [payload for payload in found.values() if payload]
    raise AssertionError


def test_it_comes_again_with_home_assistant_and_goes_when_switched_off(tmp_path: Path) -> None:
    """Announced before `online`, sent again at Home Assistant's birth, left at a stop, gone once it is off."""
    home = HomeAssistant(TOPICS, "0.1.0")

    async def main() -> tuple[list[tuple[str, bytes]], list[bytes], list[bytes]]:
        async with embedded_broker("127.0.0.1", free_port("127.0.0.1", 25000)) as port:
            heard: list[tuple[str, bytes]] = []
            async with (
                Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
                aiomqtt.Client("127.0.0.1", port) as listener,
            ):
                await listener.subscribe([("homeassistant/device/#", 1), ("attuned/+/availability", 1)])
                sink = make(port, outbox, home)
                task = asyncio.create_task(sink.run())
                async with asyncio.timeout(10):
                    async for message in listener.messages:
                        heard.append((str(message.topic), message.payload))
                        if len(heard) == 2:
                            await listener.publish("homeassistant/status", b"online", qos=1)
                        if len(heard) == 3:
                            break
                sink.close()
                await task
            left = await retained(port)
            async with Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox:
                sink = make(port, outbox, None)
                task = asyncio.create_task(sink.run())
                await sink.connected.wait()
                sink.close()
                await task
            return heard, left, await retained(port)

    heard, left, after = run(main())
    announced = (TOPIC, home.payload())
    assert heard == [announced, ("attuned/lab/availability", b"online"), announced]
    assert left == [home.payload()]
    assert after == []


def test_it_goes_with_attuned_where_that_is_configured(tmp_path: Path) -> None:
    """An orderly end leaves nothing behind."""

    async def main() -> tuple[list[bytes], list[bytes]]:
        async with (
            embedded_broker("127.0.0.1", free_port("127.0.0.1", 25100)) as port,
            Outbox(tmp_path / "o.sqlite", max_messages=9) as outbox,
        ):
            sink = make(port, outbox, HomeAssistant(TOPICS, "0.1.0", remove_on_exit=True))
            task = asyncio.create_task(sink.run())
            await sink.connected.wait()
            during = await retained(port)
            sink.close()
            await task
            return during, await retained(port)

    during, after = run(main())
    assert len(during) == 1
    assert after == []
