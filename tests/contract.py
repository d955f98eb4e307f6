"""Holds messages against the AsyncAPI document of the repository."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator, FormatChecker

DOCUMENT = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a node, or the reference in it, stands for."""
    while "$ref" in node:
        at: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            at = at[key]
        node = at
    return node


def closed(schema: Any) -> Any:  # noqa: ANN401 (any part of a schema)
    """The same schema, with no key allowed that it does not name: what is published must be documented."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False} | shut if schema.get("type") == "object" and "properties" in shut else shut


class Contract:
    """The document, and which of its schemas a message of a topic has to keep."""

    def __init__(self, path: Path = DOCUMENT) -> None:
        self.document = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._channels = [
            (re.compile("^" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(channel["address"])) + "$"), channel)
            for channel in self.document["channels"].values()
        ]

    def complaints(self, topic: str, payload: bytes) -> list[str]:
        """What is wrong with a message; [] when nothing is."""
        channel = next((channel for pattern, channel in self._channels if pattern.match(topic)), None)
        if channel is None:
            return [f"{topic}: no such channel"]
        if not payload:
            return []  # a retained message is taken away
        messages = [resolve(self.document, message) for message in channel["messages"].values()]
        try:
            value = payload.decode() if messages[0]["contentType"] == "text/plain" else json.loads(payload)
        except ValueError:
            return [f"{topic}: no JSON: {payload[:200]!r}"]
        if len(messages) > 1:
            name = f"event_{value.get('kind')}"
            messages = [message for message in messages if message["name"] == name]
            if not messages:
                return [f"{topic}: no message {name}"]
        schema = closed(resolve(self.document, messages[0]["payload"]))
        errors = Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(value)
        return [f"{topic}: {error.json_path}: {error.message[:200]}" for error in errors]
