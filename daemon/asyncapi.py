"""The contract as an AsyncAPI 3 document, from `pipeline.schemas`: `python -m daemon.asyncapi > docs/asyncapi.yaml`."""

import sys
from collections.abc import Mapping
from typing import Any

import yaml

from pipeline import wire
from pipeline.emotions import EMOTIONS
from pipeline.schemas import PARTICIPANT, schemas

VERSION = "1.0.0"
"""Of the contract. The payloads have their own, in `schema`."""
NAME = "[A-Za-z0-9_.-]{1,64}"

LABEL: dict[str, Any] = {
    "oneOf": [
        {"description": "the last second", "enum": list(EMOTIONS)},
        {
            "description": "seconds of the session's readings, both included",
            "type": "object",
            "required": ["emotion"],
            "additionalProperties": False,
            "properties": {
                "emotion": {"enum": list(EMOTIONS)},
                "from": {"type": "integer", "minimum": 0},
                "to": {"type": "integer", "minimum": 0},
            },
        },
    ]
}

ABOUT = """\
What attuned publishes on MQTT, and the little that it listens to.

Payloads are JSON but for availability and consent, and a label may be a bare word. `seq` is counted per topic; a gap
is a loss, a repetition a duplicate. Events are delivered at least once and in order; what waited for the broker says `replayed: true`. Readings
are live: QoS 0, dropped while there is no broker unless `outbox.readings` is `keep`; with MQTT 5 they expire.

Retained topics of what is over are taken from the broker when attuned starts again, or when it forgets a session:
with MQTT 5 by a last message that says `cleared: true` and expires after a second, else by an empty one.

What is said are apparent expressions, with confidence and abstain, not what anybody feels.
"""


class _Plain(yaml.SafeDumper):
    """Writes what is used twice twice: anchors are hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (the overridden signature)
        """Always."""
        return True


_Plain.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def document(topics: wire.Topics | None = None, *, broker: str = "127.0.0.1:1883") -> dict[str, Any]:
    """The document, for one node or for every node.

    Args:
        topics: Of the node; None: of any, with the default root.
        broker: Its address, `host:port`.
    """
    known = schemas()
    named = topics or wire.Topics("{node}")
    events = [name for name in known if name.startswith("event_")]
    channels = {
        "availability": _channel(named.availability, ["availability"], "whether the node is there; the last will"),
        "nodeInfo": _channel(named.info, ["nodeInfo"], "what runs on the node"),
        "sessionStatus": _channel(named.status("{session}"), ["sessionStatus"], "the state of a session"),
        "participantEmotion": _channel(
            named.participant_emotion("{session}", "{participant}"),
            ["participantEmotion"],
            "each participant, every second",
        ),
        "participantModel": _channel(
            named.participant_model("{session}", "{participant}"), ["participantModel"], "which heads read whom"
        ),
        "groupEmotion": _channel(
            named.group_emotion("{session}"), ["groupEmotion"], "the group, every second, from two members on"
        ),
        "event": _channel(named.event("{session}"), events, "what happened"),
        "consent": _channel(
            named.consent("{session}", "{participant}"), ["consent"], "whether a participant may be read"
        ),
        "label": _channel(
            named.label("{session}", "{participant}"), ["label"], "what a participant really expressed; not retained"
        ),
        "homeAssistant": _channel(
            f"homeassistant/device/attuned_{named.node}/config",
            ["homeAssistant"],
            "discovery; only with home_assistant.enabled",
        ),
    }
    operations = {
        "publishAvailability": _operation("availability", "send", qos=1, retain=True),
        "publishNodeInfo": _operation("nodeInfo", "send", qos=1, retain=True),
        "publishSessionStatus": _operation("sessionStatus", "send", qos=1, retain=True),
        "publishParticipantEmotion": _operation("participantEmotion", "send", qos=0, retain=False),
        "publishParticipantModel": _operation("participantModel", "send", qos=1, retain=True),
        "publishGroupEmotion": _operation("groupEmotion", "send", qos=0, retain=False),
        "publishEvent": _operation("event", "send", qos=1, retain=False),
        "publishHomeAssistant": _operation("homeAssistant", "send", qos=1, retain=True),
        "receiveConsent": _operation("consent", "receive", qos=1, retain=False),
        "receiveLabel": _operation("label", "receive", qos=1, retain=False),
    }
    messages = {name: _message(name, {"$ref": f"#/components/schemas/{name}"}) for name in known}
    messages |= {
        "availability": _message("availability", {"enum": ["online", "offline"]}, "text/plain"),
        "consent": _message("consent", {"enum": ["granted", "denied"]}, "text/plain"),
        "label": _message("label", LABEL),
        "homeAssistant": _message("homeAssistant", {"type": "object", "required": ["device", "origin", "components"]}),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "attuned", "version": VERSION, "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": broker,
                "protocol": "mqtt",
                "description": "MQTT 5 where the broker has it, else 3.1.1; the embedded broker speaks 3.1.1",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"parameters": _parameters(), "messages": messages, "schemas": known},
    }


def asyncapi_yaml(topics: wire.Topics | None = None, *, broker: str = "127.0.0.1:1883") -> str:
    """The document as YAML."""
    return yaml.dump(document(topics, broker=broker), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


def _parameters() -> dict[str, Any]:
    """What stands in braces in addresses."""
    return {
        "node": {"description": "`node` of the configuration"},
        "session": {"description": f"name or id of a session: {NAME}"},
        "participant": {"description": f"a pseudonym: {PARTICIPANT['pattern']}"},
    }


def _channel(address: str, messages: list[str], description: str) -> dict[str, Any]:
    """A topic and what is published on it."""
    parameters = [name for name in _parameters() if f"{{{name}}}" in address]
    channel: dict[str, Any] = {"address": address, "description": description}
    channel["messages"] = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    if parameters:
        channel["parameters"] = {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters}
    return channel


def _operation(channel: str, action: str, *, qos: int, retain: bool) -> dict[str, Any]:
    """What attuned does with a topic."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
    }


def _message(name: str, payload: Mapping[str, Any], content: str = "application/json") -> dict[str, Any]:
    """A message; its name is that of its schema."""
    return {"name": name, "contentType": content, "payload": dict(payload)}


if __name__ == "__main__":
    sys.stdout.write(asyncapi_yaml())
