"""What others may copy: the flow for Node-RED and the automations for Home Assistant fit what is published."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from contract import Contract, resolve
from jinja2 import Environment

from pipeline import wire
from pipeline.types import Event

DOCS = Path(__file__).parents[2] / "docs"
FLOW: list[dict[str, Any]] = json.loads((DOCS / "node-red" / "attuned.json").read_text())
NODES = {node["id"]: node for node in FLOW}
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((DOCS / "home-assistant" / "attuned.yaml").read_text())["automation"]
STAMP = wire.Stamp("monday", "boot")


def properties(topic: str) -> set[str]:
    """Keys of what is published on a topic; wildcards stand for anything. Of events, those of all kinds."""
    document = Contract().document
    example = topic.replace("+", "x")
    for channel in document["channels"].values():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(channel["address"])), example):
            schemas = [
                resolve(document, resolve(document, message)["payload"]) for message in channel["messages"].values()
            ]
            return {key for schema in schemas for key in schema.get("properties", {})}
    msg = f"nothing is published on {topic}"
    raise AssertionError(msg)


def upstream(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a node's messages come from."""
    sources = [n for n in FLOW if any(node["id"] in out for out in n.get("wires", []))]
    return [node] if node["type"] == "mqtt in" else [origin for source in sources for origin in upstream(source)]


def test_the_flow_can_be_imported() -> None:
    """Ids are unique, wires lead to nodes of the flow, every node is on the tab, and outputs have as many wires."""
    assert len(NODES) == len(FLOW)
    [tab] = [node["id"] for node in FLOW if node["type"] == "tab"]
    for node in FLOW:
        if node["type"] in {"tab", "mqtt-broker"}:
            continue
        assert node["z"] == tab
        assert {"x", "y", "name", "wires"} <= set(node)
        assert all(target in NODES for out in node["wires"] for target in out)
        assert node.get("outputs", len(node["wires"])) == len(node["wires"])
        if node["type"] == "switch":
            assert len(node["rules"]) == node["outputs"]
        assert upstream(node), f"{node['name']} hears nothing"
    assert {node["type"] for node in FLOW} == {"tab", "mqtt-broker", "mqtt in", "switch", "change", "debug"}


def test_the_flow_listens_to_what_is_published() -> None:
    """Topics are channels of the contract, and every field that is looked at is in the messages of its topic."""
    [broker] = [node for node in FLOW if node["type"] == "mqtt-broker"]
    listeners = [node for node in FLOW if node["type"] == "mqtt in"]
    assert len(listeners) == 2
    assert {node["broker"] for node in listeners} == {broker["id"]}
    for node in FLOW:
        asked = set(re.findall(r"payload\.(\w+)", json.dumps(node)))
        for origin in upstream(node) if asked else []:
            assert asked <= properties(origin["topic"]), f"{node['name']}: {asked}"
    kinds = {rule["v"] for node in FLOW if node.get("property") == "payload.kind" for rule in node["rules"]}
    assert kinds <= set(wire.EVENT_KINDS)


def render(template: str, payload: dict[str, Any]) -> str:
    """As Home Assistant renders it for an MQTT trigger."""
    trigger = {"payload_json": payload}
    return str(Environment(autoescape=True).from_string(template).render(trigger=trigger, value_json=payload))


def test_the_automations_fire_on_what_is_published() -> None:
    """The topic exists, the trigger takes the event, the condition tells types apart, and the message is filled in."""
    together, away = AUTOMATIONS
    [trigger] = together["triggers"]
    assert {"kind", "to", "session"} <= properties(trigger["topic"])
    told = [
        wire.event(Event("group_type_changed", 3.0, (), {"from": "engaged", "to": to}), STAMP, 0)
        for to in ("synchronous", "unengaged")
    ]
    assert [render(trigger["value_template"], payload) for payload in told] == [trigger["payload"]] * 2
    [condition] = together["conditions"]
    assert [render(condition["value_template"], payload) for payload in told] == ["True", "False"]
    message = together["actions"][0]["data"]["message"]
    assert render(message, told[0]) == "The group of monday is synchronous now."
    [trigger] = away["triggers"]
    assert Contract().complaints(trigger["topic"], trigger["payload"].encode()) == []
