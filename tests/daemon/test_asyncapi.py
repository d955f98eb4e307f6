"""The AsyncAPI document."""

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from contract import DOCUMENT, Contract, resolve
from prometheus_client import CollectorRegistry
from videos import run

from daemon.asyncapi import asyncapi_yaml, document
from daemon.broker import free_port
from daemon.http import make_app, serve
from pipeline import wire
from pipeline.types import Event

STAMP = wire.Stamp("s", "b")
TOPIC = "attuned/lab/session/s/event"
CHANGE = {"scope": "individual", "from": "neutral", "to": "fear", "distance": 0.5}


def references(node: object) -> Iterator[str]:
    """Every reference in a document."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_document_in_the_repository_is_current() -> None:
    """Made anew it is the same: `python -m daemon.asyncapi > docs/asyncapi.yaml`."""
    assert asyncapi_yaml() == DOCUMENT.read_text(encoding="utf-8"), (
        "run: python -m daemon.asyncapi > docs/asyncapi.yaml"
    )


def test_it_is_asyncapi_3() -> None:
    """What version 3 requires is there, every reference leads somewhere, and every address names its parameters."""
    made = document()
    assert made["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(made["info"])
    for server in made["servers"].values():
        assert {"host", "protocol"} <= set(server)
    found = list(references(made))
    assert found
    for reference in found:
        assert resolve(made, {"$ref": reference})
    for channel in made["channels"].values():
        assert channel["messages"]
        assert {f"{{{name}}}" for name in channel.get("parameters", {})} == {
            part if part.startswith("{") else f"{{{part.partition('{')[2]}"
            for part in channel["address"].split("/")
            if "{" in part
        }
    for operation in made["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in made["channels"]
    used = {reference.rpartition("/")[2] for reference in found}
    assert set(made["components"]["schemas"]) <= used


def test_a_node_has_a_document_of_its_own() -> None:
    """Its root, its name and its broker stand in it."""
    made = document(wire.Topics("lab", "rooms"), broker="broker.example:8883")
    assert made["channels"]["event"]["address"] == "rooms/lab/session/{session}/event"
    assert made["servers"]["broker"]["host"] == "broker.example:8883"
    assert "node" not in made["channels"]["availability"].get("parameters", {})


@pytest.mark.parametrize(
    ("topic", "payload", "part"),
    [
        (TOPIC, wire.event(Event("change", 1.0, ("p-00000001",), CHANGE), STAMP, 0) | {"to": "joy"}, "$.to"),
        (TOPIC, wire.event(Event("change", 1.0, ("Anna",), CHANGE), STAMP, 0), "$.participants[0]"),
        (TOPIC, wire.event(Event("change", 1.0), STAMP, 0), "scope"),
        (TOPIC, wire.event(Event("change", 1.0, (), CHANGE), STAMP, 0) | {"kind": "party"}, "no message event_party"),
        ("attuned/lab/session/s/events", {}, "no such channel"),
        (
            "attuned/lab/session/s/status",
            wire.session_status(STAMP, 0, 0, state="off", reason=None, purpose="demo"),
            "$.state",
        ),
    ],
    ids=["value", "name", "missing", "kind", "topic", "status"],
)
def test_a_wrong_message_is_caught(topic: str, payload: dict[str, Any], part: str) -> None:
    """Whatever is wrong, it is said where."""
    complaints = Contract().complaints(topic, wire.encode(payload))
    assert complaints
    assert part in " ".join(complaints)


def test_words_are_checked_too() -> None:
    """Availability and consent are no JSON."""
    contract = Contract()
    assert contract.complaints("attuned/lab/availability", b"online") == []
    assert contract.complaints("attuned/lab/availability", b"away") != []
    assert contract.complaints("attuned/lab/session/s/participant/p-00000001/consent/set", b"maybe") != []


def test_it_is_served() -> None:
    """At /asyncapi.yaml, as YAML, for this node."""
    port = free_port("127.0.0.1", 27500)

    def get() -> tuple[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/asyncapi.yaml", timeout=5) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    async def main(text: str | None) -> tuple[str, str]:
        async with serve(make_app(CollectorRegistry(), list, asyncapi=text), "127.0.0.1", port):
            return await asyncio.to_thread(get)

    kind, served = run(main(asyncapi_yaml(wire.Topics("lab"))))
    assert kind == "application/yaml"
    assert yaml.safe_load(served) == document(wire.Topics("lab"))
    assert yaml.safe_load(run(main(None))[1]) == document()
